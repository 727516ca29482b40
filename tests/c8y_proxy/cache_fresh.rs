//! Before anything is served from the cache, the proxy asks the cloud whether it is unchanged, with
//! the device's token. What the cloud refuses is also removed from the cache.

use std::thread;

use crate::support::answer::Answer;
use crate::support::bridge;
use crate::support::cached::{
    self, CacheStatus, LENGTH, PATH, assert_all, begin, get, get_settled, get_with, read, request,
    said,
};
use crate::support::cloud::artifact::Artifact;
use crate::support::cloud::record::Request;
use crate::support::cloud::{Gate, Script};
use crate::support::device::{Device, SOON};

const EVENT: &str = "/event/events/42/binaries";

fn field<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.field(name).map(|value| std::str::from_utf8(value).unwrap())
}

/// A device that has kept this artifact of each path.
fn kept(artifact: &Artifact, paths: &[&str]) -> Device {
    let device = cached::start();
    device.warm();
    for path in paths {
        device.cloud().serve(path, artifact);
        assert_all(&get_settled(&device, path), artifact);
    }
    device.cloud().forget();
    device
}

#[track_caller]
fn assert_from_here(device: &Device, answer: &Answer, artifact: &Artifact) {
    assert_all(answer, artifact);
    let sent: u64 = device.cloud().seen().requests.iter().map(|request| request.sent).sum();
    assert!(sent < 2000, "{sent} bytes came from the cloud");
    let status = CacheStatus::of(answer);
    assert!(status.is_hit || status.fwd.as_deref() == Some("stale"), "{status:?}");
}

#[test]
fn an_answer_with_a_validator_is_asked_for_with_it() {
    let date = "Thu, 02 Jan 2025 03:04:05 GMT";
    for (artifact, name, value) in [
        (Artifact::new(1, LENGTH), "if-none-match", "\"version-1\""),
        (Artifact::new(1, LENGTH).with_etag("W/\"a b\""), "if-none-match", "W/\"a b\""),
        (Artifact::new(1, LENGTH).with_date(date), "if-modified-since", date),
    ] {
        for path in [PATH, EVENT] {
            let device = kept(&artifact, &[path]);
            for _ in 0..2 {
                device.cloud().forget();
                assert_from_here(&device, &get(&device, path), &artifact);
                let asked = device.cloud().requests(path);
                assert_eq!(asked.len(), 1, "{asked:?}");
                assert_eq!(field(&asked[0], name), Some(value), "{asked:?}");
                assert!(asked[0].bearer().is_some(), "with the device's token");
            }
        }
    }
}

#[test]
fn an_answer_without_a_validator_is_compared_with_its_object() {
    let artifact = Artifact::new(1, LENGTH).without_validator();
    let device = kept(&artifact, &[PATH]);
    for _ in 0..2 {
        device.cloud().forget();
        assert_from_here(&device, &get(&device, PATH), &artifact);
        assert_eq!(device.cloud().requests("/inventory/managedObjects/4711").len(), 1);
    }
    // Changed, shorter without another date, and not to be read.
    for changed in [
        Artifact::new(2, LENGTH).without_validator(),
        Artifact::new(2, LENGTH - 1).without_validator(),
        Artifact::new(2, LENGTH).without_validator().without_object(),
    ] {
        device.cloud().forget();
        device.cloud().serve(PATH, &changed);
        assert_all(&get_settled(&device, PATH), &changed);
        assert_eq!(device.cloud().sent(PATH), changed.length);
    }
    device.cloud().serve(PATH, &artifact);
    assert_all(&get_settled(&device, PATH), &artifact);
    device.cloud().serve(PATH, &artifact.clone().refused("404 Not Found"));
    assert_eq!(get(&device, PATH).status, 404);
    device.cloud().serve(PATH, &artifact);
    device.cloud().forget();
    assert_all(&get(&device, PATH), &artifact);
    assert_eq!(device.cloud().sent(PATH), LENGTH, "it was gone");
}

#[test]
fn an_attachment_without_a_validator_is_never_stale() {
    // Nothing says when an attachment was replaced.
    let device = cached::start();
    device.warm();
    for version in [1, 2, 2, 3] {
        let artifact = Artifact::new(version, LENGTH).without_validator();
        device.cloud().serve(EVENT, &artifact);
        assert_all(&get_settled(&device, EVENT), &artifact);
    }
}

#[test]
fn what_was_replaced_under_the_same_id_is_served_anew() {
    for first in [Artifact::new(1, LENGTH), Artifact::new(1, LENGTH).without_validator()] {
        let device = kept(&first, &[PATH]);
        let second = Artifact::new(2, LENGTH);
        let second = if first.has_validator() { second } else { second.without_validator() };
        device.cloud().serve(PATH, &second);
        assert_all(&get_settled(&device, PATH), &second);
        device.cloud().forget();
        assert_from_here(&device, &get(&device, PATH), &second);
        // A part, where the client believes that it has the first version.
        let third = Artifact::new(3, LENGTH);
        device.cloud().serve(PATH, &third);
        let part = get_with(&device, PATH, "Range: bytes=500-\r\nIf-Range: \"version-2\"\r\n");
        assert_all(&part, &third);
        let part = get_with(&device, PATH, "Range: bytes=500-\r\n");
        cached::assert_bytes(&part.body, &third, 500);
    }
}

