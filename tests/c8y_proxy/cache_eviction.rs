//! If there is no room, the least recently used entry is deleted. An entry that is being read is
//! read to its end, and the cache never exceeds its limit.

use crate::support::cached::{
    self, CacheStatus, assert_all, assert_bytes, begin, get, get_settled, read,
};
use crate::support::client::{Client, connect_from};
use crate::support::cloud::artifact::Artifact;
use crate::support::device::Device;
use crate::support::wait::eventually;

const LENGTH: u64 = 300_000;

fn path(number: u64) -> String {
    format!("/inventory/binaries/{number}")
}

/// A device that may keep three artifacts of a thousand that are in the cloud.
fn device() -> Device {
    let device = cached::start_with(|setup| setup.set_own("c8y.proxy.cache.max_size", "\"1M\""));
    device.warm();
    for number in 0..20 {
        device.cloud().serve(&path(number), &Artifact::new(number, LENGTH));
    }
    device
}

/// Which of the artifacts are here, learned without touching any.
fn fetch(device: &Device, number: u64) -> bool {
    let before = device.cloud().sent(&path(number));
    assert_all(&get_settled(device, &path(number)), &Artifact::new(number, LENGTH));
    device.cloud().sent(&path(number)) == before
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let device = device();
    for number in [1, 2, 3] {
        assert!(!fetch(&device, number));
    }
    assert!(fetch(&device, 1), "three fit");
    assert!(!fetch(&device, 4));
    assert!(fetch(&device, 1), "it was used last");
    assert!(fetch(&device, 3));
    assert!(fetch(&device, 4));
    assert!(!fetch(&device, 2), "it was used longest ago");
}

#[test]
fn the_order_outlives_a_restart() {
    let device = device();
    for number in [1, 2, 3] {
        fetch(&device, number);
        // What the file system notes of the order may be no finer than this.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    device.proxy.stop();
    let device =
        cached::start_again(device, |setup| setup.set_own("c8y.proxy.cache.max_size", "\"1M\""));
    assert!(!fetch(&device, 4));
    assert!(fetch(&device, 3));
    assert!(fetch(&device, 2));
    assert!(!fetch(&device, 1), "it was used longest ago");
}

#[test]
fn it_never_takes_more_than_it_may() {
    let device = device();
    for number in 0..20 {
        fetch(&device, number);
        let taken = cached::taken(&device);
        assert!(taken <= 1024 * 1024, "{taken} bytes");
    }
    assert!(cached::taken(&device) >= 2 * LENGTH, "it keeps nothing");
    // Less than was kept before.
    device.proxy.stop();
    let device =
        cached::start_again(device, |setup| setup.set_own("c8y.proxy.cache.max_size", "\"400k\""));
    fetch(&device, 1);
    eventually("the rest is gone", crate::support::device::SOON, || {
        cached::taken(&device) <= 400 * 1024
    });
}

#[test]
fn what_is_larger_than_all_of_it_is_served_and_not_kept() {
    let device = device();
    fetch(&device, 1);
    let large = Artifact::new(50, 4_000_000);
    for artifact in [large.clone(), large.clone().chunked()] {
        device.cloud().serve(&path(50), &artifact);
        for _ in 0..2 {
            let answer = get(&device, &path(50));
            assert_all(&answer, &large);
            let _grammar = CacheStatus::of(&answer);
            assert!(cached::taken(&device) <= 1024 * 1024);
        }
        // Without a length it is not known beforehand that it cannot be kept.
        let is_kept = fetch(&device, 1);
        assert!(is_kept || artifact.is_chunked(), "nothing had to go for it");
    }
}

#[test]
fn what_does_not_say_how_long_it_is_takes_a_quarter_from_others_at_most() {
    let device = device();
    for number in [1, 2, 3] {
        fetch(&device, number);
    }
    // Again and again, and several at once.
    let many: Vec<_> = (50..54).map(|number| Artifact::new(number, 4_000_000).chunked()).collect();
    for artifact in &many {
        device.cloud().serve(&path(artifact.version), artifact);
    }
    for _ in 0..2 {
        std::thread::scope(|scope| {
            for artifact in &many {
                scope.spawn(|| assert_all(&get(&device, &path(artifact.version)), artifact));
            }
        });
        cached::settle(&device);
        assert!(cached::entries(&device) >= 2, "{:?}", cached::files(&cached::directory(&device)));
    }
    let small = Artifact::new(60, 200_000).chunked();
    device.cloud().serve(&path(60), &small);
    assert_all(&get_settled(&device, &path(60)), &small);
    device.cloud().forget();
    assert_all(&get(&device, &path(60)), &small);
    assert_eq!(device.cloud().sent(&path(60)), 0, "it is kept");
}

#[test]
fn what_is_being_read_stays_whole() {
    let device = cached::start_with(|setup| setup.set_own("c8y.proxy.cache.max_size", "\"30M\""));
    device.warm();
    let large = Artifact::new(50, 20_000_000);
    device.cloud().serve(&path(50), &large);
    assert_all(&get_settled(&device, &path(50)), &large);
    let (mut client, _) = begin(&device, &path(50), "");
    let begun = read(&mut client, 1000);
    for number in 0..3 {
        let artifact = Artifact::new(number, 9_000_000);
        device.cloud().serve(&path(number), &artifact);
        assert_all(&get_settled(&device, &path(number)), &artifact);
        assert!(cached::taken(&device) <= 30 * 1024 * 1024, "{}", cached::taken(&device));
    }
    // It was used longest ago.
    assert_eq!(cached::entries(&device), 3);
    let rest = read(&mut client, large.length - 1000);
    assert_bytes(&[begun, rest].concat(), &large, 0);
}

#[test]
fn clients_that_read_slowly_end_the_caching_only_if_they_hold_as_much_again() {
    const MB: u64 = 1_000_000;
    let device = cached::start_with(|setup| setup.set_own("c8y.proxy.cache.max_size", "\"20M\""));
    device.warm();
    let mut slow = Vec::new();
    for (number, length, is_kept) in
        [(1, 15 * MB, true), (2, 8 * MB, true), (3, 15 * MB, false), (4, 12 * MB, true)]
    {
        let artifact = Artifact::new(number, length);
        device.cloud().serve(&path(number), &artifact);
        for _ in 0..2 {
            assert_all(&get_settled(&device, &path(number)), &artifact);
        }
        let downloads = device.cloud().sent(&path(number)) / length;
        assert_eq!(downloads, if is_kept { 1 } else { 2 }, "{number}");
        if is_kept {
            let mut client = Client::over(connect_from(1, device.proxy.address, 16 * 1024));
            client.send(cached::request("GET", &path(number), "")).unwrap();
            client.head();
            slow.push(client);
        }
    }
    let log = device.proxy.log();
    assert_eq!(
        log.matches("a download is not cached: entries that clients read slowly").count(),
        1
    );
}
