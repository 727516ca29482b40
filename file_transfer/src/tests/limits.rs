//! How long files stay: by age, by quota, and for others' room.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

use common::http::{Body, Request};
use futures_lite::future::{block_on, poll_once};

use super::{Service, Then, chunks};
use crate::storage::Limits;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// Files expire after ten days.
fn aging() -> Service {
    let max_age = Some(Duration::from_secs(10 * 24 * 60 * 60));
    limited(Limits { max_age, ..Limits::default() })
}

/// All files together may take so many bytes.
pub(super) fn with_quota(max_total: u64, make_room: bool) -> Service {
    limited(Limits { max_total: Some(max_total), make_room, max_age: None })
}

pub(super) fn limited(limits: Limits) -> Service {
    let service = Service::with(|options| options.limits = limits);
    block_on(service.storage.sweep_now());
    service
}

impl Service {
    pub(super) fn pass(&self, milliseconds: i64) {
        self.storage.pass(milliseconds);
        block_on(self.storage.sweep_now());
    }

    pub(super) fn usage(&self) -> (u64, u64) {
        let (sum, _) = self.storage.usage().unwrap();
        (sum.files, sum.bytes)
    }

    #[track_caller]
    pub(super) fn assert_here(&self, names: &[&str]) {
        for name in ["a", "b", "c", "d"] {
            assert_eq!(self.path(name).exists(), names.contains(&name), "{name}");
        }
    }
}

#[test]
fn a_file_that_is_neither_read_nor_written_expires() {
    let service = aging();
    for name in ["a", "b", "c"] {
        service.put(name, &[], name);
    }
    service.put_on_disk("d", b"by others");
    service.pass(9 * DAY);
    assert_eq!(service.get("a", &[]).text(), "a");
    service.put("b", &[], "again");
    service.assert_here(&["a", "b", "c", "d"]);
    // The time of what was written is that of the real clock.
    service.pass(DAY);
    service.assert_here(&["a"]);
    service.pass(8 * DAY);
    service.assert_here(&["a"]);
    service.pass(DAY);
    service.assert_here(&[]);
}

#[test]
fn an_upload_may_bring_a_shorter_age() {
    let service = aging();
    service.put("a", &[("cache-control", "max-age=3600")], "x");
    service.put("b", &[("cache-control", "max-age=3600")], "x");
    service.put("c", &[("cache-control", "max-age=360000000")], "x");
    service.put("d", &[("expires", "Fri, 01 Jan 2100 00:00:00 GMT")], "x");
    service.put("b", &[], "replaced");
    service.pass(3_000_000);
    service.assert_here(&["a", "b", "c", "d"]);
    service.pass(601_000);
    service.assert_here(&["b", "c", "d"]);
    service.pass(10 * DAY);
    service.assert_here(&[]);
}

#[test]
fn a_file_in_use_does_not_expire() {
    let service = aging();
    service.put("a", &[("cache-control", "max-age=60")], &"x".repeat(1_000_000));
    service.put("b", &[], "old");
    block_on(async {
        let target = "/tedge/file-transfer/a";
        let reading = service.begin("GET", target, &[], Body::Empty).await;
        let mut writing = Box::pin(service.begin(
            "PUT",
            "/tedge/file-transfer/b",
            &[],
            chunks(&["new"], Then::Hang),
        ));
        assert!(poll_once(&mut writing).await.is_none());
        while service.path(".tedge-uploads").read_dir().map_or(0, Iterator::count) == 0 {
            assert!(poll_once(&mut writing).await.is_none());
        }
        service.storage.pass(20 * DAY);
        service.storage.sweep_now().await;
        service.assert_here(&["a", "b"]);
        let read = super::Answer::read(reading).await;
        assert_eq!(read.content.len(), 1_000_000);
        drop((read, writing));
    });
    service.assert_no_leftovers();
    service.pass(0);
    service.assert_here(&[]);
}

#[test]
fn a_sweep_counts_what_others_have_changed() {
    let service = with_quota(100, false);
    service.put_on_disk("deep/a", &[0; 50]);
    fs::hard_link(service.path("deep/a"), service.path("b")).unwrap();
    symlink("deep/a", service.path("link")).unwrap();
    assert_eq!(service.usage(), (0, 0));
    service.pass(0);
    assert_eq!(service.usage(), (2, 100));
    assert_eq!(service.put("c", &[], "x").status, 507);
    // A link is not counted, so that a file in its place takes room.
    assert_eq!(service.put("link", &[], "x").status, 507);
    fs::remove_file(service.path("b")).unwrap();
    service.pass(0);
    assert_eq!(service.put("link", &[], "x").status, 201);
    assert_eq!(service.usage(), (2, 51));
}

