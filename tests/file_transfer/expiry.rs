//! Files that are not used expire, and no others, even if the clock is wrong or other programs
//! interfere.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use crate::support::client::Client;
use crate::support::directory::Directory;
use crate::support::service::{SOON, Service, Setup};
use crate::{PROGRAM, curl, prepare, request};

const DELETED: &str = "deleted because they have expired";
/// After this time, a file with the age `"2s"` has expired.
const TWO_SECONDS: Duration = Duration::from_millis(2500);

/// Starts the service with files that expire, where another one may have kept its files, and waits
/// until it has looked at all of them.
fn sweep(directory: &Arc<Directory>, max_age: &str, more: impl FnOnce(&mut Setup)) -> Service {
    let service = begin(directory, max_age, more);
    service.wait_for("swept: ", SOON);
    service
}

fn begin(directory: &Arc<Directory>, max_age: &str, more: impl FnOnce(&mut Setup)) -> Service {
    Service::start_in(directory, PROGRAM, |setup| {
        prepare(setup);
        setup.set_own("http.files.max_age", format!("{max_age:?}"));
        setup.argument("--log-level=debug");
        more(setup);
    })
}

fn new_directory() -> (Arc<Directory>, PathBuf) {
    let directory = Arc::new(Directory::new());
    let files = directory.path().join("data/file-transfer");
    fs::create_dir_all(&files).unwrap();
    (directory, files)
}

/// Debian's libfaketime, for programs with threads; says so if there is none.
fn preload() -> Option<String> {
    let libraries = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut paths = libraries.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    let found = paths.find(|path| path.exists()).map(|path| path.to_str().unwrap().to_owned());
    if found.is_none() {
        eprintln!("skipped: libfaketime is not installed");
    }
    found
}

#[test]
fn a_file_expires_if_it_is_old_or_brings_a_shorter_age() {
    let (directory, files) = new_directory();
    fs::create_dir(files.join("empty")).unwrap();
    let service = sweep(&directory, "1d", |_| {});
    assert_eq!(curl(&service, "old").put("content").answer().status, 201);
    let short = curl(&service, "a/b/short").field("Cache-Control: max-age=2").put("content");
    assert_eq!(short.answer().status, 201);
    service.stop();
    sleep(TWO_SECONDS);

    let service = sweep(&directory, "1d", |_| {});
    let log = service.wait_for(DELETED, SOON);
    assert!(log.contains(&format!("{DELETED}: files 1, bytes 7\n")), "{log}");
    assert_eq!(curl(&service, "a/b/short").answer().status, 404);
    assert_eq!(curl(&service, "old").answer().text(), "content");
    assert!(!files.join("a").exists() && files.join("empty").is_dir());
    service.stop();
    sleep(TWO_SECONDS);

    let service = sweep(&directory, "2s", |_| {});
    assert!(service.wait_for(DELETED, SOON).contains("files 1, bytes 7\n"));
    assert_eq!(curl(&service, "old").answer().status, 404);
    // The file that stores the clock cannot be requested.
    assert!(files.join(".tedge-uploads-clock").exists());
    assert_eq!(curl(&service, ".tedge-uploads-clock").answer().status, 400);
}

#[test]
fn directories_that_uploads_left_empty_go_with_the_next_sweep() {
    let (directory, files) = new_directory();
    let service = sweep(&directory, "1d", |_| {});
    for path in ["killed/a/b/c/file", "used/a/b/file", "used/file", "later/file"] {
        assert_eq!(curl(&service, path).put("content").answer().status, 201);
    }
    service.stop();
    // As an upload that is killed leaves them.
    for path in ["killed/a/b/c/file", "used/a/b/file", "later/file"] {
        fs::remove_file(files.join(path)).unwrap();
    }
    fs::create_dir_all(files.join("later/by-hand")).unwrap();
    fs::create_dir_all(files.join("by-hand")).unwrap();
    sweep(&directory, "1d", |_| {}).stop();
    for (path, stays) in [
        ("killed", false),
        ("used/a", false),
        ("used/file", true),
        ("later/by-hand", true),
        ("by-hand", true),
    ] {
        assert_eq!(files.join(path).exists(), stays, "{path}");
    }
}

