//! The files that make room are the least recently used ones, and this delays nobody else.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::stalled_disk::{can_trace, trace};
use crate::support::client::Client;
use crate::support::curl::Curl;
use crate::support::directory::Directory;
use crate::support::service::{SOON, Service};
use crate::support::wait::eventually;
use crate::{PROGRAM, curl, prepare, put, request};

const FILES: u64 = 500;

fn files(service: &Service) -> u64 {
    let health = Curl::new(&service.url("/health")).answer().text();
    let (_, rest) = health.split_once("\"files\":").unwrap();
    rest.split_once(',').unwrap().0.parse().unwrap()
}

/// One upload deletes 500 files, on a disk that takes 10 ms for each.
#[test]
fn an_upload_that_makes_much_room_holds_up_nobody_else() {
    if !can_trace() {
        return;
    }
    let directory = Arc::new(Directory::new());
    let stored = directory.path().join("data/file-transfer");
    fs::create_dir_all(&stored).unwrap();
    for number in 0..FILES {
        fs::write(stored.join(number.to_string()), "0123456789").unwrap();
    }
    let service = Service::start_in(&directory, PROGRAM, |setup| {
        prepare(setup);
        setup.set_own("http.files.max_total", format!("\"{}\"", 10 * FILES));
        setup.set_own("http.files.make_room", true);
        setup.argument("--log-level=debug");
        trace(setup, "unlinkat", "inject=unlinkat:delay_enter=10000");
    });
    eventually("all files are counted", SOON, || {
        Curl::new(&service.url("/health")).answer().text().contains("\"files\":500,")
    });
    let large = "x".repeat(10 * FILES as usize - 100);
    thread::scope(|scope| {
        let large = scope.spawn(|| {
            let mut client = Client::connect(service.address);
            client.set_patience(Duration::from_secs(120));
            client.exchange(put("large", &large)).status
        });
        eventually("room is being made", SOON, || files(&service) < FILES);

        let mut others = Client::connect(service.address);
        for name in ["a", "b"] {
            // There is room for none of it: it has to delete a file itself.
            assert_eq!(others.exchange(put(name, "small")).status, 201, "{}", service.log());
            assert_eq!(others.exchange(request("GET", name)).text(), "small");
            assert_eq!(others.exchange(request("DELETE", name)).status, 202);
        }
        assert_eq!(others.exchange(request("DELETE", "missing")).status, 202);
        assert!(files(&service) > FILES / 2, "the others had to wait");
        assert!(!large.is_finished());
        assert_eq!(large.join().unwrap(), 201, "{}", service.log());
    });
    let log = service.wait_for("deleted to make room for \"large\"", SOON);
    assert_eq!(log.matches("deleted to make room for \"large\"").count(), 1, "{log}");
    let bytes: u64 = fs::read_dir(&stored)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".tedge-uploads"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert!(bytes <= 10 * FILES, "{bytes}");
    assert_eq!(curl(&service, "large").answer().text(), large);
}

#[test]
fn directories_go_with_the_files_that_made_room() {
    let directory = Arc::new(Directory::new());
    let stored = directory.path().join("data/file-transfer");
    fs::create_dir_all(stored.join("by-hand")).unwrap();
    let service = Service::start_in(&directory, PROGRAM, |setup| {
        prepare(setup);
        setup.set_own("http.files.max_total", "\"1k\"");
        setup.set_own("http.files.make_room", true);
    });
    for number in 0..20 {
        for path in [format!("child/{number}/a/b/f"), "by-hand/f".to_owned()] {
            let answer = curl(&service, &path).put(&"x".repeat(900)).answer();
            assert_eq!(answer.status, 201, "{path}");
        }
    }
    assert!(stored.join("by-hand/f").exists() && !stored.join("child").exists());
    assert_eq!(curl(&service, "child/1/a/f").put(&"x".repeat(900)).answer().status, 201);
    assert!(stored.join("by-hand").is_dir() && !stored.join("by-hand/f").exists());
}

#[test]
fn the_least_recently_used_files_make_room_after_a_restart_too() {
    for end in ["none", "stop", "kill"] {
        for max_age in [None, Some("90d")] {
            let directory = Arc::new(Directory::new());
            let start = || {
                Service::start_in(&directory, PROGRAM, |setup| {
                    prepare(setup);
                    setup.set_own("http.files.max_total", "\"10k\"");
                    setup.set_own("http.files.make_room", true);
                    if let Some(age) = max_age {
                        setup.set_own("http.files.max_age", format!("{age:?}"));
                    }
                })
            };
            let mut service = start();
            let old = [7, 2, 9, 4, 0].map(|number| format!("{number}-old"));
            let new = [3, 8, 1, 6, 5].map(|number| format!("{number}-new"));
            for name in old.iter().chain(&new) {
                assert_eq!(curl(&service, name).put(&"x".repeat(1024)).answer().status, 201);
            }
            match end {
                "stop" => drop(service.stop()),
                "kill" => drop(service.kill()),
                _ => {}
            }
            if end != "none" {
                service = start();
            }
            assert_eq!(curl(&service, "large").put(&"x".repeat(5 * 1024)).answer().status, 201);
            let stored = directory.path().join("data/file-transfer");
            let is_here = |name: &String| stored.join(name).exists();
            let left = |names: &[String]| names.iter().filter(|name| is_here(name)).count();
            assert_eq!((left(&old), left(&new)), (0, 5), "{end}, {max_age:?}");
        }
    }
}
