//! What one client has downloaded is served to the others.

use std::thread;

use crate::support::cloud::Gate;
use crate::support::cloud::artifact::Artifact;
use crate::support::device::{Device, SOON};
use crate::support::service::Setup;
use crate::support::wait::eventually;

const PATH: &str = "/inventory/binaries/7001";
const MB: u64 = 1024 * 1024;

fn caching(setup: &mut Setup) {
    setup.set("c8y.proxy.cache.max_size", "100M");
    setup.set("c8y.proxy.cache.path", setup.directory().join("cache"));
}

fn get(fields: &str) -> String {
    format!("GET /c8y{PATH} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn downloads(device: &Device) -> usize {
    device.cloud().requests(PATH).len()
}

#[test]
fn a_binary_crosses_the_uplink_once_and_is_asked_for_before_each_hit() {
    for artifact in [Artifact::new(1, MB), Artifact::new(1, MB).without_validator()] {
        let device = Device::with(caching);
        device.cloud().serve(PATH, &artifact);
        let first = device.ask(get(""));
        assert_eq!((first.status, first.body == artifact.bytes()), (200, true));
        assert_eq!(first.field("cache-status"), Some("tedge-c8y-proxy; fwd=miss; stored"));
        eventually("it is kept", SOON, || device.get("/health").text().contains("\"entries\":1"));

        let hit = device.ask(get(""));
        assert_eq!((hit.status, hit.body == artifact.bytes()), (200, true));
        assert_eq!(hit.field("cache-status"), Some("tedge-c8y-proxy; hit"));
        let part = device.ask(get("Range: bytes=1000-1999\r\n"));
        assert_eq!((part.status, &part.body[..]), (206, &artifact.bytes()[1000..2000]));
        assert!(device.cloud().sent(PATH) < MB + 1000, "{}", device.cloud().sent(PATH));

        let replaced = Artifact::new(2, MB);
        let replaced =
            if artifact.has_validator() { replaced } else { replaced.without_validator() };
        device.cloud().serve(PATH, &replaced);
        let new = device.ask(get(""));
        assert_eq!((new.status, new.body == replaced.bytes()), (200, true));
        assert_eq!(new.field("cache-status"), Some("tedge-c8y-proxy; fwd=stale; stored"));
    }
}

#[test]
fn clients_that_ask_while_it_is_downloaded_follow_the_one_download() {
    let device = Device::with(caching);
    let gate = Gate::default();
    let artifact = Artifact::new(1, 8 * MB);
    device.cloud().serve(PATH, &artifact.clone().gated(2 * MB, &gate));
    thread::scope(|scope| {
        let device = &device;
        let clients: Vec<_> = (0..5).map(|_| scope.spawn(move || device.ask(get("")))).collect();
        let part = scope.spawn(move || device.ask(get("Range: bytes=7000000-7000999\r\n")));
        eventually("some of it is here", SOON, || device.cloud().sent(PATH) >= 2 * MB);
        gate.open();
        for client in clients {
            let answer = client.join().unwrap();
            assert_eq!((answer.status, answer.body == artifact.bytes()), (200, true));
        }
        let part = part.join().unwrap();
        assert_eq!((part.status, &part.body[..]), (206, &artifact.bytes()[7_000_000..7_001_000]));
    });
    assert_eq!(downloads(&device), 1);
}

#[test]
fn a_download_that_breaks_off_goes_on_unnoticed() {
    let device = Device::with(caching);
    let artifact = Artifact::new(1, 3 * MB);
    device.cloud().serve(PATH, &artifact.clone().breaking_at([MB / 2, MB, 2 * MB]));
    let answer = device.ask(get(""));
    assert_eq!((answer.status, answer.body == artifact.bytes()), (200, true));
    assert_eq!(downloads(&device), 4);
}
