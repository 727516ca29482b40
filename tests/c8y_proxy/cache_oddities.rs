//! Unusual answers of the cloud are forwarded unchanged, and what is cached of them is complete and
//! correct, or nothing is cached.

use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::cached::{
    self, CacheStatus, LENGTH, PATH, assert_all, assert_bytes, begin, get, get_settled, get_with,
    read,
};
use crate::support::cloud::artifact::Artifact;
use crate::support::cloud::{Gate, Script};
use crate::support::device::Device;

fn device() -> Device {
    let device = cached::start();
    device.warm();
    device
}

/// How often all of an artifact was downloaded by two clients, one after the other, who got it.
fn downloads(device: &Device, artifact: &Artifact) -> u64 {
    device.cloud().serve(PATH, artifact);
    device.cloud().forget();
    for _ in 0..2 {
        assert_all(&get_settled(device, PATH), artifact);
    }
    let sent = device.cloud().sent(PATH);
    assert_eq!(sent % artifact.length, 0, "{sent} bytes");
    sent / artifact.length
}

fn openssl_digest(name: &str, bytes: &[u8]) -> String {
    let mut child = Command::new("openssl")
        .args(["dgst", name, "-binary"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    STANDARD.encode(child.wait_with_output().unwrap().stdout)
}

#[test]
fn an_answer_without_a_length_arrives_whole() {
    for artifact in [
        Artifact::new(1, LENGTH).chunked(),
        Artifact::new(1, LENGTH).chunked().without_validator(),
        Artifact::new(1, LENGTH).until_close(),
    ] {
        let count = downloads(&device(), &artifact);
        assert!(count == 1 || count == 2);
    }
}

#[test]
fn a_binary_is_answered_while_the_inventory_is_not() {
    const OBJECT: &str = "/inventory/managedObjects/4711";
    let binary = Artifact::new(1, LENGTH).without_validator();
    let silent = || Script::new().hold();
    let cut = || Script::new().send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{").break_off();
    // Two at once, since silence takes ten seconds each time.
    std::thread::scope(|scope| {
        for inventory in [silent, cut] {
            let binary = &binary;
            scope.spawn(move || {
                // After a start, while nothing is cached.
                let device = device();
                device.cloud().serve(PATH, binary);
                device.cloud().answer(OBJECT, inventory());
                assert_all(&get(&device, PATH), binary);
                assert_eq!(cached::entries(&device), 0);
                // While an entry is cached that only the inventory can confirm.
                let device = self::device();
                device.cloud().serve(PATH, binary);
                assert_all(&get_settled(&device, PATH), binary);
                assert_eq!(cached::entries(&device), 1);
                device.cloud().answer(OBJECT, inventory());
                assert_all(&get(&device, PATH), binary);
            });
        }
    });
}

#[test]
fn several_follow_an_answer_without_a_length() {
    let device = device();
    let (gate, artifact) = (Gate::default(), Artifact::new(1, LENGTH).chunked());
    device.cloud().serve(PATH, &artifact.clone().gated(500_000, &gate));
    let mut clients: Vec<_> = (0..3).map(|_| device.connect()).collect();
    for client in &mut clients {
        client.send(cached::request("GET", PATH, "")).unwrap();
    }
    gate.open();
    for client in &mut clients {
        assert_all(&client.answer(), &artifact);
    }
}

#[test]
fn a_length_that_is_wrong_is_never_kept() {
    // More was promised than came.
    let device = device();
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact.clone().with_wrong_length(1000).without_ranges());
    let answer = get(&device, PATH);
    assert!(answer.status == 200 && answer.broken.is_some(), "it looks whole");
    assert_bytes(&answer.body, &artifact, 0);
    assert_eq!(downloads(&device, &artifact), 1);

    // More content came than was announced: the excess is part of no answer.
    device.cloud().serve("/inventory/binaries/1", &artifact.clone().with_wrong_length(-1000));
    let answer = get(&device, "/inventory/binaries/1");
    assert_eq!((answer.status, answer.broken.as_deref()), (200, None));
    assert_eq!(answer.body.len() as u64, LENGTH - 1000);
    assert_bytes(&answer.body, &artifact, 0);
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    assert_all(&get(&device, PATH), &artifact);
}

#[test]
fn a_checksum_that_is_wrong_is_not_kept_and_a_right_one_is() {
    let device = device();
    let artifact = Artifact::new(1, LENGTH);
    let (right, wrong) = (artifact.bytes(), Artifact::new(2, LENGTH).bytes());
    let field = |bytes: &[u8], name: &str| match name {
        "Content-MD5" => format!("Content-MD5: {}", openssl_digest("-md5", bytes)),
        name => format!("{name}: sha-256=:{}:", openssl_digest("-sha256", bytes)),
    };
    for name in ["Content-MD5", "Repr-Digest", "Content-Digest"] {
        let artifact = artifact.clone().with_etag(&format!("\"{name}\""));
        assert_eq!(downloads(&device, &artifact.clone().field(field(&wrong, name))), 2, "{name}");
        assert_eq!(downloads(&device, &artifact.clone().field(field(&right, name))), 1, "{name}");
    }
    // A field that is invalid, or of an unknown kind, is ignored.
    for said in ["Digest: UNIXsum=30637", "Repr-Digest: x=:AAAA:"] {
        let artifact = artifact.clone().with_etag(&format!("\"{said:.8}\"")).field(said);
        assert_eq!(downloads(&device, &artifact), 1, "{said}");
    }
}

#[test]
fn a_coding_reaches_only_those_who_accept_it() {
    let device = device();
    let artifact = Artifact::new(1, LENGTH).coded_as(1000);
    let coded = Artifact::new(1000, LENGTH);
    device.cloud().serve(PATH, &artifact);
    for accept in ["gzip", "", "gzip, br", "identity", "", "gzip"] {
        let fields = match accept {
            "" => String::new(),
            accept => format!("Accept-Encoding: {accept}\r\n"),
        };
        let answer = get_with(&device, PATH, &fields);
        match answer.field("content-encoding") {
            None => assert_all(&answer, &artifact),
            Some(coding) => {
                assert!(coding == "gzip" && accept.contains("gzip"), "{accept:?}: {coding}");
                assert_all(&answer, &coded);
            }
        }
    }
}

#[test]
fn one_who_accepts_a_coding_and_one_who_does_not_ask_at_the_same_time() {
    let device = device();
    let (gate, artifact) = (Gate::default(), Artifact::new(1, LENGTH).coded_as(1000));
    device.cloud().serve(PATH, &artifact.clone().gated(500_000, &gate));
    let mut zipped = device.connect();
    zipped.send(cached::request("GET", PATH, "Accept-Encoding: gzip\r\n")).unwrap();
    let head = zipped.head();
    let mut plain = device.connect();
    plain.send(cached::request("GET", PATH, "")).unwrap();
    gate.open();
    let answer = plain.answer();
    assert_eq!(answer.field("content-encoding"), None);
    assert_all(&answer, &artifact);
    let version = if head.field("content-encoding").is_some() { 1000 } else { 1 };
    assert_bytes(&read(&mut zipped, LENGTH), &Artifact::new(version, LENGTH), 0);
}

#[test]
fn answers_that_vary_are_never_mixed_up() {
    let device = device();
    let artifact = Artifact::new(1, LENGTH).field("Vary: X-Kind");
    device.cloud().serve(PATH, &artifact);
    assert_all(&get_with(&device, PATH, "X-Kind: one\r\n"), &artifact);
    cached::settle(&device);
    device.cloud().forget();
    assert_all(&get_with(&device, PATH, "X-Kind: two\r\n"), &artifact);
    let seen = device.cloud().requests(PATH);
    let is_asked = seen.iter().any(|request| request.field("x-kind") == Some(b"two"));
    assert!(is_asked, "{seen:?}");
}

#[test]
fn a_part_that_nobody_asked_for_is_passed_on_and_never_taken_for_everything() {
    let device = device();
    let artifact = Artifact::new(1, LENGTH).always_partial();
    device.cloud().serve(PATH, &artifact);
    for _ in 0..2 {
        let answer = get(&device, PATH);
        assert!(matches!(answer.status, 200 | 206), "{}", answer.status);
        assert_bytes(&answer.body, &artifact, 0);
        assert_eq!((answer.body.len() as u64, answer.broken.as_deref()), (LENGTH, None));
    }
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-99999/1000003\r\n\
        ETag: \"version-1\"\r\nContent-Length: 100000\r\n\r\n";
    let path = "/inventory/binaries/5";
    device.cloud().answer(path, Script::new().send(part).send(vec![b'x'; 100_000]).once());
    let answer = get(&device, path);
    assert_eq!((answer.status, answer.body.len()), (206, 100_000));
    device.cloud().serve(path, &Artifact::new(2, LENGTH));
    assert_all(&get(&device, path), &Artifact::new(2, LENGTH));
}

#[test]
fn an_interim_answer_and_an_upper_case_field_change_nothing() {
    let device = device();
    let content = cached_bytes(100_000);
    let head = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\
        ETAG: \"a\"\r\nCONTENT-LENGTH: 100000\r\n\r\n";
    device.cloud().answer(PATH, Script::new().send(head).send(&content).once());
    device.cloud().answer(
        PATH,
        Script::new().send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 304 x\r\nETag: \"a\"\r\n\r\n"),
    );
    for _ in 0..3 {
        let answer = get(&device, PATH);
        assert_eq!((answer.status, answer.field("etag")), (200, Some("\"a\"")));
        assert!(answer.body == content);
    }
}

fn cached_bytes(length: u64) -> Vec<u8> {
    Artifact::new(7, length).bytes()
}

#[test]
fn a_304_that_does_not_fit_never_makes_a_wrong_answer() {
    // A 304 with the tag of another version says nothing about the one that is here.
    let device = device();
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact);
    assert_all(&get_settled(&device, PATH), &artifact);
    let changed = Artifact::new(2, LENGTH);
    device.cloud().serve(PATH, &changed);
    let odd = "HTTP/1.1 304 Not Modified\r\nETag: \"version-2\"\r\n\r\n";
    device.cloud().answer(PATH, Script::new().send(odd).once());
    let answer = get(&device, PATH);
    if answer.status == 200 {
        let version =
            if answer.field("etag") == Some("\"version-1\"") { &artifact } else { &changed };
        assert_all(&answer, version);
    } else {
        assert_eq!(answer.status, 502);
    }
    assert_all(&get(&device, PATH), &changed);
    // A 304 to somebody who asked without a condition is no answer.
    let path = "/inventory/binaries/6";
    device.cloud().answer(path, Script::new().send(odd).once());
    assert_eq!(get(&device, path).status, 304);
}