#[test]
fn the_file_that_was_used_longest_ago_makes_room() {
    let service = with_quota(100, true);
    let thirty = "x".repeat(30);
    for name in ["a", "b", "c"] {
        assert_eq!(service.put(name, &[], &thirty).status, 201);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(service.get("a", &[]).status, 200);
    // What could never fit, or is not stored after all, deletes nothing.
    assert_eq!(service.put("d", &[], &"x".repeat(101)).status, 507);
    assert_eq!(service.put("d", &[("if-match", "*")], &thirty).status, 412);
    let broken = chunks(&["x"], Then::Break);
    let fields = [("content-length", "100")];
    assert_eq!(service.send("PUT", "/te/v1/files/d", &fields, broken).status, 400);
    service.assert_here(&["a", "b", "c"]);

    assert_eq!(service.put("d", &[], &thirty).status, 201);
    service.assert_here(&["a", "c", "d"]);
    assert_eq!(service.put("c", &[], &"y".repeat(70)).status, 201);
    service.assert_here(&["c", "d"]);
    assert_eq!(service.usage(), (2, 100));
    let whole = chunks(&[&"z".repeat(60), &"z".repeat(40)], Then::End);
    assert_eq!(service.send("PUT", "/te/v1/files/b", &[], whole).status, 201);
    service.assert_here(&["b"]);
    assert_eq!(service.usage(), (1, 100));
}

#[test]
fn what_does_not_fit_beside_a_file_that_is_being_sent_deletes_nothing() {
    let service = with_quota(1_000_000, true);
    for (name, bytes) in [("a", 900_000), ("b", 60_000), ("c", 20_000)] {
        assert_eq!(service.put(name, &[], &"x".repeat(bytes)).status, 201);
    }
    let outside = service.directory.parent().unwrap().join("outside");
    fs::File::create(&outside).unwrap().set_len(900_000).unwrap();
    symlink("../outside", service.path("link")).unwrap();
    let read = |name| {
        let target = format!("/tedge/file-transfer/{name}");
        block_on(service.begin("GET", &target, &[], Body::Empty))
    };
    let reading = [read("a"), read("link")];
    assert_eq!(service.put("d", &[], &"y".repeat(101_000)).status, 507);
    let chunked = |bytes| {
        let body = chunks(&[&"y".repeat(bytes)], Then::End);
        service.send("PUT", "/te/v1/files/d", &[], body).status
    };
    assert_eq!(chunked(101_000), 507);
    service.assert_here(&["a", "b", "c"]);
    assert_eq!(chunked(99_000), 201);
    service.assert_here(&["a", "d"]);
    drop(reading);
    assert_eq!(service.put("b", &[], &"y".repeat(800_000)).status, 201);
    service.assert_here(&["b", "d"]);
}

#[test]
fn a_file_stays_until_the_one_that_replaces_it_is_whole() {
    let service = with_quota(100, true);
    service.put("a", &[], &"x".repeat(90));
    let broken = chunks(&[&"y".repeat(95)], Then::Break);
    let fields = [("content-length", "100")];
    assert_eq!(service.send("PUT", "/te/v1/files/a", &fields, broken).status, 400);
    assert_eq!(service.on_disk("a").unwrap(), "x".repeat(90));
    assert_eq!(service.put("a", &[], &"y".repeat(100)).status, 201);
    assert_eq!(service.usage(), (1, 100));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "no executor waits here")]
fn a_read_is_noted_on_the_disk_once_a_day_and_never_behind_a_link() {
    let service = limited(Limits {
        max_age: Some(Duration::from_secs(365 * 24 * 60 * 60)),
        ..Limits::default()
    });
    service.put("a", &[], "x");
    let cached = service.directory.parent().unwrap().join("cached");
    fs::write(&cached, "x").unwrap();
    symlink("../cached", service.path("link")).unwrap();
    // In the past, so that noting it is seen.
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1);
    for path in [&service.path("a"), &cached] {
        fs::File::open(path).unwrap().set_times(fs::FileTimes::new().set_accessed(old)).unwrap();
    }
    let is_noted = |path: &std::path::Path| fs::metadata(path).unwrap().atime() > 1_000_000;
    // Noted in the pool, behind this.
    let read = |name| {
        assert_eq!(service.get(name, &[]).text(), "x");
        block_on(service.storage.sweep_now());
    };
    read("link");
    assert!(!is_noted(&service.path("a")));
    service.storage.pass(2 * DAY);
    let changed = fs::metadata(&cached).unwrap().ctime_nsec();
    read("link");
    read("a");
    let begin = std::time::Instant::now();
    while !is_noted(&service.path("a")) {
        assert!(begin.elapsed() < Duration::from_secs(10), "the read is not noted");
    }
    assert_eq!(fs::metadata(&cached).unwrap().ctime_nsec(), changed);
}

/// Four clients upload, read and delete the same few files, while one sweep follows the other.
#[test]
fn what_is_counted_is_what_is_there_whatever_races() {
    for make_room in [false, true] {
        let max_age = Some(Duration::from_millis(5));
        let service = limited(Limits { max_age, max_total: Some(500), make_room });
        let service = &service;
        std::thread::scope(|scope| {
            for client in 0..4_usize {
                scope.spawn(move || {
                    for round in 0..150 {
                        let name = ["a", "b", "c", "d/e", "d/f/g"][(client * 7 + round * 3) % 5];
                        let content = client.to_string().repeat(round * 13 % 200);
                        match (client + round) % 4 {
                            0 => assert_eq!(service.delete(name, &[]).status, 202),
                            1 => {
                                let target = format!("/te/v1/files/{name}");
                                let get = Request::get(target).body(Body::Empty).unwrap();
                                let answer = block_on(service.routes.answer(get)).response;
                                let got = block_on(super::Answer::read(answer));
                                let first = got.content.first().copied();
                                let is_whole = got.content.iter().all(|byte| Some(*byte) == first);
                                let is_length =
                                    got.field("content-length") == got.content.len().to_string();
                                assert!(got.status == 404 || is_whole && is_length, "{got:?}");
                            }
                            _ => {
                                let status = service.put(name, &[], &content).status;
                                assert!(matches!(status, 201 | 507), "{status}");
                            }
                        }
                        assert!(service.usage().1 <= 500);
                    }
                });
            }
            for _ in 0..50 {
                block_on(service.storage.sweep_now());
            }
        });
        let mut there = (0, 0);
        for name in ["a", "b", "c", "d/e", "d/f/g"] {
            if let Some(content) = service.on_disk(name) {
                there = (there.0 + 1, there.1 + content.len() as u64);
            }
        }
        assert_eq!(service.usage(), there, "{make_room}");
    }
}
