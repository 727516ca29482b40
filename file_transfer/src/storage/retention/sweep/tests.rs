//! Sweeps that are given up.

#![expect(clippy::disallowed_methods, reason = "no executor waits here")]

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use common::settings::Free;
use futures_lite::future::{block_on, poll_once};
use rustix::fs::stat;

use super::super::{Limits, Seen};
use super::*;
use crate::path::FilePath;
use crate::storage::Options;

const AGE: Duration = Duration::from_secs(60);

fn storage() -> (Storage, std::path::PathBuf) {
    let directory = crate::tests::new_directory();
    let limits = Limits { max_age: Some(AGE), max_total: Some(1000), make_room: false };
    let options = Options {
        directory: directory.clone(),
        max_size: None,
        min_free: Free::Bytes(0),
        sync: false,
        limits,
    };
    (Storage::open(options).unwrap(), directory)
}

/// A client breaks off its upload, while a part of the sweep for it waits for the disk.
#[test]
fn a_sweep_that_is_given_up_counts_no_change_twice() {
    let (storage, directory) = storage();
    fs::create_dir(directory.join("below")).unwrap();
    let (kept, expired) = (directory.join("kept"), directory.join("below/expired"));
    fs::write(&kept, [0; 90]).unwrap();
    fs::write(&expired, [0; 5]).unwrap();
    block_on(storage.sweep_now());
    let (inner, retention) = (&storage.0, storage.0.retention.as_ref().unwrap());
    let stored = || storage.usage().unwrap().0;
    assert_eq!(stored(), Sum { files: 2, bytes: 95 });
    storage.pass(AGE.as_millis() as i64);
    let path = FilePath::parse("/te/v1/files/kept").unwrap();
    retention.note_read(&Arc::new(File::open(&kept).unwrap().into()), &path);

    let begin = Instant::now();
    let in_time = || assert!(begin.elapsed() < Duration::from_secs(10));
    let mut given_up = Box::pin(storage.sweep_now());
    let begun = || retention.sweeps.begun.load(Ordering::Relaxed);
    let before = begun();
    while begun() == before {
        assert!(block_on(poll_once(&mut given_up)).is_none());
        in_time();
    }
    // A file is being changed. The sweep has visited the file to be kept, and waits to delete the
    // other one, which it has locked.
    let commit = inner.commit.lock().unwrap();
    let lock = format!(":{} ", fs::metadata(&expired).unwrap().ino());
    while !fs::read_to_string("/proc/locks").unwrap().contains(&lock) {
        assert!(block_on(poll_once(&mut given_up)).is_none());
        in_time();
    }
    let before = Seen::of(&stat(&kept).unwrap(), File::open(&directory).unwrap());
    fs::remove_file(&kept).unwrap();
    retention.removed(&before);
    drop(given_up);
    // The next one is given up as well, so that it corrects nothing.
    assert!(block_on(poll_once(Box::pin(storage.sweep_now()))).is_none());
    drop(commit);
    while Arc::strong_count(retention) > 1 {
        in_time();
    }
    assert!(!expired.exists());
    assert_eq!(stored(), Sum::default());
    fs::remove_dir_all(directory.parent().unwrap()).unwrap();
}
