//! The proxy is killed while it fills, evicts or asks, and started again: what it serves then is
//! whole and of the right version, and what was unfinished is gone.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use crate::support::cached::{
    self, LENGTH, PATH, assert_all, begin, get, get_settled, read, request,
};
use crate::support::cloud::artifact::Artifact;
use crate::support::cloud::{Gate, Script};
use crate::support::device::{Device, SOON};
use crate::support::service::Setup;
use crate::support::wait::eventually;

fn kill_and_start(device: Device, configure: impl FnOnce(&mut Setup)) -> Device {
    device.proxy.kill();
    cached::start_again(device, configure)
}

#[test]
fn what_was_being_filled_is_gone_after_a_restart() {
    let device = cached::start();
    device.warm();
    let (gate, artifact) = (Gate::default(), Artifact::new(1, 3 * LENGTH));
    device.cloud().serve(PATH, &artifact.clone().gated(2 * LENGTH, &gate));
    let (mut client, _) = begin(&device, PATH, "");
    read(&mut client, 2 * LENGTH);
    let device = kill_and_start(device, |_| {});
    eventually("what was unfinished is gone", SOON, || cached::taken(&device) < LENGTH);
    gate.open();
    assert_all(&get_settled(&device, PATH), &artifact);
    // And what is whole survives.
    let device = kill_and_start(device, |_| {});
    device.cloud().forget();
    assert_all(&get(&device, PATH), &artifact);
    assert_eq!(device.cloud().sent(PATH), 0);
}

#[test]
fn a_kill_while_the_cloud_is_asked_loses_nothing() {
    let device = cached::start();
    device.warm();
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact);
    assert_all(&get_settled(&device, PATH), &artifact);
    device.cloud().forget();
    device.cloud().answer(PATH, Script::new().hold().once());
    let mut client = device.connect();
    client.send(request("GET", PATH, "")).unwrap();
    device.cloud().wait(SOON, |seen| !seen.requests.is_empty());
    let device = kill_and_start(device, |_| {});
    device.cloud().forget();
    assert_all(&get(&device, PATH), &artifact);
    assert_eq!(device.cloud().sent(PATH), 0);
}

#[test]
fn kills_at_any_time_leave_nothing_torn() {
    const PATHS: u64 = 8;
    let path = |number: u64| format!("/inventory/binaries/{number}");
    // Three of these fit, so each download evicts another.
    let small = |setup: &mut Setup| setup.set_own("c8y.proxy.cache.max_size", "\"1M\"");
    let mut device = cached::start_with(small);
    device.warm();
    let artifact =
        |number: u64, version: u64| Artifact::new(number * 1000 + version, 300_000 + number * 1000);
    let mut seed = 7_u64;
    let mut chance = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 1..=12 {
        for number in 0..PATHS {
            if round == 1 || chance(3) == 0 {
                device.cloud().serve(&path(number), &artifact(number, round));
            }
        }
        let seeds: Vec<u64> = (0..4).map(|_| chance(1000)).collect();
        let (address, time) = (device.proxy.address, Duration::from_millis(20 + chance(120)));
        thread::scope(|scope| {
            for seed in seeds {
                scope.spawn(move || {
                    for turn in 0..1000 {
                        let asked = request("GET", &path((seed + turn * 3) % PATHS), "");
                        // It is killed at some point.
                        let Ok(answer) = crate::support::client::ask(address, asked) else {
                            return;
                        };
                        assert!(answer.broken.is_some() || answer.status == 200);
                    }
                });
            }
            thread::sleep(time);
            device.proxy.kill();
        });
        device = cached::start_again(device, small);
        let latest: Vec<_> = (0..PATHS).map(|number| get(&device, &path(number))).collect();
        for (number, answer) in latest.iter().enumerate() {
            let tag = answer.field("etag").unwrap();
            let version = tag.trim_matches('"').strip_prefix("version-").unwrap();
            let version: u64 = version.parse().unwrap();
            let now = device.cloud().seen().requests.len();
            assert!(version / 1000 == number as u64, "{tag} for {number}, {now}");
            assert_all(answer, &artifact(number as u64, version % 1000));
        }
        let taken = cached::taken(&device);
        assert!(taken <= 1024 * 1024 + 100_000, "{taken} bytes");
    }
}

#[test]
fn what_is_foreign_in_its_directory_is_neither_served_nor_followed() {
    let device = cached::start();
    device.warm();
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact);
    assert_all(&get_settled(&device, PATH), &artifact);
    device.proxy.kill();
    let directory = cached::directory(&device);
    let outside = device.proxy.directory().write("outside", "precious");
    let names: Vec<_> = cached::files(&directory).into_keys().collect();
    fs::write(directory.join("note.txt"), "hello").unwrap();
    fs::create_dir_all(directory.join("lost+found/deep")).unwrap();
    symlink(&outside, directory.join("link")).unwrap();
    symlink("/", directory.join("root")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(directory.join("fifo")).status();
    assert!(fifo.unwrap().success());
    // What it made itself, torn and under another name.
    for name in &names {
        let content = fs::read(directory.join(name)).unwrap();
        let torn = &content[..content.len() / 2];
        let mut other = directory.join(name).into_os_string();
        other.push("x");
        fs::write(other, torn).unwrap();
        fs::write(directory.join(name), torn).unwrap();
    }
    let device = cached::start_again(device, |_| {});
    device.cloud().forget();
    assert_all(&get(&device, PATH), &artifact);
    eventually("it is kept", SOON, || cached::entries(&device) == 1);
    assert_all(&get(&device, PATH), &artifact);
    assert_eq!(device.cloud().sent(PATH), LENGTH, "torn, so downloaded, and kept");
    assert_eq!(fs::read(outside).unwrap(), b"precious");
}
