//! What is found, made and said at start.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{Service, mode, new_directory, options};
use crate::storage::Storage;

#[test]
fn makes_the_directory_if_it_is_missing() {
    let service = Service::new();
    assert_eq!(mode(&service.directory), 0o700, "0750 and the umask of these tests");
}

#[test]
fn says_what_to_do_if_the_directory_cannot_be_used() {
    let directory = new_directory();
    let parent = directory.parent().unwrap().to_owned();
    std::fs::File::create(parent.join("a-file")).unwrap();
    let orphan = parent.join("a-file/file-transfer");
    let error = Storage::open(options(orphan.clone())).err().unwrap();
    assert_eq!(error.exit_code(), 1);
    for part in [orphan.to_str().unwrap(), "data.path"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    std::fs::File::create(&directory).unwrap();
    let error = Storage::open(options(directory.clone())).err().unwrap();
    assert!(error.to_string().contains("make it a directory"), "{error}");
    // A pipe without a writer: to open it would take for ever.
    std::fs::remove_file(&directory).unwrap();
    mknodat(CWD, &directory, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let (sender, receiver) = mpsc::channel();
    let options = options(directory);
    std::thread::spawn(move || sender.send(Storage::open(options).err().unwrap().to_string()));
    let error = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(error.contains("make it a directory"), "{error}");
    std::fs::remove_dir_all(parent).unwrap();
}

#[test]
fn removes_the_temporary_files_of_a_killed_process() {
    let directory = new_directory();
    let reserved = directory.join(crate::path::RESERVED);
    DirBuilder::new().recursive(true).mode(0o700).create(&reserved).unwrap();
    for number in 0..30 {
        std::fs::File::create(reserved.join(format!("4711-{number}"))).unwrap();
    }
    // One that cannot be removed keeps no other.
    std::fs::create_dir(reserved.join("4711-30")).unwrap();
    let service = Service::over(directory);
    assert_eq!(std::fs::read_dir(reserved).unwrap().count(), 1);
    drop(service);
}

#[test]
fn does_not_touch_the_uploads_of_a_running_service() {
    let service = Service::new();
    let unfinished = service.put_on_disk(".tedge-uploads/1-1", b"half");
    Storage::open(options(service.directory.clone())).unwrap();
    assert!(unfinished.exists());
}

#[test]
fn does_not_follow_a_planted_link() {
    let directory = new_directory();
    let precious = directory.parent().unwrap().join("precious");
    for made in [&directory, &precious] {
        DirBuilder::new().mode(0o700).create(made).unwrap();
    }
    std::fs::File::create(precious.join("file")).unwrap();
    std::os::unix::fs::symlink(&precious, directory.join(crate::path::RESERVED)).unwrap();
    let service = Service::over(directory);
    assert_eq!(service.put("a", &[], "x").said(), (500, "Internal error"));
    assert_eq!(std::fs::read_dir(precious).unwrap().count(), 1);
}

#[test]
fn starts_fast_with_many_files() {
    let directory = new_directory();
    DirBuilder::new().mode(0o700).create(&directory).unwrap();
    for number in 0..10_000 {
        std::fs::File::create(directory.join(number.to_string())).unwrap();
    }
    let begin = Instant::now();
    let service = Service::over(directory);
    assert_eq!(service.get("1", &[]).status, 200);
    assert!(begin.elapsed() < Duration::from_millis(500));
    std::fs::set_permissions(&service.directory, Permissions::from_mode(0o700)).unwrap();
}
