//! Conditional requests: validators decide between 2xx, 304 and 412.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use crate::support::curl::Curl;
use crate::support::service::Service;
use crate::{assert_stored, curl, start};

fn etag(service: &Service, file: &str) -> String {
    curl(service, file).answer().field("etag").unwrap().to_owned()
}

fn status(curl: Curl, field: &str) -> u16 {
    curl.field(field).answer().status
}

#[test]
fn an_upload_whose_condition_fails_is_refused() {
    let service = start(|_| {});
    curl(&service, "foo").put("old").answer();
    let put = |file: &str| curl(&service, file).put("new");
    let stale = r#"If-Match: "nothing-like-it""#;
    assert_eq!(status(put("foo"), stale), 412);
    assert_eq!(status(put("foo"), "If-None-Match: *"), 412);
    assert_eq!(status(put("foo"), &format!("If-None-Match: {}", etag(&service, "foo"))), 412);
    assert_eq!(status(put("missing"), "If-Match: *"), 412);
    assert_eq!(status(put("missing/deeper"), stale), 412);
    assert_stored(&service, &[("foo", b"old")]);
}

#[test]
fn an_upload_whose_condition_holds_is_taken() {
    let service = start(|_| {});
    assert_eq!(status(curl(&service, "foo").put("1"), "If-None-Match: *"), 201);
    let etag = etag(&service, "foo");
    let one_of_two = format!(r#"If-Match: "other", {etag}"#);
    assert_eq!(status(curl(&service, "foo").put("2"), &one_of_two), 201);
    assert_eq!(status(curl(&service, "foo").put("3"), &format!("If-Match: {etag}")), 412);
    assert_eq!(status(curl(&service, "foo").put("4"), "If-Match: *"), 201);
    assert_eq!(status(curl(&service, "foo").put("5"), r#"If-None-Match: "other""#), 201);
    assert_stored(&service, &[("foo", b"5")]);
}

#[test]
fn one_of_two_first_uploads_wins() {
    let service = start(|_| {});
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let put = |content: &'static str| {
            let service = &service;
            move || status(curl(service, "foo").put(content), "If-None-Match: *")
        };
        let uploads: Vec<_> = ["a", "b", "c", "d"].map(|content| scope.spawn(put(content))).into();
        uploads.into_iter().map(|upload| upload.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|&&status| status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|&&status| status == 412).count(), 3, "{statuses:?}");
}

#[test]
fn a_deletion_whose_condition_fails_is_refused() {
    let service = start(|_| {});
    curl(&service, "foo").put("content").answer();
    let delete = |file: &str| curl(&service, file).method("DELETE");
    assert_eq!(status(delete("foo"), r#"If-Match: "other""#), 412);
    assert_eq!(status(delete("foo"), "If-None-Match: *"), 412);
    assert_eq!(status(delete("missing"), "If-Match: *"), 412);
    assert_stored(&service, &[("foo", b"content")]);
    assert_eq!(status(delete("foo"), &format!("If-Match: {}", etag(&service, "foo"))), 202);
    assert_stored(&service, &[]);
}

#[test]
fn what_a_client_has_already_is_not_sent_again() {
    let service = start(|_| {});
    curl(&service, "foo").put("content").answer();
    let whole = curl(&service, "foo").answer();
    let etag = whole.field("etag").unwrap();
    let modified = whole.field("last-modified").unwrap();
    let held = [
        format!("If-None-Match: {etag}"),
        format!("If-None-Match: W/{etag}"),
        format!(r#"If-None-Match: "other", {etag}"#),
        "If-None-Match: *".to_owned(),
        format!("If-Modified-Since: {modified}"),
    ];
    for field in held {
        for method in ["GET", "HEAD"] {
            let answer = curl(&service, "foo").method(method).field(&field).answer();
            assert_eq!((answer.status, answer.text().as_str()), (304, ""), "{method} {field}");
            assert_eq!(answer.field("etag"), Some(etag), "{method} {field}");
        }
    }
}

#[test]
fn what_a_client_does_not_have_is_sent() {
    let service = start(|_| {});
    curl(&service, "foo").put("content").answer();
    let modified = curl(&service, "foo").answer().field("last-modified").unwrap().to_owned();
    let get = || curl(&service, "foo");
    assert_eq!(status(get(), r#"If-None-Match: "other""#), 200);
    assert_eq!(status(get(), "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT"), 200);
    assert_eq!(status(get(), "If-Modified-Since: yesterday"), 200);
    // RFC 9110, 13.1.3: the date is ignored where there is a tag.
    let both = get().field(r#"If-None-Match: "other""#);
    assert_eq!(status(both, &format!("If-Modified-Since: {modified}")), 200);
}

#[test]
fn last_modified_is_the_time_of_the_file() {
    let service = start(|_| {});
    curl(&service, "foo").put("content").answer();
    let path = service.path("data/file-transfer/foo");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let answer = curl(&service, "foo").answer();
    assert_eq!(answer.field("last-modified"), Some("Sun, 09 Sep 2001 01:46:40 GMT"));
}

#[test]
fn a_file_that_is_replaced_within_a_second_has_another_etag() {
    let service = start(|_| {});
    let mut etags = Vec::new();
    for content in ["aaaa", "bbbb", "cccc"] {
        curl(&service, "foo").put(content).answer();
        etags.push(etag(&service, "foo"));
    }
    fs::write(service.path("data/file-transfer/foo"), "dddd").unwrap();
    etags.push(etag(&service, "foo"));
    etags.sort();
    etags.dedup();
    assert_eq!(etags.len(), 4);
}