#[test]
fn without_the_settings_nothing_is_done() {
    let (directory, files) = new_directory();
    let service = Service::start_in(&directory, PROGRAM, |setup| {
        prepare(setup);
        setup.argument("--log-level=debug");
    });
    let upload = curl(&service, "a").field("Cache-Control: max-age=2").put("content");
    assert_eq!(upload.answer().status, 201);
    assert_eq!(curl(&service, "a").answer().text(), "content");
    let said = service.stop().log;
    assert!(!said.contains("swept"), "{said}");
    assert!(!files.join(".tedge-uploads-clock").exists());
    let mut value = [0; 20];
    assert!(rustix::fs::getxattr(files.join("a"), "user.tedge.max_age", &mut value).is_err());
}

/// The clock of the service is moved; that of the files is the system's.
#[test]
fn a_clock_that_jumps_a_year_deletes_nothing() {
    let Some(library) = preload() else { return };
    let (directory, files) = new_directory();
    let jump = |by: &'static str| {
        let library = library.clone();
        move |setup: &mut Setup| {
            setup.environment("LD_PRELOAD", &library);
            setup.environment("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            setup.environment("FAKETIME", by);
        }
    };
    let service = sweep(&directory, "30d", |_| {});
    assert_eq!(curl(&service, "a").put("content").answer().status, 201);
    service.stop();
    for (by, moved) in [("+1y", "forward"), ("-1y", "back"), ("+1y", "forward")] {
        let service = sweep(&directory, "30d", jump(by));
        let log = service.log();
        assert!(log.contains(&format!("clock of the device has moved {moved} by ")), "{log}");
        assert!(!log.contains(DELETED) && files.join("a").exists(), "{by}: {log}");
        assert_eq!(curl(&service, "a").answer().text(), "content");
        service.stop();
    }
    // Without a record of the clock it has to be believed: this is how the jump would look.
    fs::remove_file(files.join(".tedge-uploads-clock")).unwrap();
    let service = sweep(&directory, "30d", jump("+1y"));
    service.wait_for(DELETED, SOON);
}

/// Two services have the same files: one sends them slowly while the other one sweeps.
#[test]
fn a_file_that_is_being_read_is_never_taken() {
    let (directory, files) = new_directory();
    let content = crate::bytes(8_000_000, 7);
    fs::write(files.join("large"), &content).unwrap();
    fs::write(files.join("other"), "content").unwrap();
    let service = sweep(&directory, "90d", |_| {});
    let mut reader = Client::connect(service.address);
    reader.send(request("GET", "large")).unwrap();
    assert_eq!(reader.head().status, 200);
    sleep(TWO_SECONDS);
    let sweeping = sweep(&directory, "2s", |_| {});
    assert!(sweeping.wait_for(DELETED, SOON).contains("files 1, bytes 7\n"));
    assert!(files.join("large").exists() && !files.join("other").exists());
    sweeping.stop();
    reader.finish();
    assert!(reader.rest().unwrap() == content);

    // Reading counts as use: the file is new again, until it is unused for its whole age.
    sweep(&directory, "1d", |_| {}).stop();
    assert!(files.join("large").exists());
}

#[test]
fn only_regular_files_below_the_directory_expire() {
    let (directory, files) = new_directory();
    let outside = directory.path().join("data/cache");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("key"), "content").unwrap();
    symlink(&outside, files.join("directory")).unwrap();
    symlink(outside.join("key"), files.join("link")).unwrap();
    fs::write(files.join("old"), "content").unwrap();
    fs::hard_link(files.join("old"), outside.join("hard")).unwrap();
    let fifo = files.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    fs::write(files.join(OsStr::from_bytes(b"not \xff utf-8")), "content").unwrap();
    let deep = files.join("d/".repeat(64));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "content").unwrap();
    sleep(TWO_SECONDS);
    let service = sweep(&directory, "2s", |_| {});
    assert!(service.wait_for(DELETED, SOON).contains("files 3, bytes 21\n"));
    assert!(deep.is_dir() && fifo.exists() && files.join("link").is_symlink());
    assert_eq!(curl(&service, "link").answer().text(), "content");
    assert_eq!(fs::read(outside.join("hard")).unwrap(), b"content");
    assert!(files.join("directory").is_symlink());
}

