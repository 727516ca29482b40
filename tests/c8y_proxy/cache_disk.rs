//! A disk that is full, has no free inodes or cannot be written, or a directory that was removed:
//! the clients get everything, and only `Cache-Status` shows it.
//!
//! The small disks are in mount namespaces of the programs' own, so nothing stays mounted.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::cached::{
    self, CacheStatus, LENGTH, PATH, assert_all, assert_bytes, begin, get, get_settled, health,
    read, read_slowly,
};
use crate::support::client::{Client, connect_from};
use crate::support::cloud::Gate;
use crate::support::cloud::artifact::Artifact;
use crate::support::device::{Device, SOON};
use crate::support::service::Setup;
use crate::support::wait::eventually;

const MB: u64 = 1024 * 1024;

/// A device whose cache is on a disk of its own, with these options of `mount`; `None` where it
/// takes root and we are not.
fn on_disk(options: &str, configure: impl FnOnce(&mut Setup)) -> Option<Device> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount a small disk");
        return None;
    }
    let device = cached::start_with(|setup| {
        let cache = setup.directory().join("cache");
        let mount =
            format!("mount -t tmpfs -o {options},mode=700 none {} && exec \"$@\"", cache.display());
        setup.wrap(&["unshare", "--mount", "--propagation", "private", "sh", "-c", &mount, "sh"]);
        setup.set_own("http.upload.min_free", "0");
        configure(setup);
    });
    device.warm();
    Some(device)
}

/// The cache as the program sees it.
fn there(device: &Device) -> PathBuf {
    let path = cached::directory(device);
    device.proxy.proc("root").join(path.strip_prefix("/").unwrap())
}

/// Runs a command where the program is.
fn inside(device: &Device, command: &str) {
    let pid = device.proxy.pid().as_raw_nonzero().to_string();
    let done = Command::new("nsenter")
        .args(["--target", &pid, "--mount", "sh", "-ec", command])
        .status()
        .unwrap();
    assert!(done.success(), "{command}");
}

/// Two clients one after the other and three at once get everything, and nothing is said to be
/// stored.
fn assert_served_unkept(device: &Device, path: &str, artifact: &Artifact) {
    device.cloud().serve(path, artifact);
    for _ in 0..2 {
        let answer = get(device, path);
        assert_all(&answer, artifact);
        let _grammar = CacheStatus::of(&answer);
    }
    assert_eq!(device.cloud().sent(path), 2 * artifact.length, "it is kept");
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_all(&get(device, path), artifact));
        }
    });
    assert!(device.proxy.is_running());
}

#[test]
fn nothing_goes_for_what_the_disk_cannot_hold() {
    let Some(device) = on_disk("size=4m", |_| {}) else { return };
    for number in [1, 2] {
        let artifact = Artifact::new(number, LENGTH);
        device.cloud().serve(&format!("/inventory/binaries/{number}"), &artifact);
        assert_all(&get(&device, &format!("/inventory/binaries/{number}")), &artifact);
    }
    eventually("both are kept", SOON, || cached::entries(&device) == 2);
    assert_served_unkept(&device, PATH, &Artifact::new(3, 5_000_000));
    assert_eq!(cached::entries(&device), 2);
    let third = Artifact::new(4, 2_500_000);
    device.cloud().serve(PATH, &third);
    assert_all(&get(&device, PATH), &third);
    eventually("one goes for what it can hold", SOON, || cached::entries(&device) == 2);
    device.cloud().forget();
    assert_all(&get(&device, PATH), &third);
    assert_eq!(device.cloud().sent(PATH), 0);
}

#[test]
fn a_full_disk_ends_the_keeping_and_not_the_download() {
    let Some(device) = on_disk("size=8m", |_| {}) else { return };
    let small = Artifact::new(1, 2 * MB);
    device.cloud().serve("/inventory/binaries/1", &small);
    assert_all(&get(&device, "/inventory/binaries/1"), &small);
    assert_served_unkept(&device, PATH, &Artifact::new(2, 12 * MB));
    // What was begun is given back.
    eventually("the disk is free again", SOON, || {
        cached::files(&there(&device)).values().sum::<u64>() <= 3 * MB
    });
    let other = "/inventory/binaries/2";
    device.cloud().serve(other, &small);
    assert_all(&get(&device, other), &small);
    assert_all(&get(&device, other), &small);
    assert_eq!(device.cloud().sent(other), small.length, "it keeps again");
}

