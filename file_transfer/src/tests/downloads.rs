//! GET and HEAD.

use std::fs::File;
use std::time::{Duration, SystemTime};

use common::http::Body;
use futures_lite::future::block_on;

use super::Service;

#[test]
fn sends_a_file_with_its_header_fields() {
    for service in [Service::new(), Service::without_openat2()] {
        let path = service.put_on_disk("a/b.txt", b"hello");
        let when = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 5);
        File::open(&path).unwrap().set_modified(when).unwrap();

        let answer = service.get("a/b.txt", &[]);
        assert_eq!(answer.said(), (200, "hello"));
        for (name, value) in [
            ("content-length", "5"),
            ("content-type", "application/octet-stream"),
            ("x-content-type-options", "nosniff"),
            ("last-modified", "Sun, 09 Sep 2001 01:46:40 GMT"),
            ("accept-ranges", "bytes"),
        ] {
            assert_eq!(answer.field(name), value);
        }
        assert!(answer.field("etag").starts_with('"'));

        let head = service.send("HEAD", "/tedge/file-transfer/a/b.txt", &[], Body::Empty);
        assert_eq!(head.said(), (200, ""));
        assert_eq!(head.fields, answer.fields);
    }
}

#[test]
fn a_missing_file_is_not_found() {
    let service = Service::new();
    assert_eq!(service.get("nope", &[]).said(), (404, r#"File not found: "nope""#));
    service.put_on_disk("a/b", b"");
    assert_eq!(service.get("a", &[]).said(), (404, r#"File not found: "a""#));
    assert_eq!(service.get("a%0A%22", &[]).said(), (404, r#"File not found: "a\n\"""#));
    let head = service.send("HEAD", "/te/v1/files/nope", &[], Body::Empty);
    assert_eq!(head.status, 404);
}

#[test]
fn a_client_that_has_this_version_is_told_so() {
    let service = Service::new();
    service.put_on_disk("a", b"hello");
    let first = service.get("a", &[]);
    let tag = first.field("etag");
    for fields in [("if-none-match", tag), ("if-modified-since", first.field("last-modified"))] {
        let answer = service.get("a", &[fields]);
        assert_eq!((answer.said(), answer.field("etag")), ((304, ""), tag));
    }
    assert_eq!(service.get("a", &[("if-none-match", "\"x\"")]).status, 200);
    assert_eq!(service.get("a", &[("if-match", "\"x\"")]).status, 412);
}

#[test]
fn sends_a_part_of_a_file() {
    let service = Service::new();
    service.put_on_disk("a", b"0123456789");
    let part = service.get("a", &[("range", "bytes=2-4")]);
    assert_eq!(part.said(), (206, "234"));
    assert_eq!(part.field("content-range"), "bytes 2-4/10");
    assert_eq!(part.field("content-length"), "3");
    assert_eq!(service.get("a", &[("range", "bytes=-3")]).said(), (206, "789"));
    assert_eq!(service.get("a", &[("range", "bytes=0-1,3-4")]).said(), (200, "0123456789"));
    let same = [("range", "bytes=2-4"), ("if-range", part.field("etag"))];
    assert_eq!(service.get("a", &same).status, 206);
    let other = [("range", "bytes=2-4"), ("if-range", "\"x\"")];
    assert_eq!(service.get("a", &other).said(), (200, "0123456789"));

    let beyond = service.get("a", &[("range", "bytes=10-")]);
    assert_eq!((beyond.status, beyond.field("content-range")), (416, "bytes */10"));
}

#[test]
fn large_files_come_whole_and_in_small_pieces() {
    for service in [Service::new(), Service::without_openat2()] {
        let content: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let path = service.put_on_disk("large", &content);
        // Not in memory: read by way of the pool.
        let file = File::open(path).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        block_on(async {
            let response = service.begin("GET", "/te/v1/files/large", &[], Body::Empty).await;
            let mut body = response.into_body();
            let mut received = Vec::new();
            while let Some(chunk) = body.chunk().await {
                let chunk = chunk.unwrap();
                assert!(chunk.len() <= 64 * 1024);
                received.extend_from_slice(&chunk);
            }
            assert!(received == content);
        });
    }
}
