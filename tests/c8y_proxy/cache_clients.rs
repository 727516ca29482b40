//! The programs with which devices download resume from the cache, even if the cloud does not
//! support ranges: curl, wget, aria2, and thin-edge.io's own downloader.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::cached::{self, LENGTH, PATH, assert_bytes, begin, get_with, read};
use crate::support::cloud::Gate;
use crate::support::cloud::artifact::Artifact;
use crate::support::device::Device;

const PART: usize = 400_000;

fn run(command: &mut Command) -> Output {
    command.env_remove("http_proxy").env("no_proxy", "*").env("NO_PROXY", "*").output().unwrap()
}

/// A command that continues a file which it has a part of: its name, and how it is told to.
fn programs(url: &str, file: &Path) -> Vec<(&'static str, Command)> {
    let (directory, name) = (file.parent().unwrap(), file.file_name().unwrap());
    let mut curl = Command::new("curl");
    curl.args(["--disable", "-sS", "-f", "--noproxy", "*", "-C", "-", "-o"]).arg(file).arg(url);
    let mut wget = Command::new("wget");
    wget.args(["--no-config", "-q", "-c", "-t", "3", "-O"]).arg(file).arg(url);
    let mut aria2 = Command::new("aria2c");
    aria2.args(["--no-conf", "-q", "-c", "-x4", "-s4", "-k1M", "--file-allocation=none"]);
    aria2.arg("-d").arg(directory).arg("-o").arg(name).arg(url);
    vec![("curl", curl), ("wget", wget), ("aria2c", aria2)]
}

fn is_installed(program: &str) -> bool {
    let is = Command::new(program).arg("--version").output().is_ok();
    if !is {
        eprintln!("skipped: {program} is not installed");
    }
    is
}

#[test]
fn curl_wget_and_aria2_resume_from_what_is_here() {
    for artifact in [
        Artifact::new(1, LENGTH).without_ranges(),
        Artifact::new(1, LENGTH).without_ranges().without_validator(),
        Artifact::new(1, LENGTH),
    ] {
        let device = cached::start();
        device.warm();
        device.cloud().serve(PATH, &artifact);
        cached::assert_all(&cached::get_settled(&device, PATH), &artifact);
        let (file, url) = (device.proxy.path("file"), device.proxy.url(&format!("/c8y{PATH}")));
        for (name, mut command) in programs(&url, &file) {
            if !is_installed(name) {
                continue;
            }
            fs::write(&file, &artifact.bytes()[..PART]).unwrap();
            let output = run(&mut command);
            assert!(output.status.success(), "{name}: {output:?}");
            let content = fs::read(&file).unwrap();
            assert_bytes(&content, &artifact, 0);
            assert_eq!(content.len() as u64, LENGTH, "{name}");
        }
        assert_eq!(device.cloud().sent(PATH), LENGTH);
    }
}

#[test]
fn several_parts_at_once_are_one_download() {
    if !is_installed("aria2c") {
        return;
    }
    let device = cached::start();
    device.warm();
    let artifact = Artifact::new(1, 9_000_000);
    device.cloud().serve(PATH, &artifact);
    let (file, url) = (device.proxy.path("file"), device.proxy.url(&format!("/c8y{PATH}")));
    let mut aria2 = programs(&url, &file).pop().unwrap().1;
    // First nothing is here, then everything.
    for _ in 0..2 {
        let output = run(&mut aria2);
        assert!(output.status.success(), "{output:?}");
        let content = fs::read(&file).unwrap();
        assert_bytes(&content, &artifact, 0);
        assert_eq!(content.len() as u64, artifact.length);
        fs::remove_file(&file).unwrap();
    }
    let sent = device.cloud().sent(PATH);
    assert!(sent <= artifact.length + LENGTH, "{sent} bytes");
}

/// As thin-edge.io's `download` crate: the next request has a Range and no If-Range, and what comes
/// counts if it is a 206 from there whose ETag and Last-Modified are those of before.
fn resume_as_thin_edge_does(device: &Device, artifact: &Artifact) {
    let (mut client, first) = begin(device, PATH, "");
    let begun = read(&mut client, PART as u64);
    client.reset();
    let rest = get_with(device, PATH, &format!("Range: bytes={PART}-\r\n"));
    assert_eq!((rest.status, rest.broken.as_deref()), (206, None));
    for validator in ["etag", "last-modified"] {
        assert_eq!(rest.field(validator), first.field(validator), "{validator}");
    }
    let of = format!("bytes {PART}-{}/{}", artifact.length - 1, artifact.length);
    assert_eq!(rest.field("content-range"), Some(&*of));
    let content = [begun, rest.body].concat();
    assert_bytes(&content, artifact, 0);
    assert_eq!(content.len() as u64, artifact.length);
}

#[test]
fn thin_edge_resumes_from_what_is_here() {
    let date = "Thu, 02 Jan 2025 03:04:05 GMT";
    for artifact in [
        Artifact::new(1, 5 * LENGTH),
        Artifact::new(1, 5 * LENGTH).without_ranges(),
        Artifact::new(1, 5 * LENGTH).without_ranges().with_date(date),
    ] {
        let device = cached::start();
        device.warm();
        device.cloud().serve(PATH, &artifact);
        // Once while it is downloaded: a second reader keeps that going.
        let (mut other, _) = begin(&device, PATH, "");
        resume_as_thin_edge_does(&device, &artifact);
        assert_bytes(&read(&mut other, artifact.length), &artifact, 0);
        resume_as_thin_edge_does(&device, &artifact);
        assert_eq!(device.cloud().sent(PATH), artifact.length);
    }
}

#[test]
fn a_reader_of_a_slow_download_resumes_while_it_comes() {
    let device = cached::start();
    device.warm();
    let gate = Gate::default();
    let artifact = Artifact::new(1, LENGTH).without_ranges();
    device.cloud().serve(PATH, &artifact.clone().gated(600_000, &gate));
    let (mut other, _) = begin(&device, PATH, "");
    let (file, url) = (device.proxy.path("file"), device.proxy.url(&format!("/c8y{PATH}")));
    fs::write(&file, &artifact.bytes()[..PART]).unwrap();
    let (_, mut curl) = programs(&url, &file).remove(0);
    let mut child = curl.env("no_proxy", "*").spawn().unwrap();
    crate::support::wait::eventually("curl has what is here", crate::support::device::SOON, || {
        fs::metadata(&file).unwrap().len() >= 590_000
    });
    gate.open();
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::metadata(&file).unwrap().len(), LENGTH);
    assert_bytes(&fs::read(&file).unwrap(), &artifact, 0);
    assert_bytes(&read(&mut other, LENGTH), &artifact, 0);
    assert_eq!(device.cloud().sent(PATH), LENGTH);
}