#[test]
fn a_disk_that_is_full_before_the_length_is_known_takes_nothing_from_anybody() {
    let Some(device) = on_disk("size=8m", |_| {}) else { return };
    let (gate, artifact) = (Gate::default(), Artifact::new(1, 12 * MB).chunked());
    device.cloud().serve(PATH, &artifact.clone().gated(4 * MB, &gate));
    let (mut quick, _) = begin(&device, PATH, "");
    let (mut late, _) = begin(&device, PATH, "");
    let (mut going, _) = begin(&device, PATH, "");
    let mut slow = Client::over(connect_from(1, device.proxy.address, 16 * 1024));
    slow.send(cached::request("GET", PATH, "Connection: close\r\n")).unwrap();
    device.cloud().wait(SOON, |seen| seen.requests.iter().any(|r| r.sent >= 4 * MB));
    read_chunks(&mut going, 1 << 20);
    drop(going);
    gate.open();
    thread::scope(|scope| {
        for client in [&mut quick, &mut late] {
            let artifact = &artifact;
            scope.spawn(move || assert_bytes(&read_chunks(client, 12 * MB), artifact, 0));
        }
        scope.spawn(|| {
            thread::sleep(Duration::from_secs(1));
            assert_all(&slow.answer(), &artifact);
        });
    });
    // Those who come meanwhile or later have it from the cloud.
    assert_all(&get(&device, PATH), &artifact);
}

/// So many bytes of content that comes in chunks.
fn read_chunks(client: &mut Client, count: u64) -> Vec<u8> {
    let mut content = Vec::new();
    while (content.len() as u64) < count {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(read(client, 1));
        }
        let digits = std::str::from_utf8(&line[..line.len() - 2]).unwrap();
        let size = u64::from_str_radix(digits, 16).unwrap();
        assert!(size > 0, "the end after {} bytes", content.len());
        content.extend(read(client, size));
        read(client, 2);
    }
    content
}

#[test]
fn a_disk_that_fails_in_the_middle_takes_nothing_from_anybody() {
    let Some(device) = on_disk("size=40m", |_| {}) else { return };
    let (gate, artifact) = (Gate::default(), Artifact::new(1, 12 * MB));
    device.cloud().serve(PATH, &artifact.clone().gated(4 * MB, &gate));
    let (mut quick, _) = begin(&device, PATH, "");
    let (mut late, _) = begin(&device, PATH, "");
    let (mut part, head) = begin(&device, PATH, "Range: bytes=9000000-9999999\r\n");
    assert_eq!(head.status, 206);
    device.cloud().wait(SOON, |seen| seen.requests.iter().any(|r| r.sent >= 4 * MB));
    // Another program fills the disk.
    let path = cached::directory(&device).join("other");
    inside(&device, &format!("dd if=/dev/zero of={} bs=1M 2>/dev/null || true", path.display()));
    gate.open();
    thread::scope(|scope| {
        scope.spawn(|| assert_bytes(&read(&mut quick, 12 * MB), &artifact, 0));
        scope.spawn(|| assert_bytes(&read(&mut late, 12 * MB), &artifact, 0));
        scope.spawn(|| assert_bytes(&read(&mut part, 1_000_000), &artifact, 9_000_000));
    });
    assert_all(&get(&device, PATH), &artifact);
}

#[test]
fn a_disk_that_fills_up_meanwhile_takes_nothing_from_slow_readers() {
    let Some(device) = on_disk("size=8m", |_| {}) else { return };
    let (gate, artifact) = (Gate::default(), Artifact::new(1, 12 * MB));
    device.cloud().serve(PATH, &artifact.clone().gated(4 * MB, &gate));
    let (mut quick, _) = begin(&device, PATH, "");
    let (mut late, _) = begin(&device, PATH, "");
    let mut slow = Client::over(connect_from(1, device.proxy.address, 16 * 1024));
    slow.send(cached::request("GET", PATH, "")).unwrap();
    slow.head();
    assert_bytes(&read(&mut quick, 4 * MB), &artifact, 0);
    gate.open();
    thread::scope(|scope| {
        scope.spawn(|| assert_bytes(&read(&mut quick, 8 * MB), &artifact, 4 * MB));
        scope.spawn(|| assert_bytes(&read(&mut late, 12 * MB), &artifact, 0));
        scope.spawn(|| {
            let begun = read_slowly(&mut slow, 20_000, Duration::from_secs(1));
            let rest = read(&mut slow, artifact.length - begun.len() as u64);
            assert_bytes(&[begun, rest].concat(), &artifact, 0);
        });
    });
    // No part of it is served as if it were complete.
    device.cloud().serve(PATH, &artifact);
    assert_all(&get(&device, PATH), &artifact);
}

#[test]
fn what_has_to_stay_free_stays_free() {
    let Some(device) = on_disk("size=8m", |setup| {
        setup.set_own("http.upload.min_free", "\"50%\"");
    }) else {
        return;
    };
    for number in 0..6 {
        let path = format!("/inventory/binaries/{number}");
        let artifact = Artifact::new(number, 2 * MB - 100_000);
        device.cloud().serve(&path, &artifact);
        assert_all(&get(&device, &path), &artifact);
        let taken = cached::files(&there(&device)).values().sum::<u64>();
        assert!(taken <= 4 * MB, "{taken} bytes of 8 MB");
    }
}

