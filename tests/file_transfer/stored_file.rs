//! What is promised of a stored file besides its content: its mode, its readers, who wins.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use crate::support::client::Client;
use crate::support::service::Service;
use crate::support::wait::eventually;
use crate::{FILES, assert_stored, bytes, curl, put, put_head, request, start, stored};

fn mode(service: &Service, file: &str) -> u32 {
    fs::metadata(service.path("data/file-transfer").join(file)).unwrap().mode() & 0o7777
}

#[test]
fn files_are_0644_and_directories_0755_whatever_the_umask() {
    for umask in ["umask 077; exec \"$@\"", "umask 000; exec \"$@\""] {
        let service = start(|setup| setup.wrap(&["sh", "-c", umask, "sh"]));
        curl(&service, "a/b/file").put("content").answer();
        assert_eq!(mode(&service, "a/b/file"), 0o644);
        assert_eq!((mode(&service, "a"), mode(&service, "a/b")), (0o755, 0o755));
    }
}

#[test]
fn a_file_keeps_the_mode_of_the_one_it_replaces() {
    let service = start(|_| {});
    for kept in [0o600, 0o640, 0o755] {
        curl(&service, "foo").put("old").answer();
        let path = service.path("data/file-transfer/foo");
        fs::set_permissions(path, Permissions::from_mode(kept)).unwrap();
        curl(&service, "foo").put("new").answer();
        assert_eq!(mode(&service, "foo"), kept);
    }
}

#[test]
fn a_reader_keeps_the_file_that_it_began_to_read() {
    let service = start(|_| {});
    let old = bytes(30_000_000, 15);
    let file = service.directory().write("old", &old);
    curl(&service, "foo").upload(&file).answer();
    let mut reader = Client::connect(service.address);
    reader.send(request("GET", "foo")).unwrap();
    assert_eq!(reader.head().field("content-length"), Some("30000000"));
    assert_eq!(curl(&service, "foo").put("new").answer().status, 201);
    assert_eq!(curl(&service, "foo").answer().text(), "new");
    reader.finish();
    assert!(reader.rest().unwrap() == old, "the reader got something else");
}

#[test]
fn a_file_is_not_seen_before_it_is_whole() {
    let service = start(|_| {});
    let mut client = Client::connect(service.address);
    client.send(put_head("a/foo", 20, "")).unwrap();
    client.send("first half").unwrap();
    for _ in 0..20 {
        assert_eq!(curl(&service, "a/foo").answer().status, 404);
    }
    assert_eq!(client.exchange("other half").status, 201);
    assert_stored(&service, &[("a/foo", b"first halfother half")]);
}

#[test]
fn the_last_of_two_uploads_to_finish_wins() {
    let service = start(|_| {});
    let (slow, quick) = (bytes(2_000_000, 17), bytes(1_500_000, 19));
    let mut first = Client::connect(service.address);
    first.send(put_head("foo", slow.len() as u64, "")).unwrap();
    first.send(&slow[..1_000_000]).unwrap();
    let mut second = Client::connect(service.address);
    assert_eq!(second.exchange(put("foo", &quick)).status, 201);
    assert_stored_beside_temporary(&service, &quick);
    assert_eq!(first.exchange(&slow[1_000_000..]).status, 201);
    assert_stored(&service, &[("foo", &slow)]);
}

fn assert_stored_beside_temporary(service: &Service, content: &[u8]) {
    assert!(stored(service)["file-transfer/foo"] == content, "the finished upload is not there");
}

#[test]
fn sixteen_uploads_at_once_to_one_path_leave_one_of_them_whole() {
    let service = start(|_| {});
    let contents: Vec<_> = (0..16).map(|seed| bytes(1_000_000 + seed, seed as u64)).collect();
    std::thread::scope(|scope| {
        for content in &contents {
            let address = service.address;
            scope.spawn(move || {
                assert_eq!(Client::connect(address).exchange(put("a/foo", content)).status, 201);
            });
        }
    });
    let stored = stored(&service);
    assert_eq!(stored.len(), 1, "{:?}", stored.keys());
    assert!(contents.contains(&stored["file-transfer/a/foo"]), "a mixture");
}

#[test]
fn files_on_a_disk_that_is_mounted_below_are_replaced_at_once_too() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount a disk");
        return;
    }
    let service = start(|setup| {
        let below = setup.directory().join("data/file-transfer/usb");
        fs::create_dir_all(&below).unwrap();
        let mount = format!("mount -t tmpfs -o size=8m none {} && exec \"$@\"", below.display());
        setup.wrap(&["unshare", "--mount", "--propagation", "private", "sh", "-c", &mount, "sh"]);
    });
    for content in ["old", "new"] {
        let answer = curl(&service, "usb/a/foo").put(content).answer();
        assert_eq!(answer.status, 201, "{}", service.log());
        assert_eq!(curl(&service, "usb/a/foo").answer().text(), content);
    }
    assert_eq!(curl(&service, "usb/a/foo").method("DELETE").answer().status, 202);
    assert!(stored(&service).is_empty(), "beside the disk");
}

#[test]
fn temporary_files_cannot_be_reached() {
    let service = start(|_| {});
    let mut client = Client::connect(service.address);
    client.send(put_head("a/foo", 2_000_000, "")).unwrap();
    client.send(bytes(1_900_000, 21)).unwrap();
    let mut seen = Vec::new();
    // A file without a name (O_TMPFILE) is never seen, and cannot be reached either.
    let descriptors = service.proc("fd");
    eventually("the upload has a file", Duration::from_secs(10), || {
        seen = stored(&service).into_keys().collect();
        let open = fs::read_dir(&descriptors).unwrap().flatten();
        let mut targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        !seen.is_empty()
            || targets.any(|target| {
                target.starts_with(service.path("data"))
                    && target.to_string_lossy().ends_with("(deleted)")
            })
    });
    for file in &seen {
        let inside = file.strip_prefix("file-transfer/").unwrap_or(file);
        for path in [inside.to_owned(), format!("../{file}"), format!("%2e%2e/{file}")] {
            for method in ["GET", "HEAD", "DELETE", "PUT"] {
                let head = format!("{method} {FILES}/{path} HTTP/1.1\r\nHost: x\r\n");
                let mut other = Client::connect(service.address);
                other.send(format!("{head}Content-Length: 0\r\n\r\n")).unwrap();
                let status = other.head().status;
                assert!(
                    (400..500).contains(&status) || (method == "DELETE" && status == 202),
                    "{method} {path}: {status}"
                );
            }
        }
    }
    assert_eq!(client.exchange(&bytes(2_000_000, 21)[1_900_000..]).status, 201);
    assert!(stored(&service)["file-transfer/a/foo"] == bytes(2_000_000, 21));
}
