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
    setup.set_own("http.upload.min_free", 0);
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
        // Only the inventory was asked about one without a validator.
        let how = if artifact.has_validator() { "fwd=stale; fwd-status=304" } else { "hit" };
        assert_eq!(hit.field("cache-status"), Some(&*format!("tedge-c8y-proxy; {how}")));
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
    let artifact = Artifact::new(1, 3 * MB);
    for artifact in [artifact.clone(), artifact.without_validator()] {
        let device = Device::with(caching);
        device.cloud().serve(PATH, &artifact.clone().breaking_at([MB / 2, MB, 2 * MB]));
        let answer = device.ask(get(""));
        assert_eq!((answer.status, answer.body == artifact.bytes()), (200, true));
        assert_eq!(downloads(&device), 4);
    }
}

/// Its length is not known beforehand, and more than there is room for.
#[test]
fn a_download_for_which_the_room_ends_goes_on_for_those_who_read_it() {
    let device = Device::with(|setup| {
        caching(setup);
        setup.set("c8y.proxy.cache.max_size", "1M");
    });
    let gate = Gate::default();
    let artifact = Artifact::new(1, 8 * MB);
    device.cloud().serve(PATH, &artifact.clone().chunked().gated(MB / 2, &gate));
    thread::scope(|scope| {
        let device = &device;
        let clients: Vec<_> = (0..5).map(|_| scope.spawn(move || device.ask(get("")))).collect();
        eventually("some of it is here", SOON, || device.cloud().sent(PATH) >= MB / 2);
        gate.open();
        for client in clients {
            let answer = client.join().unwrap();
            assert_eq!((answer.status, answer.body == artifact.bytes()), (200, true));
            assert!(!answer.field("cache-status").unwrap().contains("stored"));
        }
    });
    assert_eq!(downloads(&device), 1);
    assert!(device.get("/health").text().contains("\"entries\":0"));
    device.proxy.wait_for("there is no room within c8y.proxy.cache.max_size", SOON);
}

#[test]
fn what_does_not_have_its_digest_is_not_kept() {
    let device = Device::with(caching);
    let right = Artifact::new(1, MB);
    let digest = |artifact: &Artifact| {
        use base64::Engine;
        let digest = base64::engine::general_purpose::STANDARD.encode(artifact.digest());
        format!("Repr-Digest: sha-256=:{digest}:")
    };
    for (artifact, entries) in [(&Artifact::new(2, MB), 0), (&right, 1)] {
        device.cloud().serve(PATH, &right.clone().field(digest(artifact)));
        assert_eq!(device.ask(get("")).status, 200);
        eventually("the download has ended", SOON, || {
            let health = device.get("/health").text();
            health.contains(&format!("\"entries\":{entries}"))
        });
        let next = device.ask(get(""));
        let is_hit = next.field("cache-status").unwrap().contains("fwd-status=304");
        assert_eq!(is_hit, entries == 1);
    }
}

#[test]
fn without_the_cloud_something_is_served_for_as_long_as_the_setting_says() {
    for (offline, status) in [("1h", 200), ("0", 502)] {
        let mut device = Device::with(|setup| {
            caching(setup);
            setup.set("c8y.proxy.cache.offline", offline);
        });
        device.cloud().serve(PATH, &Artifact::new(1, MB));
        device.ask(get(""));
        eventually("it is kept", SOON, || device.get("/health").text().contains("\"entries\":1"));
        device.outside.cloud.stop();
        let answer = device.ask(get(""));
        assert_eq!((answer.status, answer.field("age").is_some()), (status, status == 200));
    }
}

#[test]
fn the_command_lists_and_drops_what_is_cached() {
    let device = Device::with(caching);
    device.cloud().serve(PATH, &Artifact::new(1, MB));
    device.ask(get(""));
    eventually("it is kept", SOON, || device.get("/health").text().contains("\"entries\":1"));
    let tedge = |words: &[&str]| {
        let mut command = std::process::Command::new(crate::support::device::PROGRAM);
        command.args(["tedge", "--config-dir"]).arg(device.proxy.directory().path()).args(words);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, list) = tedge(&["cache", "list"]);
    assert_eq!(code, Some(0));
    assert!(list.starts_with(&format!("{PATH} 1048576 bytes, checked ")), "{list}");
    assert_eq!(tedge(&["cache", "drop", "7002"]).0, Some(1));
    assert_eq!(tedge(&["cache", "drop", "7001"]), (Some(0), String::new()));
    assert_eq!(tedge(&["cache", "list"]), (Some(0), String::new()));
    assert!(device.get("/health").text().contains("\"entries\":0"));
    let again = device.ask(get(""));
    assert_eq!(again.field("cache-status"), Some("tedge-c8y-proxy; fwd=miss; stored"));
}
