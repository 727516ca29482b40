//! A file that goes while another one takes its place: whatever comes first, the new one stays.

use std::fs;
use std::time::{Duration, SystemTime};

use futures_lite::future::block_on;

use super::{Service, Then, chunks};
use crate::storage::Limits;

/// How often two of them race, each time a little later than the other than the time before.
const ROUNDS: u32 = 300;

/// A delay of up to 200 us, which differs from round to round.
fn delay(round: u32) {
    let begin = std::time::Instant::now();
    let delay = Duration::from_micros(u64::from(round * 7919 % 200));
    while begin.elapsed() < delay {
        std::hint::spin_loop();
    }
}

fn with(limits: Limits) -> Service {
    let service = Service::with(|options| {
        options.limits = limits;
        options.sync = false;
    });
    block_on(service.storage.sweep_now());
    service
}

#[test]
fn a_file_that_expires_under_its_replacement_takes_nothing_with_it() {
    let service = with(Limits { max_age: Some(Duration::from_secs(86400)), ..Limits::default() });
    let long_ago = SystemTime::now() - Duration::from_secs(7200);
    for round in 0..ROUNDS {
        service.put("a", &[("cache-control", "max-age=3600")], "old");
        let old = fs::File::options().write(true).open(service.path("a")).unwrap();
        old.set_modified(long_ago).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                delay(round);
                assert!(matches!(service.put("a", &[], "new").status, 200 | 201));
            });
            scope.spawn(|| {
                delay(ROUNDS - round);
                block_on(service.storage.sweep_now());
            });
        });
        assert_eq!(service.on_disk("a").as_deref(), Some("new"), "round {round}");
    }
}

/// The file that is replaced is the one that was used longest ago, so it goes first for the other
/// upload; then the replacement makes room in its turn.
#[test]
fn a_file_that_makes_room_under_its_replacement_takes_nothing_with_it() {
    let service = with(Limits { max_total: Some(200), make_room: true, max_age: None });
    for round in 0..ROUNDS {
        for name in ["a", "b", "c"] {
            service.delete(name, &[]);
        }
        for name in ["a", "b"] {
            assert_eq!(service.put(name, &[], &"x".repeat(60)).status, 201);
        }
        // The clock of the file system ticks, so that what comes now is younger.
        std::thread::sleep(Duration::from_millis(10));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                delay(round);
                let replaced = service.put("a", &[], &"y".repeat(60));
                assert_eq!(replaced.status, 201);
            });
            scope.spawn(|| {
                delay(ROUNDS - round);
                assert_eq!(service.put("c", &[], &"z".repeat(120)).status, 201);
            });
        });
        assert_eq!(service.on_disk("a"), Some("y".repeat(60)), "round {round}");
        assert_eq!(service.on_disk("c"), Some("z".repeat(120)), "round {round}");
    }
}

#[test]
fn an_upload_without_a_length_deletes_nothing_before_it_is_whole() {
    let service = with(Limits { max_total: Some(1_000_000), make_room: true, max_age: None });
    for name in ["a", "b"] {
        assert_eq!(service.put(name, &[], &"x".repeat(400_000)).status, 201);
    }
    // Larger than a buffer, so that it is written before it is whole.
    let part = "y".repeat(300_000);
    let send = |parts: &[&str], fields: &[(&str, &str)], then| {
        service.send("PUT", "/te/v1/files/c", fields, chunks(parts, then)).status
    };
    let digest = [("content-digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")];
    assert_eq!(send(&[&part, &part], &[], Then::Break), 400);
    assert_eq!(send(&[&part, &part], &digest, Then::End), 400);
    assert_eq!(send(&[&part, &part, &part, &part], &[], Then::End), 507);
    assert!(service.path("a").exists() && service.path("b").exists());
    service.assert_no_leftovers();

    assert_eq!(send(&[&part, &part], &[], Then::End), 201);
    assert!(!service.path("a").exists() && service.path("b").exists());
    let (sum, _) = service.storage.usage().unwrap();
    assert_eq!((sum.files, sum.bytes), (2, 1_000_000));
}
