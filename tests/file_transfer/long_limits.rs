//! The limits that take up to a minute to see.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::wait::{eventually, run_ignored};
use crate::{Secured, bytes, curl, put_head, request, start, stored};

#[test]
fn what_takes_a_minute_keeps_its_time() {
    run_ignored("promises::");
}

/// Asserts that the service closes within these seconds, counted from now.
#[track_caller]
fn assert_closed_within(client: &mut Client, from: u64, to: u64) -> Vec<u8> {
    let begun = Instant::now();
    client.set_patience(Duration::from_secs(to + 5));
    let rest = client.rest().unwrap_or_default();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(from * 1000 - 500), "closed after {took:?}");
    assert!(took <= Duration::from_secs(to), "closed after {took:?}");
    rest
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_head_is_read_within_ten_seconds() {
    let service = start(|_| {});
    let mut half = Client::connect(service.address);
    half.send("GET /health HTTP/1.1\r\nHost: x").unwrap();
    assert_closed_within(&mut half, 10, 16);

    // Nor does it help to send a byte now and then.
    let mut slow = Client::connect(service.address);
    slow.send("GET /health HTTP/1.1\r\n").unwrap();
    let begun = Instant::now();
    while slow.send("X").is_ok() && !slow.has_news() {
        assert!(begun.elapsed() < Duration::from_secs(20), "still reading a head");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(begun.elapsed() > Duration::from_secs(9), "{:?}", begun.elapsed());

    // A connection that has been used is no exception.
    let mut used = Client::connect(service.address);
    assert_eq!(used.exchange(request("GET", "foo")).status, 404);
    used.send("GET /health HTTP/1.1\r\nHost: x").unwrap();
    assert_closed_within(&mut used, 10, 16);
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_handshake_ends_within_ten_seconds() {
    let secured = Secured::start(|_, _| {});
    for beginning in [b"".as_slice(), b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03AAAA"]
    {
        let mut client = Client::connect(secured.service.address);
        client.send(beginning).unwrap();
        assert_closed_within(&mut client, 10, 16);
    }
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn an_idle_connection_is_closed() {
    let secured = Secured::start(|_, _| {});
    let plain = start(|_| {});
    let mut clients = [secured.client(), Client::connect(plain.address)];
    for client in &mut clients {
        assert_eq!(client.exchange(request("GET", "foo")).status, 404);
    }
    let begun = Instant::now();
    assert_closed_within(&mut clients[0], 60, 66);
    eventually("the other one is closed as well", Duration::from_secs(6), || {
        clients[1].is_closed()
    });
    assert!(begun.elapsed() > Duration::from_secs(59));
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn an_upload_without_progress_is_ended() {
    let service = start(|_| {});
    curl(&service, "foo").put("old").answer();
    let mut client = Client::connect(service.address);
    client.send(put_head("foo", 1_000_000, "")).unwrap();
    client.send(bytes(500_000, 49)).unwrap();
    assert_closed_within(&mut client, 60, 68);
    eventually("nothing but the old file is there", Duration::from_secs(5), || {
        stored(&service).values().eq([b"old"])
    });
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_download_without_progress_is_ended() {
    let service = start(|_| {});
    let before = service.sockets();
    let file = service.directory().write("content", bytes(50_000_000, 51));
    curl(&service, "foo").upload(&file).answer();
    let mut client = Client::connect(service.address);
    client.send(request("GET", "foo")).unwrap();
    assert_eq!(client.head().status, 200);
    let begun = Instant::now();
    // The kernel takes a little more late, when it probes the client's window (after 52 s here),
    // and the minute counts from that.
    eventually("the connection is gone", Duration::from_secs(130), || {
        std::thread::sleep(Duration::from_millis(200));
        service.sockets() <= before
    });
    assert!(begun.elapsed() > Duration::from_secs(58), "{:?}", begun.elapsed());
    drop(client);
}

/// Longer than any limit in all, but never a minute without a byte.
#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_slow_transfer_is_not_ended() {
    let service = start(|_| {});
    let file = service.directory().write("content", bytes(80_000_000, 53));
    curl(&service, "large").upload(&file).answer();
    let mut download = Client::connect(service.address);
    download.send(request("GET", "large")).unwrap();
    assert_eq!(download.head().status, 200);
    let mut upload = Client::connect(service.address);
    upload.send(put_head("foo", 8, "")).unwrap();
    let mut read = 0;
    for _ in 0..8 {
        upload.send("x").unwrap();
        upload.socket().flush().unwrap();
        // Each time more than the buffers on the way hold.
        read += download.skip(10_000_000).unwrap();
        std::thread::sleep(Duration::from_secs(9));
    }
    assert_eq!(upload.answer().status, 201);
    assert_eq!(read, 80_000_000);
}
