//! Directories: made for uploads, removed with their last file, and made again if another program
//! removes the directory of all files.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::stalled_disk::{can_trace, trace};
use crate::support::client::Client;
use crate::support::curl::Curl;
use crate::support::service::{SOON, Service};
use crate::support::wait::eventually;
use crate::{assert_stored, curl, put, put_head, request, start, start_again, stored};

fn is_there(service: &Service, directory: &str) -> bool {
    service.path("data/file-transfer").join(directory).exists()
}

fn delete(service: &Service, file: &str) {
    assert_eq!(curl(service, file).method("DELETE").answer().status, 202, "{file}");
}

#[test]
fn a_directory_that_an_upload_made_goes_with_its_last_file() {
    let service = start(|_| {});
    for file in ["a/b/c/one", "a/b/c/two", "a/three"] {
        curl(&service, file).put("content").answer();
    }
    delete(&service, "a/b/c/one");
    assert!(is_there(&service, "a/b/c"));
    delete(&service, "a/b/c/two");
    assert!(!is_there(&service, "a/b") && is_there(&service, "a"));
    delete(&service, "a/three");
    assert!(!is_there(&service, "a"));
    assert_stored(&service, &[]);
}

#[test]
fn a_directory_that_was_there_before_stays() {
    let service = start(|setup| {
        fs::create_dir_all(setup.directory().join("data/file-transfer/agent/config")).unwrap();
    });
    curl(&service, "agent/config/made/file").put("content").answer();
    fs::create_dir(service.path("data/file-transfer/agent/later")).unwrap();
    curl(&service, "agent/later/file").put("content").answer();
    delete(&service, "agent/config/made/file");
    delete(&service, "agent/later/file");
    assert!(is_there(&service, "agent/config") && !is_there(&service, "agent/config/made"));
    assert!(is_there(&service, "agent/later"));
}

#[test]
fn a_directory_that_an_upload_made_is_known_after_a_restart() {
    let service = start(|_| {});
    curl(&service, "a/b/file").put("content").answer();
    assert_eq!(service.stop().code(), 0);
    let service = start_again(service.directory());
    delete(&service, "a/b/file");
    assert!(!is_there(&service, "a"));
}

#[test]
fn an_upload_that_fails_leaves_no_directory() {
    if !can_trace() {
        return;
    }
    // While the second directory is made, as its parent is synced, and as the file is renamed.
    for inject in ["mkdirat:error=EIO:when=3+", "fsync:error=EIO:when=3+", "renameat:error=EIO"] {
        let (call, _) = inject.split_once(':').unwrap();
        let service = start(|setup| trace(setup, call, &format!("inject={inject}")));
        let answer = curl(&service, "a/b/c/file").put("content").answer();
        assert_eq!(answer.status, 500, "{inject}");
        assert!(!is_there(&service, "a"), "{inject}");
    }
    let service = start(|_| {});
    let mut client = Client::connect(service.address);
    client.send(put_head("a/b/c/file", 20, "Content-Digest: sha-256=:AAAA:\r\n")).unwrap();
    assert_eq!(client.exchange("01234567890123456789").status, 400);
    assert!(!is_there(&service, "a"));
}

/// The path was free, or a file, when the request looked at it.
#[test]
fn a_path_that_somebody_replaces_meanwhile_is_no_failure_of_the_service() {
    if !can_trace() {
        return;
    }
    for (method, inject, status) in [
        ("PUT", "renameat:error=EISDIR", 409),
        ("PUT", "renameat:error=ENOTDIR", 404),
        ("PUT", "renameat:error=ELOOP", 404),
        ("DELETE", "unlinkat:error=EISDIR", 404),
        ("DELETE", "unlinkat:error=ELOOP", 404),
        ("DELETE", "unlinkat:error=ENOENT", 202),
    ] {
        let (call, _) = inject.split_once(':').unwrap();
        let service = start(|setup| {
            fs::create_dir_all(setup.directory().join("data/file-transfer")).unwrap();
            fs::write(setup.directory().join("data/file-transfer/file"), "content").unwrap();
            trace(setup, call, &format!("inject={inject}"));
        });
        let mut client = Client::connect(service.address);
        let sent = match method {
            "PUT" => put("file", "new"),
            _ => request(method, "file").into_bytes(),
        };
        assert_eq!(client.exchange(sent).status, status, "{method} {inject}");
    }
}

