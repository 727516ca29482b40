//! Rows of the contract on PUT: what is stored, where, and what is said of it.

use std::fs;

use crate::support::client::Client;
use crate::support::curl::Curl;
use crate::{FILES, assert_stored, bytes, curl, put, request, start};

#[test]
fn a_new_file_and_a_replaced_one_are_answered_201_with_an_etag_and_no_content() {
    let service = start(|_| {});
    let first = curl(&service, "foo.txt").put("one").answer();
    let second = curl(&service, "foo.txt").put("other").answer();
    for answer in [&first, &second] {
        assert_eq!((answer.status, answer.text().as_str()), (201, ""));
        assert_eq!(answer.field("content-length"), Some("0"));
    }
    let etag = first.field("etag").unwrap();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2, "{etag}");
    assert_ne!(first.field("etag"), second.field("etag"));
    assert_eq!(second.field("etag"), curl(&service, "foo.txt").answer().field("etag"));
    assert_stored(&service, &[("foo.txt", b"other")]);
}

#[test]
fn every_way_of_curl_to_upload_stores_the_same_bytes() {
    let service = start(|_| {});
    let content = bytes(3_000_000, 1);
    let file = service.directory().write("content", &content);
    let data = format!("@{}", file.display());
    let ways = [
        ("-T", curl(&service, "-T").upload(&file)),
        ("chunked", curl(&service, "chunked").upload(&file).field("Transfer-Encoding: chunked")),
        ("data", curl(&service, "data").args(["-X", "PUT", "--data-binary", &data])),
        ("1.0", curl(&service, "1.0").upload(&file).arg("--http1.0")),
        ("no-expect", curl(&service, "no-expect").upload(&file).field("Expect:")),
    ];
    for (way, curl) in ways {
        assert_eq!(curl.answer().status, 201, "{way}");
        assert!(
            fs::read(service.path("data/file-transfer").join(way)).unwrap() == content,
            "{way}"
        );
    }
}

#[test]
fn an_empty_file_is_a_file() {
    let service = start(|_| {});
    assert_eq!(curl(&service, "empty").put("").answer().status, 201);
    let answer = curl(&service, "empty").answer();
    assert_eq!((answer.status, answer.field("content-length")), (200, Some("0")));
    assert_stored(&service, &[("empty", b"")]);
}

#[test]
fn a_part_of_a_file_does_not_replace_it() {
    let service = start(|_| {});
    curl(&service, "foo").put("old").answer();
    let part = curl(&service, "foo").put("new").field("Content-Range: bytes 0-2/10");
    assert_eq!(part.answer().status, 400);
    assert_stored(&service, &[("foo", b"old")]);
}

#[test]
fn directories_on_the_way_are_made() {
    let service = start(|_| {});
    assert_eq!(curl(&service, "a/b/c/d.txt").put("deep").answer().status, 201);
    assert_stored(&service, &[("a/b/c/d.txt", b"deep")]);
}

#[test]
fn a_trailing_slash_changes_nothing() {
    let service = start(|_| {});
    assert_eq!(curl(&service, "a/b/").put("slash").answer().status, 201);
    assert_stored(&service, &[("a/b", b"slash")]);
    assert_eq!(curl(&service, "a/b/").answer().text(), "slash");
}

#[test]
fn a_directory_cannot_be_replaced_by_a_file() {
    let service = start(|_| {});
    curl(&service, "a/b").put("content").answer();
    for directory in ["a", "a/"] {
        let answer = curl(&service, directory).put("x").answer();
        assert_eq!(answer.status, 409);
        let expected = r#"Cannot upload: "a" is a directory, not a file"#;
        assert_eq!(answer.text().trim_end(), expected);
        assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    }
    assert_stored(&service, &[("a/b", b"content")]);
}

#[test]
fn a_file_cannot_become_a_directory() {
    let service = start(|_| {});
    curl(&service, "a").put("content").answer();
    for (file, above) in [("a/b", "a"), ("a/b/c/d", "a")] {
        let answer = curl(&service, file).put("x").answer();
        assert_eq!(answer.status, 409);
        let expected = format!(r#"Cannot upload: "{file}": "{above}" is a file, not a directory"#);
        assert_eq!(answer.text().trim_end(), expected);
    }
    assert_stored(&service, &[("a", b"content")]);
}

#[test]
fn both_routes_serve_the_same_files_and_neither_is_deprecated() {
    let service = start(|_| {});
    let old = service.url(&format!("{FILES}/foo"));
    let new = service.url("/te/v1/files/foo");
    for (written, read) in [(&old, &new), (&new, &old)] {
        let put = Curl::new(written).put(written).answer();
        let got = Curl::new(read).answer();
        assert_eq!((put.status, got.text().as_str()), (201, written.as_str()));
        for (field, _) in put.fields.iter().chain(&got.fields) {
            assert!(!["deprecation", "sunset", "link", "warning"].contains(&field.as_str()));
        }
    }
    assert_eq!(Curl::new(&new).method("DELETE").answer().status, 202);
    assert_eq!(Curl::new(&old).answer().status, 404);
}

#[test]
fn names_are_decoded_once() {
    let service = start(|_| {});
    let names = [
        ("with%20space", "with space"),
        ("caf%C3%A9", "café"),
        ("a+b", "a+b"),
        ("100%25", "100%"),
        ("twice%2541", "twice%41"),
        ("q%3Fm%23h", "q?m#h"),
        (".hidden", ".hidden"),
        ("..dots", "..dots"),
        ("back%5Cslash", "back\\slash"),
    ];
    for (escaped, name) in names {
        assert_eq!(curl(&service, escaped).put(escaped).answer().status, 201, "{escaped}");
        let path = service.path("data/file-transfer").join(name);
        assert_eq!(fs::read_to_string(path).unwrap(), escaped);
        assert_eq!(curl(&service, escaped).answer().text(), escaped);
    }
}

#[test]
fn a_query_is_no_part_of_the_name() {
    let service = start(|_| {});
    assert_eq!(curl(&service, "foo?a=b/../c").put("x").answer().status, 201);
    assert_stored(&service, &[("foo", b"x")]);
}

#[test]
fn many_uploads_go_over_one_connection() {
    let service = start(|_| {});
    let mut client = Client::connect(service.address);
    for round in 0..50_usize {
        let content = bytes(round * 1000, round as u64);
        assert_eq!(client.exchange(put("same", &content)).status, 201);
        assert!(client.exchange(request("GET", "same")).body == content);
    }
}
