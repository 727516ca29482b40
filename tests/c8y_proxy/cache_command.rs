//! `tedge cache list` and `drop` beside a proxy that serves, and what `/health` says.

use std::process::Command;

use crate::support::cached::{self, LENGTH, PATH, assert_all, begin, entries, get_settled, read};
use crate::support::cloud::artifact::Artifact;
use crate::support::device::{Device, PROGRAM, SOON};
use crate::support::wait::eventually;

const EVENT: &str = "/event/events/42/binaries";

/// Code, output and complaint of the command, with the settings of the device's proxy.
fn cache(device: &Device, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    command.env_clear().args(["tedge", "--config-dir"]).arg(device.proxy.directory().path());
    let output = command.arg("cache").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn kept() -> Device {
    let device = cached::start();
    device.warm();
    for (number, path) in [PATH, EVENT, "/inventory/binaries/1"].iter().enumerate() {
        let artifact = Artifact::new(number as u64 + 1, LENGTH + number as u64);
        device.cloud().serve(path, &artifact);
        assert_all(&get_settled(&device, path), &artifact);
    }
    device.cloud().forget();
    device
}

#[test]
fn list_prints_each_with_its_bytes() {
    let device = kept();
    let (code, out, err) = cache(&device, &["list"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out.lines().count(), 3, "{out}");
    for (path, length) in
        [(PATH, LENGTH), (EVENT, LENGTH + 1), ("/inventory/binaries/1", LENGTH + 2)]
    {
        let begins = format!("{path} {length} bytes, ");
        assert!(out.lines().any(|line| line.starts_with(&begins)), "{begins:?} in {out}");
    }
    // Nothing is there before anything was kept.
    let (code, out, err) = cache(&cached::start(), &["list"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
}

#[test]
fn health_says_how_many_entries_there_are_and_their_bytes() {
    let device = kept();
    let health: serde_json::Value = serde_json::from_slice(&device.get("/health").body).unwrap();
    assert_eq!(health["cache"]["entries"], 3);
    assert_eq!(health["cache"]["bytes"], cached::taken(&device));
}

#[test]
fn what_is_dropped_is_downloaded_anew() {
    let device = kept();
    for (named, path, left) in [("4711", PATH, 2), (EVENT, EVENT, 2)] {
        let (code, out, err) = cache(&device, &["drop", named]);
        assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""), "{named}");
        eventually("it is gone", SOON, || entries(&device) == left);
        device.cloud().forget();
        let answer = get_settled(&device, path);
        assert_eq!((answer.status, answer.broken), (200, None));
        assert_eq!(device.cloud().sent(path), answer.body.len() as u64, "{named}");
    }
    let (code, ..) = cache(&device, &["drop"]);
    assert_eq!((code, cached::taken(&device)), (0, 0));
    eventually("nothing is left", SOON, || entries(&device) == 0);
}

#[test]
fn one_who_reads_what_is_dropped_reads_it_to_its_end() {
    let device = cached::start();
    device.warm();
    let artifact = Artifact::new(1, 20_000_000);
    device.cloud().serve(PATH, &artifact);
    assert_all(&get_settled(&device, PATH), &artifact);
    let (mut client, _) = begin(&device, PATH, "");
    let begun = read(&mut client, 1000);
    assert_eq!(cache(&device, &["drop"]).0, 0);
    let rest = read(&mut client, artifact.length - 1000);
    cached::assert_bytes(&[begun, rest].concat(), &artifact, 0);
}

#[test]
fn what_is_not_there_is_an_error_in_words() {
    let device = kept();
    let (code, out, err) = cache(&device, &["drop", "4712"]);
    assert!(code != 0 && out.is_empty() && err.contains("4712"), "{code} {out} {err}");
    for odd in ["../../etc/passwd", "/", "..", "%2e%2e", "\u{1b}[2J", ""] {
        let (code, _, err) = cache(&device, &["drop", odd]);
        assert!(code != 0 && !err.contains('\u{1b}'), "{odd:?}: {code} {err:?}");
    }
    assert_eq!(entries(&device), 3);
}