/// Deleting one file removes the directory that another client is just storing a file in.
#[test]
fn an_upload_never_fails_because_a_neighbour_is_deleted() {
    let service = start(|setup| setup.set_own("http.upload.sync", false));
    let end = Instant::now() + Duration::from_secs(3);
    let counts: Vec<usize> = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|number| {
                let service = &service;
                scope.spawn(move || {
                    let mut client = Client::connect(service.address);
                    let file = format!("shared/directory/file-{number}");
                    let mut count = 0;
                    while Instant::now() < end {
                        let put = client.exchange(put(&file, "content"));
                        assert_eq!(put.status, 201, "{}", service.log());
                        assert_eq!(client.exchange(request("GET", &file)).text(), "content");
                        assert_eq!(client.exchange(request("DELETE", &file)).status, 202);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
    assert!(!is_there(&service, "shared"));
    assert_stored(&service, &[]);
}

/// Four clients who make as many directories as they may, on a disk that takes 20 ms for a sync.
#[test]
fn uploads_of_deep_paths_hold_up_nobody_else() {
    if !can_trace() {
        return;
    }
    let service = start(|setup| trace(setup, "fsync", "inject=fsync:delay_enter=20000"));
    curl(&service, "neighbour").put("old").answer();
    let (over, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut waits = Vec::new();
    thread::scope(|scope| {
        for number in 0..4 {
            let (service, over, made) = (&service, &over, &made);
            scope.spawn(move || {
                let mut client = Client::connect(service.address);
                client.set_patience(Duration::from_secs(60));
                while !over.load(Relaxed) {
                    let count = made.fetch_add(1, Relaxed);
                    let path = format!("{number}-{count}/{}f", "d/".repeat(30));
                    assert_eq!(client.exchange(put(&path, "")).status, 201);
                }
            });
        }
        let mut neighbour = Client::connect(service.address);
        while waits.len() < 15 || made.load(Relaxed) < 8 {
            let begun = Instant::now();
            assert_eq!(neighbour.exchange(put("neighbour", "new")).status, 201);
            waits.push(begun.elapsed());
        }
        over.store(true, Relaxed);
    });
    waits.sort();
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    eprintln!(
        "{} uploads beside {} deep ones: {median:?}, {longest:?}",
        waits.len(),
        made.into_inner()
    );
    // One deep path takes more than 600 ms.
    assert!(median < Duration::from_millis(200), "{waits:?}");
}

#[test]
fn the_directory_is_made_again_if_somebody_removes_it() {
    let service = start(|_| {});
    curl(&service, "a/old").put("old").answer();
    assert_eq!(curl(&service, "a/old").answer().text(), "old");

    for removed in [service.path("data/file-transfer"), service.path("data")] {
        fs::remove_dir_all(&removed).unwrap();
        assert_eq!(curl(&service, "a/old").answer().status, 404);
        fs::remove_dir_all(&removed).unwrap();
        assert_eq!(curl(&service, "a/old").method("DELETE").answer().status, 202);
        fs::remove_dir_all(&removed).unwrap();
        let health = Curl::new(&service.url("/health")).answer();
        assert_eq!((health.status, health.text().as_str()), (200, r#"{"status":"up"}"#));
        fs::remove_dir_all(&removed).unwrap();
        assert_eq!(curl(&service, "a/new").put("new").answer().status, 201, "{}", service.log());
        assert_eq!(curl(&service, "a/new").answer().text(), "new");
        assert_stored(&service, &[("a/new", b"new")]);
    }
    assert!(service.log().contains("was removed or replaced"), "{}", service.log());
}

#[test]
fn looking_after_the_directory_takes_no_thread() {
    let service = start(|setup| {
        fs::create_dir_all(setup.directory().join("data/file-transfer")).unwrap();
        fs::write(setup.directory().join("data/file-transfer/file"), "content").unwrap();
    });
    let mut client = Client::connect(service.address);
    assert_eq!(client.exchange(request("GET", "file")).text(), "content");
    // The disk may have been needed for the first.
    eventually("the executor and the reactor are alone", SOON, || service.threads() == 2);
    // Whatever renames a directory at the same moment can make the kernel refuse to answer at once.
    let mut stay_alone = || {
        let end = Instant::now() + Duration::from_millis(2500);
        while Instant::now() < end {
            assert_eq!(client.exchange(request("GET", "file")).text(), "content");
            if service.threads() > 2 {
                return false;
            }
        }
        true
    };
    assert!((0..5).any(|_| stay_alone()), "each time a thread was started");
}

#[test]
fn a_directory_that_takes_its_place_is_served() {
    let service = start(|_| {});
    let files = service.path("data/file-transfer");
    curl(&service, "old").put("old").answer();
    fs::rename(&files, service.path("data/away")).unwrap();
    fs::create_dir(&files).unwrap();
    fs::write(files.join("new"), "new").unwrap();
    assert_eq!(curl(&service, "b").put("b").answer().status, 201);
    assert_eq!(curl(&service, "new").answer().text(), "new");
    assert_eq!(curl(&service, "old").answer().status, 404);
    let names: Vec<_> = stored(&service).into_keys().collect();
    assert_eq!(names, ["away/old", "file-transfer/b", "file-transfer/new"]);

    // Also where nobody has uploaded since, within a second or two.
    fs::rename(&files, service.path("data/away2")).unwrap();
    fs::rename(service.path("data/away"), &files).unwrap();
    eventually("the other one is served", Duration::from_secs(5), || {
        curl(&service, "old").answer().text() == "old"
    });
}

#[test]
fn a_directory_that_cannot_be_made_again_is_said_to_be_down() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can start a service as somebody else");
        return;
    }
    let service = start(|setup| {
        let data = setup.directory().join("data");
        for directory in [setup.directory(), &data, &data.join("file-transfer")] {
            fs::create_dir_all(directory).unwrap();
            fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
        }
        let files = data.join("file-transfer");
        std::os::unix::fs::chown(&files, Some(65534), Some(65534)).unwrap();
        setup.wrap(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    });
    assert_eq!(curl(&service, "a").put("a").answer().status, 201);
    let files = service.path("data/file-transfer");
    fs::remove_dir_all(&files).unwrap();
    let health = || Curl::new(&service.url("/health")).answer();
    assert_eq!((health().status, health().text().as_str()), (503, r#"{"status":"down"}"#));
    assert_eq!(curl(&service, "a").put("a").answer().status, 500);
    assert!(service.log().contains("cannot make the directory"), "{}", service.log());

    fs::create_dir(&files).unwrap();
    std::os::unix::fs::chown(&files, Some(65534), Some(65534)).unwrap();
    assert_eq!(health().status, 200);
    assert_eq!(curl(&service, "a").put("a").answer().status, 201);
}

#[test]
fn a_directory_that_the_service_may_not_change_is_403_and_says_what_to_do() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can start a service as somebody else");
        return;
    }
    let service = start(|setup| {
        let files = setup.directory().join("data/file-transfer");
        for (name, mode) in [("", 0o755), ("a/b", 0o755), ("shut", 0o700)] {
            fs::create_dir_all(files.join(name)).unwrap();
            fs::set_permissions(files.join(name), Permissions::from_mode(mode)).unwrap();
        }
        fs::write(files.join("a/b/file"), "content").unwrap();
        std::os::unix::fs::chown(&files, Some(65534), Some(65534)).unwrap();
        setup.wrap(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    });
    for (path, directory) in
        [("a/b/new", "a/b"), ("a/b/file", "a/b"), ("a/c/d/new", "a"), ("shut/new", "shut")]
    {
        let said = |verb: &str| {
            format!(
                "Cannot {verb}: \"{path}\": user nobody may not write to the directory \
                 \"{directory}\": let this user own it"
            )
        };
        let put = curl(&service, path).put("x").answer();
        assert_eq!((put.status, put.text().trim_end()), (403, &*said("upload")));
        if matches!(path, "a/b/file" | "shut/new") {
            let deleted = curl(&service, path).method("DELETE").answer();
            assert_eq!((deleted.status, deleted.text().trim_end()), (403, &*said("delete")));
        }
    }
    assert_eq!(curl(&service, "a/b/file").answer().text(), "content");
    assert_eq!(curl(&service, "other/new").put("x").answer().status, 201);
    assert!(!service.log().contains("ERROR"), "{}", service.log());
}

#[test]
fn a_file_that_the_system_protects_is_403_and_named() {
    let service = start(|setup| {
        let files = setup.directory().join("data/file-transfer");
        fs::create_dir_all(files.join("a")).unwrap();
        fs::write(files.join("a/file"), "content").unwrap();
    });
    let file = service.path("data/file-transfer/a/file");
    let chattr = |flag: &str| Command::new("chattr").arg(flag).arg(&file).status();
    if !chattr("+i").is_ok_and(|status| status.success()) {
        eprintln!("skipped: the file system has no immutable files, or only root can make them");
        return;
    }
    let put = curl(&service, "a/file").put("x").answer();
    let deleted = curl(&service, "a/file").method("DELETE").answer();
    chattr("-i").unwrap();
    for (answer, verb) in [(put, "upload"), (deleted, "delete")] {
        let text =
            format!("Cannot {verb}: \"a/file\": it is protected: it or its directory is immutable");
        assert!(answer.status == 403 && answer.text().starts_with(&text), "{answer:?}");
    }
    assert_eq!(curl(&service, "a/file").answer().text(), "content");
}