#[test]
fn a_reader_of_the_old_version_ends_with_it() {
    let (first, second) = (Artifact::new(1, 20_000_000), Artifact::new(2, LENGTH));
    let device = kept(&first, &[PATH]);
    let (mut client, _) = begin(&device, PATH, "");
    let begun = read(&mut client, 100_000);
    device.cloud().serve(PATH, &second);
    assert_all(&get(&device, PATH), &second);
    let rest = read(&mut client, first.length - 100_000);
    cached::assert_bytes(&[begun, rest].concat(), &first, 0);
}

#[test]
fn what_the_cloud_refuses_is_passed_on_and_gone_from_here() {
    let artifact = Artifact::new(1, LENGTH);
    for status in [
        "402 Payment Required",
        "403 Forbidden",
        "404 Not Found",
        "410 Gone",
        "423 Locked",
        "451 Unavailable For Legal Reasons",
    ] {
        let device = kept(&artifact, &[PATH]);
        let files = cached::files(&cached::directory(&device));
        assert!(files.values().any(|length| *length >= LENGTH), "{files:?}");
        device.cloud().serve(PATH, &artifact.clone().refused(status));
        for method in ["GET", "HEAD", "GET"] {
            let mut client = device.connect();
            client.send(request(method, PATH, "")).unwrap();
            let answer = client.answer_to(method).unwrap();
            assert_eq!(answer.status.to_string(), status[..3], "{method}");
            if method == "GET" {
                assert_eq!(answer.text(), r#"{"error":"security/Forbidden"}"#);
            }
        }
        assert!(
            cached::taken(&device) < LENGTH,
            "{:?}",
            cached::files(&cached::directory(&device))
        );
        device.cloud().serve(PATH, &artifact);
        device.cloud().forget();
        assert_all(&get(&device, PATH), &artifact);
        assert_eq!(device.cloud().sent(PATH), LENGTH);
    }
}

#[test]
fn an_error_of_the_cloud_is_passed_on_and_costs_nothing_that_was_kept() {
    let artifact = Artifact::new(1, LENGTH);
    let device = kept(&artifact, &[PATH]);
    for status in [
        "500 Internal Server Error",
        "503 Service Unavailable",
        "407 Proxy Authentication Required",
        "421 Misdirected Request",
        "425 Too Early",
        "429 Too Many Requests",
    ] {
        device.cloud().answer(PATH, Script::answer(status, b"later").once());
        let answer = get(&device, PATH);
        assert_eq!((answer.status.to_string(), &*answer.text()), (status[..3].into(), "later"));
    }
    device.cloud().forget();
    assert_from_here(&device, &get(&device, PATH), &artifact);
}

/// The answer `304 Not Modified` with these fields, once.
fn not_modified(device: &Device, fields: &str) {
    let answer = format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n\r\n");
    device.cloud().answer(PATH, Script::new().send(answer).once());
}

#[test]
fn what_must_not_be_kept_any_more_is_served_from_here_once() {
    let artifact = Artifact::new(1, LENGTH);
    for (name, said) in [
        ("cache-control", "no-store"),
        ("cache-control", "max-age=5, private"),
        ("vary", "Accept, *"),
    ] {
        let device = kept(&artifact, &[PATH]);
        not_modified(&device, &format!("ETag: \"version-1\"\r\n{name}: {said}"));
        let answer = get(&device, PATH);
        assert_from_here(&device, &answer, &artifact);
        assert_eq!(answer.field(name), Some(said));
        assert!(cached::taken(&device) < LENGTH, "it is still here");
        device.cloud().forget();
        assert_all(&get(&device, PATH), &artifact);
        assert_eq!(device.cloud().sent(PATH), LENGTH);
    }
}

#[test]
fn the_fields_of_a_304_replace_those_that_were_kept() {
    let artifact = Artifact::new(1, LENGTH).field("X-Place: a").field("X-Kept: b");
    let device = kept(&artifact, &[PATH]);
    not_modified(&device, "ETag: W/\"version-1\"\r\nX-Place: c\r\nX-Place: d\r\nContent-Type: x/y");
    let answer = get(&device, PATH);
    assert_from_here(&device, &answer, &artifact);
    assert_eq!(answer.values("x-place"), [b"c", b"d"]);
    assert_eq!((answer.field("x-kept"), answer.field("etag")), (Some("b"), Some("\"version-1\"")));
    assert_ne!(answer.field("content-type"), Some("x/y"));
}

#[test]
fn a_304_for_another_version_confirms_nothing() {
    let dated = Artifact::new(1, LENGTH).with_date("Thu, 02 Jan 2025 03:04:05 GMT");
    let second = Artifact::new(2, LENGTH);
    for (first, said) in [
        (Artifact::new(1, LENGTH), "ETag: \"version-2\""),
        (dated, "Last-Modified: Wed, 01 Jan 2025 03:04:05 GMT"),
    ] {
        let device = kept(&first, &[PATH]);
        device.cloud().serve(PATH, &second);
        not_modified(&device, said);
        assert_all(&get(&device, PATH), &second);
    }
}

#[test]
fn a_second_304_does_not_reach_a_client_that_sent_no_condition() {
    for (fields, status) in [("", 502), ("If-None-Match: \"version-2\"\r\n", 304)] {
        let device = kept(&Artifact::new(1, LENGTH), &[PATH]);
        for _ in 0..2 {
            not_modified(&device, "ETag: \"version-2\"");
        }
        let answer = get_with(&device, PATH, fields);
        assert_eq!(answer.status, status);
        assert_eq!(answer.text().contains("304 Not Modified"), status == 502, "{}", answer.text());
    }
}

#[test]
fn head_that_the_cloud_answers_without_its_condition_confirms_the_same_version() {
    let artifact = Artifact::new(1, LENGTH);
    let device = kept(&artifact, &[PATH]);
    for (said, is_kept) in [
        ("ETag: \"version-1\"\r\nContent-Length: 1000003", true),
        ("ETag: \"version-1\"\r\nContent-Length: 1000002", false),
        ("ETag: \"version-2\"\r\nContent-Length: 1000003", false),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{said}\r\n\r\n");
        device.cloud().answer(PATH, Script::new().send(answer).once());
        assert_eq!(device.ask(request("HEAD", PATH, "")).status, 200);
        device.cloud().forget();
        assert_all(&get_settled(&device, PATH), &artifact);
        assert_eq!(device.cloud().sent(PATH) == 0, is_kept, "{said}");
    }
}

#[test]
fn a_token_that_ran_out_is_renewed_in_between() {
    let artifact = Artifact::new(1, LENGTH);
    let device = kept(&artifact, &[PATH]);
    device.cloud().tokens().revoke_all();
    assert_from_here(&device, &get(&device, PATH), &artifact);
    assert_eq!(device.bridge().asked(), 2);
    // Twenty at once are one renewal, and all are answered from here.
    device.cloud().tokens().revoke_all();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_all(&get(&device, PATH), &artifact));
        }
    });
    assert_eq!(device.bridge().asked(), 3);
}

