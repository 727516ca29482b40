//! `http.files.max_total` while other programs change files too.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use futures_lite::future::block_on;

use super::limits::{limited, with_quota};
use super::{Then, chunks};
use crate::storage::Limits;

#[test]
fn a_file_that_is_not_counted_never_lowers_the_total() {
    let service = with_quota(100, false);
    let ninety = "x".repeat(90);
    let add = || service.put_on_disk("b", &[0; 95]);
    assert_eq!(service.put("a", &[], &ninety).status, 201);
    // A file of others is deleted, and replaced.
    for _ in 0..3 {
        add();
        assert_eq!(service.delete("b", &[]).status, 202);
        assert_eq!((service.put("c", &[], &ninety).status, service.usage()), (507, (1, 90)));
    }
    add();
    assert_eq!(service.put("b", &[], "12345").status, 201);
    assert_eq!((service.put("c", &[], &ninety).status, service.usage()), (507, (2, 95)));
    // A file grows, is deleted and replaced.
    add();
    assert_eq!(service.put("b", &[], "12345").status, 201);
    assert_eq!((service.put("c", &[], &ninety).status, service.usage()), (507, (2, 95)));
    add();
    assert_eq!(service.delete("b", &[]).status, 202);
    assert_eq!((service.put("c", &[], &ninety).status, service.usage()), (507, (1, 90)));
    // A stored file has another name, or comes back from elsewhere.
    fs::hard_link(service.path("a"), service.path("b")).unwrap();
    assert_eq!(service.delete("b", &[]).status, 202);
    assert_eq!((service.put("c", &[], &ninety).status, service.usage()), (507, (1, 90)));
    let outside = service.directory.parent().unwrap().join("outside");
    fs::rename(service.path("a"), &outside).unwrap();
    service.pass(0);
    assert_eq!(service.put("c", &[], &ninety).status, 201);
    fs::rename(&outside, service.path("a")).unwrap();
    assert_eq!(service.delete("a", &[]).status, 202);
    assert_eq!((service.put("d", &[], &ninety).status, service.usage()), (507, (1, 90)));
}

/// The service records reads on the disk, which changes the `ctime` of a file.
#[test]
fn a_file_that_was_read_stays_counted() {
    let max_age = Some(Duration::from_secs(16));
    let service = limited(Limits { max_age, max_total: Some(100), make_room: false });
    service.put_on_disk("a", b"12345");
    block_on(service.storage.sweep_now());
    service.storage.pass(2_000);
    let changed = || fs::metadata(service.path("a")).unwrap().ctime_nsec();
    let before = changed();
    assert_eq!(service.get("a", &[]).text(), "12345");
    let begin = std::time::Instant::now();
    while changed() == before {
        assert!(begin.elapsed() < Duration::from_secs(10), "the read is not noted");
    }
    assert_eq!((service.delete("a", &[]).status, service.usage()), (202, (0, 0)));
}

#[test]
fn what_others_have_deleted_refuses_no_upload() {
    let service = with_quota(100, false);
    let streamed = |name| {
        let body = chunks(&[&"x".repeat(50)], Then::End);
        service.send("PUT", &format!("/te/v1/files/{name}"), &[], body).status
    };
    assert_eq!(service.put("a", &[], &"x".repeat(90)).status, 201);
    fs::remove_file(service.path("a")).unwrap();
    assert_eq!((service.put("b", &[], &"x".repeat(50)).status, service.usage()), (201, (1, 50)));
    assert_eq!(service.put("c", &[], &"x".repeat(50)).status, 201);
    fs::remove_file(service.path("b")).unwrap();
    assert_eq!((streamed("d"), service.usage()), (201, (2, 100)));
    assert_eq!(streamed("b"), 507);
}

#[test]
fn what_others_have_deleted_makes_room() {
    let service = with_quota(100, true);
    for name in ["a", "b", "c"] {
        assert_eq!(service.put(name, &[], &"x".repeat(30)).status, 201);
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::remove_file(service.path("b")).unwrap();
    fs::remove_file(service.path("c")).unwrap();
    assert_eq!(service.put("d", &[], &"x".repeat(50)).status, 201);
    service.assert_here(&["a", "d"]);
    assert_eq!(service.usage(), (2, 80));
}
