//! `tedge cache list` and `drop` beside a proxy that serves, and what `/health` says.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;
use std::process::Command;

use crate::support::cached::{self, LENGTH, PATH, assert_all, begin, entries, get_settled, read};
use crate::support::client::Client;
use crate::support::cloud::Gate;
use crate::support::cloud::artifact::Artifact;
use crate::support::device::{Device, PROGRAM, SOON};
use crate::support::directory::Directory;
use crate::support::wait::eventually;

const EVENT: &str = "/event/events/42/binaries";

/// Code, output and complaint of the command, with the settings of the device's proxy.
fn cache(device: &Device, arguments: &[&str]) -> (i32, String, String) {
    cache_of(device.proxy.directory().path(), arguments)
}

/// The same with the settings in this directory.
fn cache_of(config_dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    command.env_clear().args(["tedge", "--config-dir"]).arg(config_dir);
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
fn what_is_being_downloaded_is_dropped_with_all_others() {
    assert_dropped(&["drop"]);
}

#[test]
fn what_is_being_downloaded_is_dropped_by_its_id_or_path() {
    assert_dropped(&["drop", "4711"]);
    assert_dropped(&["drop", PATH]);
}

/// A client that has a part of a download; the cloud has not sent the rest.
struct Downloading {
    client: Client,
    begun: Vec<u8>,
    gate: Gate,
    artifact: Artifact,
}

impl Downloading {
    fn begin() -> (Device, Self) {
        let device = cached::start();
        device.warm();
        let (gate, artifact) = (Gate::default(), Artifact::new(1, LENGTH));
        device.cloud().serve(PATH, &artifact.clone().gated(500_000, &gate));
        let (mut client, _) = begin(&device, PATH, "");
        let begun = read(&mut client, 400_000);
        (device, Self { client, begun, gate, artifact })
    }

    #[track_caller]
    fn complete(mut self) {
        self.gate.open();
        let rest = read(&mut self.client, LENGTH - 400_000);
        cached::assert_bytes(&[self.begun, rest].concat(), &self.artifact, 0);
    }
}

#[track_caller]
fn assert_dropped(arguments: &[&str]) {
    let (device, downloading) = Downloading::begin();
    assert_eq!(cache(&device, arguments), (0, String::new(), String::new()));
    // Who comes now gets what the cloud has now.
    let second = Artifact::new(2, LENGTH);
    device.cloud().serve(PATH, &second);
    let (mut late, head) = begin(&device, PATH, "");
    assert_eq!(head.field("etag"), Some("\"version-2\""));
    cached::assert_bytes(&read(&mut late, LENGTH), &second, 0);
    downloading.complete();
    let log = device.proxy.wait_for(&format!("{PATH} was dropped during its download"), SOON);
    assert!(!log.contains("WARN"), "{log}");
    cached::settle(&device);
    device.cloud().forget();
    assert_all(&get_settled(&device, PATH), &second);
    assert_eq!((entries(&device), device.cloud().sent(PATH)), (1, 0));
}

#[test]
fn a_link_of_another_user_does_not_lead_root_to_other_files() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a directory away");
        return;
    }
    let device = kept();
    let theirs = device.proxy.path("theirs");
    fs::create_dir(&theirs).unwrap();
    symlink(cached::directory(&device), theirs.join("cache")).unwrap();
    chown(&theirs, Some(65534), Some(65534)).unwrap();
    let config = Directory::new();
    let path = theirs.join("cache");
    config.write("tedge-http.toml", format!("c8y.proxy.cache.path = \"{}\"\n", path.display()));
    for arguments in [&["list"][..], &["drop"], &["drop", "4711"]] {
        let (code, out, err) = cache_of(config.path(), arguments);
        assert_eq!((code, &*out), (1, ""), "{arguments:?} {err}");
        assert!(err.contains("theirs/cache is a link that other users can change"), "{err}");
    }
    assert_eq!(entries(&device), 3);
}

#[test]
fn another_name_drops_no_download() {
    let (device, downloading) = Downloading::begin();
    for named in ["4712", "471", "binaries", "/inventory/binaries/4712", ""] {
        let (code, out, err) = cache(&device, &["drop", named]);
        assert_eq!((code, &*out), (1, ""), "{named}: {err}");
        assert!(err.contains(&format!("{named} is not in the cache")), "{err}");
    }
    downloading.complete();
    eventually("it is cached", SOON, || entries(&device) == 1);
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
