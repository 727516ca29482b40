//! Large uploads on plain connections, which are read without hyper and which the kernel can move
//! from the socket to the file: they are stored and answered as others are.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::net::{SendFlags, send};

use crate::support::client::Client;
use crate::support::service::{SOON, Service};
use crate::support::wait::eventually;
use crate::{bytes, put, put_head, request, start, stored};

use super::stalled_disk::{can_trace, trace};

const LARGE: usize = 3_000_000;

/// How often the service has made this system call without an error.
fn calls(service: &Service, call: &str) -> usize {
    let trace = fs::read_to_string(service.path("trace")).unwrap();
    trace.lines().filter(|line| line.contains(call) && !line.contains(" = -1 ")).count()
}

/// Uploads without a pause between them, large and small, in two pieces that part anywhere.
fn assert_stored_in_turn(service: &Service, at: usize) {
    let contents: Vec<_> = [(2_000_000, 5), (1, 7), (600_000, 9), (524_288, 11), (3_000_001, 13)]
        .map(|(length, seed)| bytes(length, seed))
        .into();
    let all: Vec<_> = contents.iter().enumerate().map(|(n, it)| put(&format!("{n}"), it)).collect();
    let all = [all.concat(), request("GET", "0").into_bytes()].concat();
    let mut client = Client::connect(service.address);
    let mut sender = Client::over(client.socket().try_clone().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| {
            sender.send(&all[..at]).unwrap();
            thread::sleep(Duration::from_millis(20));
            sender.send(&all[at..]).unwrap();
        });
        for _ in &contents {
            assert_eq!(client.answer().status, 201, "parted at {at}");
        }
        assert!(client.answer().body == contents[0]);
    });
    for (number, content) in contents.iter().enumerate() {
        let stored = fs::read(service.path("data/file-transfer").join(number.to_string())).unwrap();
        assert!(stored == *content, "{number}, parted at {at}");
    }
}

#[test]
fn they_are_moved_by_the_kernel_in_turn_with_small_ones() {
    if !can_trace() {
        return;
    }
    let parted = [1, 100, 150, 70_000, 2_000_100, 2_600_500];
    let service = start(|setup| trace(setup, "splice", ""));
    for at in parted {
        assert_stored_in_turn(&service, at);
    }
    assert!(calls(&service, "splice(") >= 8 * parted.len(), "the kernel was not asked");
}

#[test]
fn they_are_stored_where_the_kernel_cannot_move_them() {
    if !can_trace() {
        return;
    }
    for inject in [
        "inject=splice:error=ENOSYS",
        "inject=splice:error=EINVAL:when=2+3",
        "inject=splice:error=EPERM:when=1+2",
        "inject=splice:error=EINTR:when=1+2",
        "inject=pipe2:error=EMFILE:when=2+",
    ] {
        let service = start(|setup| trace(setup, "splice,pipe2", inject));
        assert_stored_in_turn(&service, 70_000);
    }
}

#[test]
fn one_with_a_digest_is_read() {
    if !can_trace() {
        return;
    }
    let service = start(|setup| trace(setup, "splice", ""));
    let mut client = Client::connect(service.address);
    let wrong = format!("Content-Digest: sha-256=:{}=:\r\n", "A".repeat(43));
    client.send(put_head("foo", LARGE as u64, &wrong)).unwrap();
    client.send(bytes(LARGE, 43)).unwrap();
    assert_eq!(client.answer().status, 400);
    assert_eq!(calls(&service, "splice("), 0);
}

#[test]
fn one_that_breaks_off_is_not_stored() {
    let service = start(|_| {});
    let content = bytes(LARGE, 43);
    for sent in [70_000, 1_000_000, LARGE - 1] {
        let mut client = Client::connect(service.address);
        client.send(put_head("broken", LARGE as u64, "")).unwrap();
        client.send(&content[..sent]).unwrap();
        client.finish();
        assert_eq!(client.answer().status, 400);
    }
    eventually("nothing of it is left", SOON, || stored(&service).is_empty());
}

#[test]
fn the_connection_is_closed_after_one_that_asks_for_it() {
    let service = start(|_| {});
    let mut client = Client::connect(service.address);
    client.send(put_head("foo", LARGE as u64, "Connection: close\r\n")).unwrap();
    client.send(bytes(LARGE, 47)).unwrap();
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("connection")), (201, Some("close")));
    assert!(client.is_closed());
}

#[test]
fn one_with_the_longest_head_is_answered() {
    let service = start(|_| {});
    let head = |more: usize| {
        let fields = "connection:x\r\n".repeat(95) + "connection:" + &"x".repeat(more) + "\r\n";
        put_head("foo", LARGE as u64, &fields)
    };
    let longest = head(32 * 1024 - head(0).len() - 1);
    let mut client = Client::connect(service.address);
    client.send(longest).unwrap();
    client.send(bytes(LARGE, 59)).unwrap();
    assert_eq!(client.answer().status, 201);
}

#[test]
fn urgent_data_is_skipped() {
    let service = start(|_| {});
    let content = bytes(LARGE, 53);
    let mut client = Client::connect(service.address);
    client.send(put_head("foo", LARGE as u64, "")).unwrap();
    client.send(&content[..1_000_000]).unwrap();
    send(client.socket(), b"!", SendFlags::OOB).unwrap();
    client.send(&content[1_000_000..]).unwrap();
    assert_eq!(client.answer().status, 201);
    assert!(fs::read(service.path("data/file-transfer/foo")).unwrap() == content);
}
