//! `Content-Digest` and `Repr-Digest` (RFC 9530): an upload that was damaged on the way is not
//! stored.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Algorithm, SHA256, SHA512};

use crate::{assert_stored, curl, start};

fn field(name: &str, algorithm: &'static Algorithm, content: &str) -> String {
    format!("{name}: {}", digest(algorithm, content))
}

fn digest(algorithm: &'static Algorithm, content: &str) -> String {
    let label = if *algorithm == SHA256 { "sha-256" } else { "sha-512" };
    let digest = ring::digest::digest(algorithm, content.as_bytes());
    format!("{label}=:{}:", STANDARD.encode(digest))
}

#[test]
fn a_digest_that_matches_is_no_obstacle() {
    let service = start(|_| {});
    for name in ["Content-Digest", "Repr-Digest"] {
        for algorithm in [&SHA256, &SHA512] {
            let digest = field(name, algorithm, "content");
            let answer = curl(&service, "foo").put("content").field(&digest).answer();
            assert_eq!(answer.status, 201, "{digest}: {}", answer.text());
        }
    }
    assert_stored(&service, &[("foo", b"content")]);
}

#[test]
fn a_digest_that_does_not_match_stores_nothing() {
    let service = start(|_| {});
    curl(&service, "foo").put("old").answer();
    for name in ["Content-Digest", "Repr-Digest"] {
        for algorithm in [&SHA256, &SHA512] {
            for file in ["foo", "new", "a/b"] {
                let digest = field(name, algorithm, "content");
                let answer = curl(&service, file).put("Content").field(&digest).answer();
                assert_eq!(answer.status, 400, "{digest}");
                assert_ne!(answer.text().trim(), "");
            }
        }
    }
    assert_stored(&service, &[("foo", b"old")]);
}

#[test]
fn each_digest_that_is_understood_counts() {
    let service = start(|_| {});
    let (good, bad) = (digest(&SHA256, "content"), digest(&SHA512, "damaged"));
    let fields = [
        (format!("Content-Digest: {good}, {bad}"), 400),
        (format!("Content-Digest: {bad}, {good}"), 400),
        (format!("Content-Digest: md5=:AAAA:, {good}"), 201),
        (format!("Content-Digest: md5=:AAAA:, {}", digest(&SHA256, "damaged")), 400),
        ("Content-Digest: md5=:AAAA:".to_owned(), 201),
    ];
    for (field, status) in fields {
        let answer = curl(&service, "foo").put("content").field(&field).answer();
        assert_eq!(answer.status, status, "{field}: {}", answer.text());
    }
    let one = curl(&service, "foo").put("content");
    let both = one.field(&format!("Content-Digest: {good}")).field(&format!("Repr-Digest: {bad}"));
    assert_eq!(both.answer().status, 400);
}

#[test]
fn chunked_content_is_checked_too() {
    let service = start(|_| {});
    let file = service.directory().write("file", "content");
    for (content, status) in [("content", 201), ("damaged", 400)] {
        let chunked = curl(&service, content).upload(&file).field("Transfer-Encoding: chunked");
        let answer = chunked.field(&field("Content-Digest", &SHA256, content)).answer();
        assert_eq!(answer.status, status);
    }
    assert_stored(&service, &[("content", b"content")]);
}

#[test]
fn the_digest_is_not_kept() {
    let service = start(|_| {});
    let digest = field("Repr-Digest", &SHA256, "content");
    curl(&service, "foo").put("content").field(&digest).answer();
    let answer = curl(&service, "foo").answer();
    assert_eq!((answer.status, answer.field("repr-digest")), (200, None));
}
