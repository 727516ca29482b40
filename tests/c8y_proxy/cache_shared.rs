//! One download serves all clients that request it meanwhile, each at its own speed, in little
//! memory.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::cached::{
    self, CacheStatus, LENGTH, PATH, assert_all, assert_bytes, begin, get, get_settled, read,
    read_slowly, request,
};
use crate::support::client::{Client, connect_from};
use crate::support::cloud::Gate;
use crate::support::cloud::artifact::Artifact;
use crate::support::cloud::record::State;
use crate::support::device::{Device, PROGRAM, SOON};
use crate::support::release;
use crate::support::wait::eventually;

const KB: u64 = 1024;
const MB: u64 = 1024 * KB;

/// How often the cloud was asked for content.
fn downloads(device: &Device) -> usize {
    device.cloud().requests(PATH).iter().filter(|request| request.sent > 0).count()
}

#[test]
fn twenty_clients_at_once_are_one_download() {
    let device = cached::start();
    device.warm();
    let (gate, artifact) = (Gate::default(), Artifact::new(1, 4 * MB));
    device.cloud().serve(PATH, &artifact.clone().gated(MB, &gate));
    let mut clients: Vec<_> = (0..20).map(|_| device.connect()).collect();
    for client in &mut clients {
        client.send(request("GET", PATH, "")).unwrap();
    }
    let heads: Vec<_> = clients.iter_mut().map(Client::head).collect();
    for client in &mut clients {
        assert_bytes(&read(client, MB / 2), &artifact, 0);
    }
    gate.open();
    thread::scope(|scope| {
        for client in &mut clients {
            let artifact = &artifact;
            scope.spawn(move || {
                assert_bytes(&read(client, artifact.length - MB / 2), artifact, MB / 2);
                assert!(!client.has_news(), "more than all of it");
            });
        }
    });
    assert_eq!((downloads(&device), device.cloud().sent(PATH)), (1, artifact.length));
    let statuses: Vec<_> = heads.iter().map(CacheStatus::of).collect();
    assert!(heads.iter().all(|head| head.status == 200));
    assert!(heads.iter().all(|head| head.field("content-length") == Some("4194304")));
    assert_eq!(statuses.iter().filter(|status| status.is_collapsed).count(), 19, "{statuses:?}");
    assert!(statuses.iter().all(|status| !status.is_hit), "{statuses:?}");
    // And who comes later has it from here.
    assert_all(&get(&device, PATH), &artifact);
    assert_eq!(device.cloud().sent(PATH), artifact.length);
}

#[test]
fn each_reads_at_its_own_pace_whoever_comes_late_goes_or_wants_a_part() {
    let device = cached::start();
    device.warm();
    let (gate, artifact) = (Gate::default(), Artifact::new(1, 6 * MB));
    device.cloud().serve(PATH, &artifact.clone().gated(3 * MB, &gate));
    let (first, _) = begin(&device, PATH, "");
    // It takes 10 KB a second, and no buffer hides that.
    let mut slow = Client::over(connect_from(1, device.proxy.address, 16 * 1024));
    slow.send(request("GET", PATH, "")).unwrap();
    slow.head();
    let (mut quick, _) = begin(&device, PATH, "");
    assert_bytes(&read(&mut quick, 3 * MB), &artifact, 0);
    first.reset();
    thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let begun = read_slowly(&mut slow, 10 * KB, Duration::from_secs(2));
            let rest = read(&mut slow, artifact.length - begun.len() as u64);
            assert_bytes(&begun, &artifact, 0);
            assert_bytes(&rest, &artifact, begun.len() as u64);
        });
        // A part that is here, one that comes, and one that is half here.
        for (range, from, to) in [
            ("1000000-1999999", 1_000_000, 2_000_000),
            ("5000000-5099999", 5_000_000, 5_100_000),
            ("3000000-4000000", 3_000_000, 4_000_001),
            ("-100", 6 * MB - 100, 6 * MB),
        ] {
            let (device, artifact) = (&device, &artifact);
            scope.spawn(move || {
                let (mut client, head) = begin(device, PATH, &format!("Range: bytes={range}\r\n"));
                assert_eq!(head.status, 206, "{range}");
                let of = format!("bytes {from}-{}/{}", to - 1, artifact.length);
                assert_eq!(head.field("content-range"), Some(&*of));
                assert_bytes(&read(&mut client, to - from), artifact, from);
            });
        }
        // One client closes in the middle, and the others are not interrupted.
        let (mut going, _) = begin(&device, PATH, "");
        read(&mut going, 100_000);
        drop(going);
        let start = Instant::now();
        gate.open();
        assert_bytes(&read(&mut quick, 3 * MB), &artifact, 3 * MB);
        assert!(start.elapsed() < Duration::from_secs(2), "held up for {:?}", start.elapsed());
        assert_all(&get(&device, PATH), &artifact);
        slow.join().unwrap();
    });
    assert_eq!((downloads(&device), device.cloud().sent(PATH)), (1, artifact.length));
}

