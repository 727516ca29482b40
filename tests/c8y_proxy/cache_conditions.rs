//! HEAD, ranges, conditions and `Cache-Status` of cached answers follow RFC 9110, 9111 and 9211,
//! even if Cumulocity supports none of them.

use crate::support::answer::Answer;
use crate::support::cached::{
    self, CacheStatus, LENGTH, PATH, assert_all, assert_bytes, get, get_settled, get_with, request,
};
use crate::support::cloud::Gate;
use crate::support::cloud::artifact::Artifact;
use crate::support::device::{Device, SOON};

/// A device that has kept this.
fn kept(artifact: &Artifact) -> Device {
    let device = cached::start();
    device.warm();
    device.cloud().serve(PATH, artifact);
    assert_all(&get_settled(&device, PATH), artifact);
    device.cloud().forget();
    device
}

fn ask(device: &Device, method: &str, fields: &str) -> Answer {
    let mut client = device.connect();
    client.send(request(method, PATH, fields)).unwrap();
    client.answer_to(method).unwrap()
}

/// Two clouds: one supports ranges and conditions, the other does not.
fn clouds() -> [Artifact; 2] {
    let artifact = Artifact::new(1, LENGTH);
    [artifact.clone(), artifact.without_ranges()]
}

#[test]
fn head_is_answered_as_get_would_be_and_fills_nothing() {
    let artifact = Artifact::new(1, LENGTH);
    let device = cached::start();
    device.warm();
    device.cloud().serve(PATH, &artifact);
    for _ in 0..2 {
        let head = ask(&device, "HEAD", "");
        assert_eq!((head.status, head.field("content-length")), (200, Some("1000003")));
        let _grammar = CacheStatus::of(&head);
    }
    assert_eq!(device.cloud().sent(PATH), 0);
    let whole = get_settled(&device, PATH);
    let head = ask(&device, "HEAD", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    for name in ["content-length", "etag", "content-type"] {
        assert!(head.field(name).is_some(), "{name} in {:?}", head.fields);
        assert_eq!(head.field(name), whole.field(name), "{name}");
    }
    assert_eq!(device.cloud().sent(PATH), LENGTH);
}

#[test]
fn what_the_cloud_said_of_it_is_said_again() {
    let artifact = Artifact::new(1, LENGTH)
        .field("Content-Disposition: attachment; filename=\"firmware.bin\"")
        .field("Content-Language: de")
        .field("X-Own: caf\u{e9}")
        .field("Set-Cookie: session=secret")
        .field("Keep-Alive: timeout=5");
    let device = kept(&artifact);
    let first = get(&device, PATH);
    assert_all(&first, &artifact);
    assert_eq!(first.field("content-disposition"), Some("attachment; filename=\"firmware.bin\""));
    assert_eq!(first.field("content-language"), Some("de"));
    assert_eq!(first.values("x-own"), ["caf\u{e9}".as_bytes()]);
    assert_eq!(first.values("keep-alive"), [&b""[..]; 0]);
    for name in ["content-type", "content-length", "etag", "date"] {
        assert!(first.values(name).len() <= 1, "{name} twice in {:?}", first.fields);
    }
}

#[test]
fn parts_are_cut_from_what_is_here() {
    for artifact in clouds() {
        let device = kept(&artifact);
        let last = LENGTH - 1;
        for (range, from, to) in [
            ("0-0", 0, 0),
            ("0-99", 0, 99),
            ("65535-65536", 65_535, 65_536),
            ("500000-", 500_000, last),
            ("-1", last, last),
            ("-70000", LENGTH - 70_000, last),
            ("-9999999", 0, last),
            ("1000002-5000000", last, last),
        ] {
            let answer = ask(&device, "GET", &format!("Range: bytes={range}\r\n"));
            assert_eq!((answer.status, answer.broken.as_deref()), (206, None), "{range}");
            let of = format!("bytes {from}-{to}/{LENGTH}");
            assert_eq!(answer.field("content-range"), Some(&*of), "{range}");
            assert_eq!(answer.body.len() as u64, to - from + 1, "{range}");
            assert_bytes(&answer.body, &artifact, from);
            assert_eq!(answer.field("etag"), Some("\"version-1\""));
            let _grammar = CacheStatus::of(&answer);
        }
        for range in ["1000003-", "5000000-6000000", "-0"] {
            let answer = ask(&device, "GET", &format!("Range: bytes={range}\r\n"));
            assert_eq!(answer.status, 416, "{range}");
            assert_eq!(answer.field("content-range"), Some("bytes */1000003"), "{range}");
        }
        // Invalid or several ranges: the whole content, or what was requested.
        for range in ["items=0-1", "bytes=5-2", "bytes=x-y", "bytes=", "bytes=0-1,5-6,8-"] {
            let answer = ask(&device, "GET", &format!("Range: {range}\r\n"));
            let kind = answer.field("content-type").unwrap_or_default().to_owned();
            if answer.status == 206 && kind.starts_with("multipart/byteranges") {
                continue;
            }
            assert_all(&answer, &artifact);
        }
        let sent = device.cloud().sent(PATH);
        assert!(sent < LENGTH / 2, "{sent} bytes came from the cloud");
    }
}

#[test]
fn if_range_decides_between_a_part_and_everything() {
    for artifact in clouds() {
        let device = kept(&artifact);
        let part = ask(&device, "GET", "Range: bytes=100-\r\nIf-Range: \"version-1\"\r\n");
        assert_eq!((part.status, part.body.len() as u64), (206, LENGTH - 100));
        assert_bytes(&part.body, &artifact, 100);
        for other in ["\"version-2\"", "W/\"version-1\"", "Thu, 02 Jan 2020 03:04:05 GMT", "x"] {
            let fields = format!("Range: bytes=100-\r\nIf-Range: {other}\r\n");
            assert_all(&ask(&device, "GET", &fields), &artifact);
        }
        assert_eq!(device.cloud().sent(PATH), 0);
    }
}

#[test]
fn conditions_are_judged_here() {
    for artifact in clouds() {
        let device = kept(&artifact);
        for (fields, status) in [
            ("If-None-Match: \"version-1\"", 304),
            ("If-None-Match: W/\"version-1\"", 304),
            ("If-None-Match: \"x\", \"version-1\"", 304),
            ("If-None-Match: \"x\"\r\nIf-None-Match: \"version-1\"", 304),
            ("If-None-Match: *", 304),
            ("If-None-Match: \"version-2\"", 200),
            ("If-None-Match: \"version-1\"\r\nRange: bytes=0-9", 304),
            ("If-Match: \"version-1\"", 200),
            ("If-Match: *", 200),
            ("If-Match: \"version-2\"", 412),
        ] {
            for method in ["GET", "HEAD"] {
                let answer = ask(&device, method, &format!("{fields}\r\n"));
                assert_eq!(answer.status, status, "{method} {fields}");
                let _grammar = CacheStatus::of(&answer);
                if status == 304 {
                    assert_eq!(answer.field("etag"), Some("\"version-1\""));
                    assert!(matches!(answer.field("content-length"), None | Some("1000003")));
                }
                if method == "GET" && status == 200 {
                    assert_all(&answer, &artifact);
                }
            }
        }
        assert_eq!(device.cloud().sent(PATH), 0);
        // The client's condition is not sent to the cloud in addition to ours, and does not replace
        // it.
        let seen = device.cloud().requests(PATH);
        let own = seen.iter().filter(|r| r.field("if-none-match") == Some(b"\"version-1\""));
        assert!(own.count() > 0, "{seen:?}");
    }
}

#[test]
fn a_date_is_a_condition_too() {
    let date = "Thu, 02 Jan 2025 03:04:05 GMT";
    let artifact = Artifact::new(1, LENGTH).with_date(date);
    let device = kept(&artifact);
    for (fields, status) in [
        (format!("If-Modified-Since: {date}"), 304),
        ("If-Modified-Since: Fri, 03 Jan 2025 03:04:05 GMT".into(), 304),
        ("If-Modified-Since: Wed, 01 Jan 2025 03:04:05 GMT".into(), 200),
        ("If-Modified-Since: yesterday".into(), 200),
        (format!("Range: bytes=5-\r\nIf-Range: {date}"), 206),
        ("Range: bytes=5-\r\nIf-Range: Wed, 01 Jan 2025 03:04:05 GMT".into(), 200),
        ("If-Unmodified-Since: Wed, 01 Jan 2025 03:04:05 GMT".into(), 412),
    ] {
        let answer = ask(&device, "GET", &format!("{fields}\r\n"));
        assert_eq!(answer.status, status, "{fields}");
        assert_eq!(device.cloud().sent(PATH), 0, "{fields}");
    }
}

#[test]
fn an_answer_without_a_tag_never_shares_one_with_another_version() {
    let device = cached::start();
    device.warm();
    let mut tags = Vec::new();
    for version in 1..=3 {
        let artifact = Artifact::new(version, LENGTH).without_validator();
        device.cloud().serve(PATH, &artifact);
        assert_all(&get_settled(&device, PATH), &artifact);
        let kept = get(&device, PATH);
        assert_all(&kept, &artifact);
        // A client resumes from here, whether it has been given a tag or not.
        let part = get_with(&device, PATH, "Range: bytes=500000-\r\n");
        assert_eq!(part.status, 206);
        assert_bytes(&part.body, &artifact, 500_000);
        if let Some(tag) = kept.field("etag") {
            assert_eq!(part.field("etag"), Some(tag));
            let fields = format!("If-None-Match: {tag}\r\n");
            assert_eq!(get_with(&device, PATH, &fields).status, 304);
            assert!(!tags.contains(&tag.to_owned()), "{tag} again");
            tags.push(tag.to_owned());
        }
    }
}

#[test]
fn a_part_of_what_is_not_here_is_right_as_well() {
    for artifact in clouds() {
        let device = cached::start();
        device.warm();
        device.cloud().serve(PATH, &artifact);
        for fields in ["Range: bytes=500000-500099\r\n", "Range: bytes=500000-\r\n"] {
            let answer = get_with(&device, PATH, fields);
            assert_eq!(answer.broken, None);
            match answer.status {
                206 => assert_bytes(&answer.body, &artifact, 500_000),
                _ => assert_all(&answer, &artifact),
            }
            // Never is a part taken for everything.
            assert_all(&get(&device, PATH), &artifact);
        }
    }
}

#[test]
fn a_condition_on_what_is_not_here_keeps_nothing_wrong() {
    let artifact = Artifact::new(1, LENGTH);
    let device = cached::start();
    device.warm();
    device.cloud().serve(PATH, &artifact);
    for (fields, status) in [
        ("If-None-Match: \"version-1\"\r\n", 304),
        ("If-None-Match: \"x\"\r\n", 200),
        ("Range: bytes=0-9\r\nIf-Range: \"x\"\r\n", 200),
    ] {
        assert_eq!(get_with(&device, PATH, fields).status, status, "{fields}");
        assert_all(&get(&device, PATH), &artifact);
        device.proxy.signal(rustix::process::Signal::HUP);
    }
}

#[test]
fn every_answer_says_what_the_cache_did() {
    let device = cached::start();
    device.warm();
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact);
    let first = CacheStatus::of(&get_settled(&device, PATH));
    assert!(first.is_stored && matches!(first.fwd.as_deref(), Some("uri-miss" | "miss")));
    let second = CacheStatus::of(&get(&device, PATH));
    assert!(second.is_hit || second.fwd_status == Some(304), "{second:?}");
    for (request, fwd) in [
        (request("POST", "/service/echo", "Content-Length: 0\r\n"), ["method", "bypass"]),
        (request("GET", "/tenant/currentTenant", ""), ["bypass", "bypass"]),
        (request("GET", "/inventory/binaries/1", ""), ["uri-miss", "miss"]),
        (request("DELETE", PATH, ""), ["method", "bypass"]),
    ] {
        let status = CacheStatus::of(&device.ask(&request));
        assert!(fwd.contains(&status.fwd.as_deref().unwrap()), "{request:?} {status:?}");
        assert!(!status.is_stored && !status.is_collapsed, "{request:?} {status:?}");
    }
    // A cache before ours keeps its word.
    let path = "/inventory/binaries/2";
    let artifact = artifact.field("Cache-Status: ExampleCDN; hit").field("Cache-Control: private");
    device.cloud().serve(path, &artifact);
    for _ in 0..2 {
        let all = CacheStatus::all(&get_settled(&device, path));
        assert_eq!((all.len(), &*all[0].cache), (2, "ExampleCDN"), "{all:?}");
    }
}

#[test]
fn a_part_that_is_still_to_come_is_waited_for() {
    let artifact = Artifact::new(1, LENGTH);
    let device = cached::start();
    device.warm();
    let gate = Gate::default();
    device.cloud().serve(PATH, &artifact.clone().gated(500_000, &gate));
    let (mut first, _) = cached::begin(&device, PATH, "");
    device.cloud().wait(SOON, |seen| seen.requests.iter().any(|r| r.sent == 500_000));
    // One beyond the end is refused as soon as the length is known.
    let answer = get_with(&device, PATH, "Range: bytes=1000003-\r\n");
    assert_eq!(answer.status, 416);
    let (mut part, head) = cached::begin(&device, PATH, "Range: bytes=900000-900099\r\n");
    assert_eq!(head.status, 206);
    assert!(!part.has_news());
    gate.open();
    assert_bytes(&cached::read(&mut part, 100), &artifact, 900_000);
    assert_bytes(&cached::read(&mut first, LENGTH), &artifact, 0);
}
