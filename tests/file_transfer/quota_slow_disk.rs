//! The limit for all files together, on a disk that takes long for a change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::thread;

use super::stalled_disk::{can_trace, trace};
use crate::support::client::Client;
use crate::support::curl::Curl;
use crate::support::directory::Directory;
use crate::support::service::{SOON, Service};
use crate::support::wait::eventually;
use crate::{PROGRAM, prepare, put, request};

const FILES: &str = "data/file-transfer";
const LIMIT: u64 = 2048;

fn health(service: &Service) -> String {
    Curl::new(&service.url("/health")).answer().text()
}

/// The inodes and the sizes of the files.
fn files(service: &Service) -> BTreeMap<u64, u64> {
    let entries = fs::read_dir(service.path(FILES)).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    let files = files.filter_map(|entry| entry.metadata().ok());
    files.map(|about| (about.ino(), about.len())).collect()
}

/// The first request changes a file, which takes long. The second one has all files counted
/// meanwhile, since its file of 1000 bytes does not fit.
fn race(make_room: bool, first: &[u8]) {
    let directory = Arc::new(Directory::new());
    let stored = directory.path().join(FILES);
    fs::create_dir_all(&stored).unwrap();
    for (name, bytes) in [("v", 900), ("w", 600), ("k", 200)] {
        fs::write(stored.join(name), "x".repeat(bytes)).unwrap();
    }
    let service = Service::start_in(&directory, PROGRAM, |setup| {
        prepare(setup);
        setup.set_own("http.files.max_total", format!("\"{LIMIT}\""));
        setup.set_own("http.files.make_room", make_room);
        let calls = "?renameat,renameat2,unlinkat";
        trace(setup, calls, &format!("inject={calls}:delay_exit=300000"));
    });
    eventually("all files are counted", SOON, || health(&service).contains("\"files\":3,"));
    let before = files(&service);
    thread::scope(|scope| {
        scope.spawn(|| Client::connect(service.address).exchange(first));
        eventually("a file was changed", SOON, || files(&service) != before);
        Client::connect(service.address).exchange(put("x", "x".repeat(1000)));
    });
    let (said, there) = (health(&service), files(&service));
    let (count, bytes) = (there.len(), there.values().sum::<u64>());
    let expected = format!("\"files\":{count},\"bytes\":{bytes},");
    let first = String::from_utf8_lossy(&first[..30]);
    assert!(said.contains(&expected) && bytes <= LIMIT, "{first}: {said}, {there:?}");
}

#[test]
fn a_change_that_takes_long_is_counted_once() {
    if !can_trace() {
        return;
    }
    let upload = |name, bytes| put(name, "x".repeat(bytes));
    thread::scope(|scope| {
        for (make_room, first) in [
            (false, request("DELETE", "v").into_bytes()),
            (false, upload("v", 10)),
            (false, upload("v", 1100)),
            (false, upload("new", 200)),
            (true, upload("new", 500)),
        ] {
            scope.spawn(move || race(make_room, &first));
        }
    });
}