#[test]
fn a_download_that_nobody_waits_for_ends_unless_half_of_it_is_here() {
    for (gate_at, is_to_go_on) in [(MB, false), (3 * MB, true)] {
        let device = cached::start();
        device.warm();
        let (gate, artifact) = (Gate::default(), Artifact::new(1, 4 * MB));
        device.cloud().serve(PATH, &artifact.clone().gated(gate_at, &gate));
        let (mut first, _) = begin(&device, PATH, "");
        let (mut second, _) = begin(&device, PATH, "");
        read(&mut first, gate_at);
        read(&mut second, gate_at);
        let start = Instant::now();
        drop((first, second));
        let is = |state: fn(&State) -> bool| {
            move |seen: &crate::support::cloud::record::Seen| {
                seen.requests.iter().any(|request| state(&request.state))
            }
        };
        if is_to_go_on {
            gate.open();
            device.cloud().wait(SOON, is(|state| matches!(state, State::Answered(_))));
            eventually("it is kept", SOON, || cached::taken(&device) >= artifact.length);
        } else {
            device.cloud().wait(SOON, is(|state| matches!(state, State::Gone(_))));
            assert!(start.elapsed() < Duration::from_secs(1), "after {:?}", start.elapsed());
            gate.open();
        }
        let before = device.cloud().sent(PATH);
        assert_all(&get(&device, PATH), &artifact);
        let more = device.cloud().sent(PATH) - before;
        assert_eq!(more < artifact.length / 4, is_to_go_on, "{more} bytes more");
    }
}

#[test]
fn the_first_to_ask_is_no_different_from_the_others_when_the_end_comes() {
    // The service ends when its downloads are done, and they are whole.
    let device = cached::start();
    device.warm();
    let (gate, artifact) = (Gate::default(), Artifact::new(1, 2 * MB));
    device.cloud().serve(PATH, &artifact.clone().gated(MB, &gate));
    let (mut first, _) = begin(&device, PATH, "Connection: close\r\n");
    let (mut second, _) = begin(&device, PATH, "Connection: close\r\n");
    read(&mut first, MB / 2);
    read(&mut second, MB / 2);
    device.proxy.signal(Signal::TERM);
    gate.open();
    assert_bytes(&read(&mut first, artifact.length - MB / 2), &artifact, MB / 2);
    assert_bytes(&read(&mut second, artifact.length - MB / 2), &artifact, MB / 2);
    assert_eq!(device.proxy.ended(SOON).code(), 0);
}

/// What the peak is above idle while so many clients download so much and as many do not read on.
pub(crate) fn growth(program: &str, length: u64) -> u64 {
    let device = {
        let outside = crate::support::device::Outside::new();
        let proxy = crate::support::service::Service::start(program, |setup| {
            outside.settings(setup);
            cached::keep(setup);
            setup.set_own("c8y.proxy.cache.max_size", length * 2);
        });
        Device { proxy, outside }
    };
    device.warm();
    let artifact = Artifact::new(1, length);
    device.cloud().serve(PATH, &artifact);
    let idle = device.proxy.memory().resident;
    device.proxy.forget_peak();
    let digest = artifact.digest();
    thread::scope(|scope| {
        let _stalled: Vec<_> = (0..5).map(|_| begin(&device, PATH, "")).collect();
        let all: Vec<_> = (0..15)
            .map(|_| {
                scope.spawn(|| {
                    let (mut client, _) = begin(&device, PATH, "");
                    assert_eq!(client.digest(length).unwrap(), digest);
                })
            })
            .collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
    assert_eq!(device.cloud().sent(PATH), length);
    let peak = device.proxy.memory().peak;
    eprintln!("{} KB at idle, {} KB at the peak, {length} bytes", idle / KB, peak / KB);
    peak.saturating_sub(idle)
}

#[test]
fn twenty_clients_take_little_memory() {
    let grown = growth(PROGRAM, 30 * MB);
    assert!(grown < 4 * MB, "{grown} bytes");
    let Some(program) = release::or_skip("tedge-c8y-proxy") else { return };
    let grown = growth(&program, 30 * MB);
    assert!(grown < 2 * MB, "{grown} bytes");
}

#[test]
fn a_small_answer_is_not_kept() {
    let device = cached::start();
    device.warm();
    for (length, is_kept) in [(65_535, false), (65_536, true), (LENGTH, true)] {
        let path = format!("/inventory/binaries/{length}");
        device.cloud().serve(&path, &Artifact::new(1, length));
        get_settled(&device, &path);
        get(&device, &path);
        assert_eq!(device.cloud().sent(&path) == length, is_kept, "{length}");
    }
}
