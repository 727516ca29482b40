//! The limit for all files together, and files with several names (hard links): each name counts
//! with the whole size.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use crate::support::curl::Curl;
use crate::support::directory::Directory;
use crate::support::service::{SOON, Service};
use crate::support::wait::eventually;
use crate::{PROGRAM, curl, prepare};

const FILES: &str = "data/file-transfer";

fn limited(directory: &Arc<Directory>, make_room: bool) -> Service {
    Service::start_in(directory, PROGRAM, |setup| {
        prepare(setup);
        setup.set_own("http.files.max_total", "\"10k\"");
        setup.set_own("http.files.make_room", make_room);
        setup.argument("--log-level=debug");
    })
}

fn health(service: &Service) -> String {
    Curl::new(&service.url("/health")).answer().text()
}

fn upload(service: &Service, name: &str, kilobytes: usize) -> u16 {
    curl(service, name).put(&"x".repeat(1024 * kilobytes)).answer().status
}

fn link(service: &Service, file: &str, name: &str) {
    let below = service.path(FILES);
    fs::hard_link(below.join(file), below.join(name)).unwrap();
}

/// The names of the files, with inode and size.
fn files(service: &Service) -> BTreeMap<String, (u64, u64)> {
    let entries = fs::read_dir(service.path(FILES)).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file()).map(|entry| {
        let about = entry.metadata().unwrap();
        (entry.file_name().into_string().unwrap(), (about.ino(), about.len()))
    });
    files.filter(|(name, _)| !name.starts_with('.')).collect()
}

#[test]
fn no_more_names_of_a_file_are_deleted_than_an_upload_needs() {
    let directory = Arc::new(Directory::new());
    let below = directory.path().join(FILES);
    fs::create_dir_all(&below).unwrap();
    for name in ["h1", "keep1", "keep2"] {
        fs::write(below.join(name), "x".repeat(1024)).unwrap();
    }
    for number in 2..=8 {
        fs::hard_link(below.join("h1"), below.join(format!("h{number}"))).unwrap();
    }
    let service = limited(&directory, true);
    let counted = r#"{"status":"up","files":10,"bytes":10240,"limit":10240}"#;
    eventually("all names are counted", SOON, || health(&service) == counted);
    assert_eq!(upload(&service, "new", 5), 201, "{}", service.log());
    let files = files(&service);
    assert_eq!((files.len(), files["new"].1), (6, 5 * 1024), "{files:?}");
    assert_eq!(health(&service), r#"{"status":"up","files":6,"bytes":10240,"limit":10240}"#);
}

#[test]
fn the_other_names_of_a_deleted_file_are_as_old_as_before() {
    let service = limited(&Arc::new(Directory::new()), true);
    assert_eq!(upload(&service, "h1", 1), 201);
    for number in 2..=6 {
        link(&service, "h1", &format!("h{number}"));
    }
    for number in 1..=3 {
        assert_eq!(upload(&service, &format!("keep{number}"), 1), 201);
    }
    // It finds ten files of a kilobyte at first.
    assert_eq!(upload(&service, "new", 7), 201, "{}", service.log());
    let names: Vec<_> = files(&service).into_keys().collect();
    assert_eq!(names, ["keep1", "keep2", "keep3", "new"]);
    assert_eq!(health(&service), r#"{"status":"up","files":4,"bytes":10240,"limit":10240}"#);
}

#[test]
fn replacing_a_file_that_stays_under_another_name_does_not_pass_the_quota() {
    for make_room in [false, true] {
        let service = limited(&Arc::new(Directory::new()), make_room);
        assert_eq!(upload(&service, "f", 5), 201);
        let mut statuses = Vec::new();
        for number in 1..=5 {
            link(&service, "f", &format!("g{number}"));
            statuses.push(upload(&service, "f", 5));
            let space: BTreeMap<_, _> = files(&service).into_values().collect();
            assert!(space.values().sum::<u64>() <= 10 * 1024, "{statuses:?}");
        }
        if !make_room {
            assert_eq!(statuses, [201, 507, 507, 507, 507]);
        }
    }
}
