//! Many connections: idle ones are closed to make room, busy ones are not, and new clients are
//! still served when all places are taken.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::service::Service;
use crate::support::wait::eventually;
use crate::{Secured, bytes, curl, put, put_head, request, start};

/// So many connections that have each had an answer and keep still.
fn idle(service: &Service, count: usize) -> Vec<Client> {
    (0..count)
        .map(|number| {
            let mut client = Client::connect(service.address);
            assert_eq!(client.exchange(request("GET", "foo")).status, 200, "client {number}");
            client
        })
        .collect()
}

#[test]
fn a_thousand_idle_connections_disturb_no_transfer() {
    let service = start(|setup| {
        setup.set_own("http.connections.max", 2000);
        // The limit of descriptors is the program's own business.
        setup.wrap(&["sh", "-c", "ulimit -S -n 256; exec \"$@\"", "sh"]);
    });
    curl(&service, "foo").put("content").answer();
    let content = bytes(20_000_000, 37);
    let transfer = || {
        let begun = Instant::now();
        let mut other = Client::connect(service.address);
        assert_eq!(other.exchange(put("large", &content)).status, 201);
        assert!(other.exchange(request("GET", "large")).body == content);
        begun.elapsed()
    };
    let alone = transfer();
    let mut clients = idle(&service, 1000);
    assert!(service.sockets() >= 1000);
    // A slow disk is slow without them as well.
    let beside = transfer();
    assert!(beside < Duration::from_secs(10).max(4 * alone), "{alone:?} alone, {beside:?}");

    for client in clients.iter_mut().step_by(50) {
        assert_eq!(client.exchange(request("GET", "foo")).text(), "content");
    }
}

#[test]
fn idle_connections_make_room_for_new_ones_the_oldest_first() {
    let service = start(|_| {});
    curl(&service, "foo").put("content").answer();
    let begun = Instant::now();
    let mut clients = idle(&service, 200);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(service.sockets() <= 128 + 8, "{} sockets", service.sockets());
    let closed: Vec<bool> = clients.iter_mut().map(Client::is_closed).collect();
    assert!(closed[..70].iter().all(|&closed| closed), "the oldest are closed: {closed:?}");
    assert!(!closed[80..].contains(&true), "the youngest are kept: {closed:?}");
    let last = clients.last_mut().unwrap();
    assert_eq!(last.exchange(request("GET", "foo")).text(), "content");
}

#[test]
fn a_connection_that_was_used_of_late_is_not_the_oldest() {
    let service = start(|setup| setup.set_own("http.connections.max", 8));
    curl(&service, "foo").put("content").answer();
    let mut used = Client::connect(service.address);
    for _ in 0..40 {
        assert_eq!(used.exchange(request("GET", "foo")).status, 200);
        let mut other = Client::connect(service.address);
        assert_eq!(other.exchange(request("GET", "foo")).status, 200);
        std::mem::forget(other);
    }
}

#[test]
fn silent_connections_make_room() {
    let service = start(|_| {});
    curl(&service, "foo").put("content").answer();
    let silent: Vec<_> = (0..200).map(|_| Client::connect(service.address)).collect();
    for _ in 0..5 {
        let begun = Instant::now();
        let mut client = Client::connect(service.address);
        assert_eq!(client.exchange(request("GET", "foo")).status, 200);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    drop(silent);
}

#[test]
fn handshakes_that_never_end_make_room() {
    let secured = Secured::start(|_, _| {});
    let mut silent: Vec<_> = (0..200).map(|_| Client::connect(secured.service.address)).collect();
    for client in &mut silent[100..] {
        let _ = client.send(b"\x16\x03\x01\x02\x00\x01\x00");
    }
    let begun = Instant::now();
    assert_eq!(secured.client().exchange(request("GET", "foo")).status, 404);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn busy_connections_are_not_closed_and_a_new_one_waits() {
    let service = start(|setup| setup.set_own("http.connections.max", 4));
    let content = bytes(100_000, 39);
    let mut busy: Vec<_> = (0..4)
        .map(|number| {
            let mut client = Client::connect(service.address);
            let head = put_head(&format!("{number}"), 100_000, "Expect: 100-continue\r\n");
            client.send(head).unwrap();
            assert_eq!(client.head().status, 100);
            client.send(&content[..50_000]).unwrap();
            client
        })
        .collect();

    let mut waiting = Client::connect(service.address);
    waiting.send(request("GET", "0")).unwrap();
    waiting.set_patience(Duration::from_millis(700));
    let kind = waiting.try_answer().unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind:?}");
    waiting.set_patience(Duration::from_secs(15));

    for client in &mut busy {
        assert_eq!(client.exchange(&content[50_000..]).status, 201);
    }
    assert!(waiting.answer().body == content);
}

#[test]
fn no_descriptors_left_is_survived_and_said_seldom() {
    let service = start(|setup| {
        setup.set_own("http.connections.max", 2000);
        setup.wrap(&["prlimit", "--nofile=64:64"]);
    });
    curl(&service, "foo").put("content").answer();
    let clients: Vec<_> = (0..200).map(|_| Client::connect(service.address)).collect();
    let busy = || {
        let stat = fs::read_to_string(service.proc("stat")).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    // Hundredths of a second of processor time in one idle second.
    let before = busy();
    let begun = Instant::now();
    eventually("a second has passed", Duration::from_secs(5), || {
        begun.elapsed() > Duration::from_secs(1)
    });
    let spent = busy() - before;
    assert!(spent < 30, "it turns in circles: {spent} ticks");
    drop(clients);
    let begun = Instant::now();
    assert_eq!(curl(&service, "foo").answer().text(), "content");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let lines = service.log().lines().count();
    assert!(lines < 12, "{}", service.log());
}

#[test]
fn a_client_that_reads_slowly_holds_up_nobody_else() {
    let service = start(|_| {});
    let file = service.directory().write("content", bytes(20_000_000, 41));
    curl(&service, "large").upload(&file).answer();
    curl(&service, "foo").put("content").answer();
    let stuck: Vec<_> = (0..50)
        .map(|_| {
            let mut client = Client::connect(service.address);
            client.send(request("GET", "large")).unwrap();
            client
        })
        .collect();
    for _ in 0..20 {
        let begun = Instant::now();
        let mut client = Client::connect(service.address);
        assert_eq!(client.exchange(request("GET", "foo")).text(), "content");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    drop(stuck);
}