#[test]
fn a_sweep_that_is_killed_anywhere_leaves_the_rest_as_it_was() {
    let (directory, files) = new_directory();
    for number in 0..600 {
        let directory = files.join((number % 50).to_string());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(number.to_string()), "content").unwrap();
    }
    sleep(TWO_SECONDS);
    let left = || {
        (0..600).filter(|number| files.join(format!("{}/{number}", number % 50)).exists()).count()
    };
    let mut seen = vec![left()];
    for pause in [0, 5, 20, 60, 150, 300] {
        let service = begin(&directory, "2s", |_| {});
        sleep(Duration::from_millis(pause));
        service.kill();
        seen.push(left());
    }
    assert!(seen.is_sorted_by(|more, fewer| more >= fewer), "{seen:?}");
    fs::write(files.join("new"), "content").unwrap();
    let service = sweep(&directory, "1d", |setup| setup.set_own("http.files.max_total", "\"1G\""));
    let health = crate::support::curl::Curl::new(&service.url("/health")).answer();
    let files = left() + 1;
    assert!(health.text().contains(&format!("\"files\":{files},\"bytes\":{}", 7 * files)));
    service.stop();
    sweep(&directory, "2s", |_| {});
    assert_eq!(left(), 0);
}

/// Runs the service where this command mounts the files, in a mount namespace of its own; not if we
/// are not root.
fn mounted(directory: &Arc<Directory>, mount: &str) -> Option<Service> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount a file system");
        return None;
    }
    Some(sweep(directory, "2s", |setup| {
        let files = setup.directory().join("data/file-transfer");
        let script = mount.replace("FILES", files.to_str().unwrap()) + " && exec \"$@\"";
        setup.wrap(&["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
    }))
}

#[test]
fn a_read_only_file_system_is_one_warning() {
    let (directory, files) = new_directory();
    fs::write(files.join("a"), "content").unwrap();
    fs::write(files.join("b"), "content").unwrap();
    sleep(TWO_SECONDS);
    let read_only = "mount --bind FILES FILES && mount -o remount,bind,ro FILES";
    let Some(service) = mounted(&directory, read_only) else { return };
    let log = service.wait_for("cannot delete files that have expired", SOON);
    assert!(log.contains("expired: Read-only file system"), "{log}");
    assert_eq!(curl(&service, "a").answer().text(), "content");
    let log = service.stop().log;
    assert_eq!(log.matches("cannot delete").count(), 1, "{log}");
}

#[test]
fn a_file_system_without_extended_attributes_is_one_warning() {
    let (directory, _) = new_directory();
    let Some(service) = mounted(&directory, "mount -t ramfs none FILES") else { return };
    for name in ["a", "b"] {
        let upload = curl(&service, name).field("Cache-Control: max-age=1").put("content");
        assert_eq!(upload.answer().status, 201, "{}", service.log());
    }
    let log = service.stop().log;
    assert_eq!(log.matches("stores no extended attributes").count(), 1, "{log}");
}

#[test]
fn another_file_system_below_the_directory_is_left_alone() {
    let (directory, files) = new_directory();
    fs::create_dir(files.join("card")).unwrap();
    fs::create_dir(directory.path().join("elsewhere")).unwrap();
    let elsewhere = directory.path().join("elsewhere/a");
    fs::write(&elsewhere, "content").unwrap();
    fs::write(files.join("b"), "content").unwrap();
    sleep(TWO_SECONDS);
    // On the same device, so that only the mount tells.
    let bound = "mount --bind FILES/../../elsewhere FILES/card";
    let Some(service) = mounted(&directory, bound) else { return };
    assert!(service.wait_for(DELETED, SOON).contains("files 1, bytes 7\n"));
    assert_eq!(curl(&service, "card/a").answer().text(), "content");
    assert!(elsewhere.exists());
}
