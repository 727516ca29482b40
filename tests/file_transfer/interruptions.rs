//! Interrupted uploads: either the old file stays, or the new one is there, complete. Nothing else
//! is left.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::directory::Directory;
use crate::support::service::Service;
use crate::support::wait::eventually;
use crate::{assert_stored, bytes, curl, put, put_head, request, start, start_again, stored};

#[test]
fn a_client_that_dies_at_any_point_of_an_overwrite_leaves_the_old_file() {
    let directory;
    let old = bytes(300_000, 23);
    {
        let service = start(|_| {});
        assert_eq!(Client::connect(service.address).exchange(put("foo", &old)).status, 201);
        let new = bytes(1_000_000, 25);
        let mut reader = Client::connect(service.address);
        for round in 0..200 {
            let sent = new.len() * [1, 50, 99][round % 3] / 100;
            let mut client = Client::connect(service.address);
            let file = if round % 10 == 9 { "a/new" } else { "foo" };
            client.send(put_head(file, new.len() as u64, "")).unwrap();
            client.send(&new[..sent]).unwrap();
            match round % 4 {
                0 => client.reset(),
                1 => drop(client),
                _ => {
                    client.finish();
                    let answer = client.try_answer();
                    let refused =
                        answer.is_ok_and(|answer| answer.is_none_or(|answer| answer.status == 400));
                    assert!(refused, "half an upload has to be refused");
                }
            }
            let answer = reader.exchange(request("GET", "foo"));
            assert_eq!(answer.status, 200);
            assert!(answer.body == old, "round {round}: the old file is damaged");
        }
        eventually("nothing but the old file is stored", Duration::from_secs(10), || {
            stored(&service).keys().eq(["file-transfer/foo"])
        });
        directory = Arc::clone(service.directory());
    }
    let service = start_again(&directory);
    assert_stored(&service, &[("foo", &old)]);
}

#[test]
fn a_chunked_upload_without_its_last_chunk_is_not_stored() {
    let service = start(|_| {});
    curl(&service, "foo").put("old").answer();
    for broken in ["5\r\nhello\r\n", "5\r\nhel", "5\r\nhello\r\n0\r\n", "x\r\nhello\r\n0\r\n\r\n"] {
        let mut client = Client::connect(service.address);
        let head =
            put_head("foo", 0, "").replace("Content-Length: 0", "Transfer-Encoding: chunked");
        client.send(head + broken).unwrap();
        client.finish();
        let answer = client.try_answer().unwrap();
        assert!(answer.is_none_or(|answer| answer.status == 400), "{broken:?}");
    }
    eventually("nothing but the old file is stored", Duration::from_secs(10), || {
        stored(&service).keys().eq(["file-transfer/foo"])
    });
    assert_stored(&service, &[("foo", b"old")]);
}

#[test]
fn a_program_killed_at_any_point_of_uploads_leaves_whole_files_and_nothing_else() {
    // The rounds of one thread follow each other in one directory; four threads, 200 rounds.
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || killed_again_and_again(thread, 50));
        }
    });
}

fn killed_again_and_again(thread: u64, rounds: u64) {
    let directory = Arc::new(Directory::new());
    let longest = 2 * time_of_an_upload(&directory);
    let mut known = Some(0);
    let mut replaced = 0;
    for round in 1..=rounds {
        let answered = AtomicBool::new(false);
        {
            let service = start_again(&directory);
            check(&service, known, round - 1);
            if let Some(version) = whole_version(&service) {
                replaced += u64::from(known != Some(version));
                known = Some(version);
            }
            let begun = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut client = Client::connect(service.address);
                    let content = version(round);
                    // In pieces, so that the end comes between any two of them.
                    let _ = client.send(put_head("a/foo", content.len() as u64, ""));
                    begun.store(true, Ordering::Release);
                    let sent = content.chunks(16 * 1024).all(|piece| client.send(piece).is_ok());
                    let answer = if sent { client.try_answer().ok().flatten() } else { None };
                    answered.store(answer.is_some_and(|a| a.status == 201), Ordering::Release);
                });
                scope.spawn(|| {
                    // It may have been killed before this one comes.
                    let Ok(socket) = TcpStream::connect(service.address) else { return };
                    let mut client = Client::over(socket);
                    let _ = client.send(put_head("b/never", 1_000_000, ""));
                    let _ = client.send(bytes(500_000, round));
                    let _ = client.rest();
                });
                while !begun.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                // From before the first byte is stored until after the answer.
                let delay = longest * ((thread * 50 + round) * 7919 % 12_000) as u32 / 12_000;
                let begun = Instant::now();
                while begun.elapsed() < delay {
                    std::thread::yield_now();
                }
                assert_eq!(service.kill().signal(), Some(9));
            });
        }
        if answered.load(Ordering::Acquire) {
            known = Some(round);
            replaced += 1;
        }
    }
    let service = start_again(&directory);
    check(&service, known, rounds);
    assert!(replaced > 0, "no upload was ever finished: the test kills too early");
}

/// Uploads the version 0; how long that takes on this disk, at least 6 ms.
fn time_of_an_upload(directory: &Arc<Directory>) -> Duration {
    let service = start_again(directory);
    let begun = Instant::now();
    assert_eq!(Client::connect(service.address).exchange(put("a/foo", version(0))).status, 201);
    begun.elapsed().clamp(Duration::from_millis(6), Duration::from_millis(500))
}

/// A content that shows which round it is of at each place.
fn version(round: u64) -> Vec<u8> {
    round.to_le_bytes().repeat(32 * 1024)
}

/// Asserts that the one file is whole, and of a version that may be there: the last known one,
/// or the one whose upload was cut off.
fn check(service: &Service, known: Option<u64>, cut_off: u64) {
    let stored = stored(service);
    let names: Vec<_> = stored.keys().collect();
    assert!(
        names.len() <= 1 && names.iter().all(|name| *name == "file-transfer/a/foo"),
        "{names:?}"
    );
    let found = whole_version(service);
    assert!(
        found == known || found == Some(cut_off),
        "found the version {found:?} where {known:?} was stored and {cut_off} cut off"
    );
}

fn whole_version(service: &Service) -> Option<u64> {
    let answer = curl(service, "a/foo").answer();
    if answer.status == 404 {
        return None;
    }
    assert_eq!(answer.status, 200);
    let first = u64::from_le_bytes(answer.body[..8].try_into().unwrap());
    assert!(answer.body == version(first), "a mixture, or a part");
    Some(first)
}
