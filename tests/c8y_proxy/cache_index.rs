//! The index of what is kept is made anew at each start, quickly and in little memory.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::cached::{self, assert_all, get, request};
use crate::support::client::Client;
use crate::support::cloud::artifact::Artifact;
use crate::support::device::{Device, Outside, PROGRAM, SOON};
use crate::support::release;
use crate::support::service::{Service, Setup};
use crate::support::wait::eventually;

const KB: u64 = 1024;

fn configure(setup: &mut Setup, outside: &Outside) {
    outside.settings(setup);
    cached::keep(setup);
    setup.set_own("c8y.proxy.cache.min_size", 100);
}

/// The least that the program takes in the next moments, in private memory.
fn private(device: &Device) -> u64 {
    let begun = Instant::now();
    let mut least = u64::MAX;
    while begun.elapsed() < Duration::from_secs(4) {
        least = least.min(device.proxy.memory().private);
        thread::sleep(Duration::from_millis(100));
    }
    least
}

/// Has a proxy keep so many answers, and starts another one with them: the time until that has
/// answered from there, and what it takes more than one that keeps nothing.
pub(crate) fn start_with(program: &str, count: u64) -> (Duration, u64) {
    let outside = Outside::new();
    let proxy = Service::start(program, |setup| configure(setup, &outside));
    let mut device = Device { proxy, outside };
    device.warm();
    let empty = private(&device);
    let path = |number: u64| format!("/inventory/binaries/{}", 1_000_000 + number);
    let artifact = Artifact::new(1, 1000);
    let fill = |device: &Device, first: u64| {
        let mut client = Client::connect(device.proxy.address);
        for number in (first..count).step_by(4) {
            device.cloud().serve(&path(number), &Artifact::new(1, 1000));
            let answer = client.exchange(request("GET", &path(number), ""));
            assert_eq!((answer.status, answer.body.len()), (200, 1000));
        }
    };
    // What comes faster than the disk can take it is not kept the first time.
    eventually("all are on the disk", SOON * 30, || {
        thread::scope(|scope| {
            for first in 0..4 {
                let device = &device;
                scope.spawn(move || fill(device, first));
            }
        });
        cached::settle(&device);
        cached::entries(&device) == count
    });
    device.proxy.stop();
    let begun = Instant::now();
    let directory = device.proxy.directory().clone();
    device.proxy =
        Service::start_in(&directory, program, |setup| configure(setup, &device.outside));
    device.cloud().forget();
    assert_all(&get(&device, &path(count / 2)), &artifact);
    assert_eq!(device.cloud().sent(&path(count / 2)), 0, "it was not there");
    let time = begun.elapsed();
    let grown = private(&device).saturating_sub(empty);
    eprintln!("{count} answers: {time:?}, {} KB more", grown / KB);
    (time, grown)
}

#[test]
fn a_thousand_answers_are_found_quickly_and_take_little_memory() {
    let program = release::built("tedge-c8y-proxy").unwrap_or_else(|| PROGRAM.to_owned());
    let (time, grown) = start_with(&program, 1000);
    assert!(time < Duration::from_secs(1), "{time:?}");
    assert!(grown < 200 * KB, "{} KB", grown / KB);
}

#[test]
fn a_second_proxy_on_the_same_directory_names_the_first_and_the_setting() {
    let device = cached::start();
    let second = Service::start(PROGRAM, |setup| {
        device.outside.settings(setup);
        setup.set_own("c8y.proxy.cache.max_size", "\"1M\"");
        setup.set_own_path("c8y.proxy.cache.path", cached::directory(&device));
    });
    second.wait_for("is in use by", SOON);
    let first = format!("process {} (tedge-c8y-proxy)", device.proxy.pid().as_raw_nonzero());
    for said in [&*first, "c8y.proxy.cache.path"] {
        assert!(second.log().contains(said), "{said} in {}", second.log());
    }
}