#[test]
fn a_device_that_is_not_trusted_any_more_gets_nothing() {
    let artifact = Artifact::new(1, LENGTH);
    let device = kept(&artifact, &[PATH]);
    // Every token is refused from now on, new ones as well.
    let bad = device.cloud().tokens().issue();
    device.cloud().tokens().revoke_all();
    device.bridge().answer(bridge::Answer::Payload(format!("71,{bad}").into_bytes()));
    let answer = get(&device, PATH);
    assert_eq!(answer.status, 401, "{}", said(&answer));
    assert!(cached::taken(&device) < LENGTH, "it is still here");
}

#[test]
fn an_upload_or_a_deletion_through_the_proxy_is_seen_at_once() {
    let device = cached::start();
    device.warm();
    let path = device.cloud().add_binary(LENGTH);
    let first = get_settled(&device, &path);
    assert_eq!(first.body.len() as u64, LENGTH);
    assert_eq!(get(&device, &path).body, first.body);
    let content = vec![b'x'; 100_000];
    let head = request("PUT", &path, "Content-Type: a/b\r\nContent-Length: 100000\r\n");
    assert_eq!(device.ask([head.as_bytes(), &content].concat()).status, 201);
    assert!(get(&device, &path).body == content, "the old content");
    assert_eq!(device.ask(request("DELETE", &path, "")).status, 204);
    assert_eq!(get(&device, &path).status, 404);
}

#[test]
fn a_client_that_goes_while_the_cloud_is_asked_costs_nobody_anything() {
    let artifact = Artifact::new(1, LENGTH);
    let device = kept(&artifact, &[PATH]);
    let gate = Gate::default();
    let script =
        Script::new().wait(&gate).send("HTTP/1.1 304 Not Modified\r\nETag: \"version-1\"\r\n\r\n");
    device.cloud().answer(PATH, script.once());
    let mut client = device.connect();
    client.send(request("GET", PATH, "")).unwrap();
    device.cloud().wait(SOON, |seen| !seen.requests.is_empty());
    drop(client);
    gate.open();
    device.cloud().forget();
    assert_from_here(&device, &get(&device, PATH), &artifact);
}