#[test]
fn an_answer_to_a_redirect_or_an_empty_file_is_passed_on() {
    let device = device();
    let away = "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\n\
        Content-Length: 0\r\n\r\n";
    device.cloud().answer(PATH, Script::new().send(away).once());
    let answer = get(&device, PATH);
    assert_eq!(
        (answer.status, answer.field("location")),
        (302, Some("https://elsewhere.example/"))
    );
    let empty = Artifact::new(1, 0);
    device.cloud().serve(PATH, &empty);
    let (mut client, head) = begin(&device, PATH, "");
    assert_eq!((head.status, head.field("content-length")), (200, Some("0")));
    assert!(!client.has_news());
    let _grammar = CacheStatus::of(&get(&device, PATH));
}

#[test]
fn many_fields_and_long_ones_change_nothing() {
    let device = device();
    let mut artifact = Artifact::new(1, LENGTH).field(format!("X-Long: {}", "x".repeat(20_000)));
    for number in 0..60 {
        artifact = artifact.field(format!("X-{number}: {}", "y".repeat(100)));
    }
    device.cloud().serve(PATH, &artifact);
    for _ in 0..2 {
        let answer = get(&device, PATH);
        assert_all(&answer, &artifact);
        assert_eq!(answer.field("x-long").map(str::len), Some(20_000));
        assert_eq!(answer.field("x-59").map(str::len), Some(100));
    }
}