#[test]
fn a_disk_without_room_for_names_changes_nothing_for_clients() {
    // One for the root, and for what may be made at the start.
    let Some(device) = on_disk("size=8m,nr_inodes=2", |_| {}) else { return };
    inside(&device, &format!("cd {} && touch full || true", cached::directory(&device).display()));
    assert_served_unkept(&device, PATH, &Artifact::new(1, LENGTH));
}

#[test]
fn a_directory_that_cannot_be_written_changes_nothing_for_clients() {
    let Some(device) = on_disk("size=8m,ro", |_| {}) else { return };
    assert!(health(&device)["error"].is_string(), "it is known from the start");
    assert_served_unkept(&device, PATH, &Artifact::new(1, LENGTH));
    let log = device.proxy.log();
    assert!(log.contains("Read-only file system"), "{log}");
}

#[test]
fn nothing_is_said_to_be_stored_in_a_directory_of_root() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can start a service as somebody else");
        return;
    }
    let device = cached::start_with(|setup| {
        let cache = setup.directory().join("cache");
        let unfinished = cache.join(cached::UNFINISHED);
        fs::create_dir(&unfinished).unwrap();
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).unwrap();
        for own in [&*unfinished, setup.directory()] {
            chown(own, Some(65534), Some(65534)).unwrap();
        }
        setup.wrap(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    });
    device.warm();
    let artifact = Artifact::new(1, LENGTH);
    assert_served_unkept(&device, PATH, &artifact);
    let status = get(&device, PATH).field("cache-status").unwrap().to_owned();
    assert!(status.contains("fwd=miss") && !status.contains("stored"), "{status}");
    let log = device.proxy.log();
    assert!(log.contains(&format!("cannot cache {PATH}: Permission denied")), "{log}");
}

#[test]
fn a_directory_that_becomes_read_only_serves_what_it_has() {
    let Some(device) = on_disk("size=8m", |_| {}) else { return };
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact);
    assert_all(&get(&device, PATH), &artifact);
    eventually("it is kept", SOON, || cached::entries(&device) == 1);
    inside(&device, &format!("mount -o remount,ro {}", cached::directory(&device).display()));
    assert_all(&get(&device, PATH), &artifact);
    assert!(health(&device)["error"].is_null());
    assert_served_unkept(&device, "/inventory/binaries/1", &Artifact::new(2, LENGTH));
    assert!(health(&device)["error"].is_string());
    // An entry that cannot be deleted is still not served.
    device.cloud().serve(PATH, &artifact.refused("404 Not Found"));
    assert_eq!(get(&device, PATH).status, 404);
    let changed = Artifact::new(3, LENGTH);
    device.cloud().serve(PATH, &changed);
    assert_all(&get(&device, PATH), &changed);
    inside(&device, &format!("mount -o remount,rw {}", cached::directory(&device).display()));
    assert_all(&get(&device, PATH), &changed);
    eventually("it is kept again", SOON, || health(&device)["error"].is_null());
}

#[test]
fn a_directory_that_is_gone_changes_nothing_for_clients() {
    let device = cached::start();
    device.warm();
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact);
    assert_all(&get_settled(&device, PATH), &artifact);
    fs::remove_dir_all(cached::directory(&device)).unwrap();
    for number in 0..3 {
        assert_all(&get(&device, PATH), &artifact);
        let path = format!("/inventory/binaries/{number}");
        device.cloud().serve(&path, &artifact);
        assert_all(&get(&device, &path), &artifact);
        assert_all(&get(&device, &path), &artifact);
    }
}

#[test]
fn files_that_vanish_or_change_below_it_are_downloaded_anew() {
    let device = cached::start();
    device.warm();
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact);
    let changes: [fn(&Path); 4] = [
        |file| fs::remove_file(file).unwrap(),
        |file| fs::OpenOptions::new().write(true).open(file).unwrap().set_len(0).unwrap(),
        |file| fs::OpenOptions::new().write(true).open(file).unwrap().set_len(500_000).unwrap(),
        |file| fs::OpenOptions::new().write(true).open(file).unwrap().set_len(2_000_000).unwrap(),
    ];
    for change in changes {
        assert_all(&get_settled(&device, PATH), &artifact);
        let directory = cached::directory(&device);
        for name in cached::files(&directory).keys() {
            change(&directory.join(name));
        }
        assert_all(&get(&device, PATH), &artifact);
        assert_all(&get(&device, PATH), &artifact);
    }
}
