//! Connections upstream are kept, shared and resumed, and one that upstream has closed is not the
//! client's error.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::cloud::{Cloud, Script};
use crate::support::device::{Device, Outside, SOON, options};
use crate::support::wait::{eventually, within};

#[test]
fn one_connection_serves_one_request_after_the_other() {
    let device = Device::start();
    for _ in 0..30 {
        assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    }
    assert_eq!(device.cloud().seen().connections.len(), 1);
}

#[test]
fn a_refused_token_costs_no_connection_unless_the_refusal_is_long_or_slow() {
    let device = Device::start();
    device.warm();
    device.cloud().tokens().revoke_all();
    device.warm();
    assert_eq!(device.cloud().seen().connections.len(), 1);
    let slow = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\n";
    let long = format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: 99999\r\n\r\n{:20000}", 0);
    for (refusal, connections) in [(slow, 2), (&long, 3)] {
        device.cloud().answer("/x", Script::new().read().send(refusal).hold().once());
        device.cloud().answer("/x", Script::answer("200 OK", b"done"));
        assert_eq!(device.get("/c8y/x").status, 200);
        assert_eq!(device.cloud().seen().connections.len(), connections);
    }
}

#[test]
fn tls_sessions_are_resumed() {
    let device = Device::start();
    device.cloud().limit_requests(1);
    for _ in 0..5 {
        assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    }
    let connections = device.cloud().seen().connections;
    assert_eq!(connections.len(), 5);
    assert!(!connections[0].resumed);
    assert!(connections[1..].iter().all(|one| one.resumed), "{connections:#?}");
}

/// The cloud closes the one connection that there is, as soon as it is done with the last request.
fn close_idle(device: &Device) {
    eventually("the connection is idle", SOON, || device.cloud().close_idle() == 1);
}

#[test]
fn a_connection_that_upstream_closed_while_idle_is_not_the_clients_error() {
    let device = Device::start();
    device.warm();
    let mut client = device.connect();
    let head = "POST /c8y/service/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    for round in 0..20 {
        // The proxy gets to know of both in the same moment, in either order.
        device.proxy.signal(Signal::STOP);
        if round % 2 == 0 {
            client.send(head).unwrap();
        }
        close_idle(&device);
        if round % 2 == 1 {
            client.send(head).unwrap();
        }
        device.proxy.signal(Signal::CONT);
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.len()), (200, 5), "{round}: {}", answer.text());
    }
    assert_eq!(device.cloud().requests("/service/echo").len(), 20);
}

#[test]
fn a_big_upload_on_a_connection_that_upstream_closed_succeeds_as_well() {
    let device = Device::start();
    device.warm();
    for round in 0..10 {
        close_idle(&device);
        let body = vec![b'x'; 500_000];
        let answer = device.post("/c8y/service/echo", &body);
        assert_eq!(
            (answer.status, answer.body.len()),
            (200, 500_000),
            "{round}: {}",
            answer.text()
        );
    }
}

#[test]
fn a_request_that_was_sent_is_never_sent_twice() {
    let device = Device::start();
    device.warm();
    device.cloud().answer("/x", Script::new().read().break_off());
    let answer = device.post("/c8y/x", b"create one event");
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(device.cloud().requests("/x").len(), 1);
}

#[test]
fn a_cloud_that_says_close_is_believed() {
    let device = Device::start();
    let text = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    device.cloud().answer("/x", Script::new().send(text));
    let mut client = device.connect();
    for _ in 0..5 {
        // The client's connection stays: the field is for one hop.
        client.send("GET /c8y/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    }
    assert_eq!(device.cloud().seen().connections.len(), 5);
}

#[test]
fn an_answer_that_was_not_read_to_its_end_spoils_no_connection() {
    let device = Device::start();
    let path = device.cloud().add_binary(5_000_000);
    for _ in 0..5 {
        let mut client = device.connect();
        client.send(format!("GET /c8y{path} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
        client.head();
        client.hang_up().unwrap();
        let answer = device.get("/c8y/tenant/currentTenant");
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("t12345"), "{}", answer.text());
    }
}

#[test]
fn bytes_that_follow_an_answer_are_not_the_next_one() {
    let device = Device::start();
    let smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\
        HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    device.cloud().answer("/x", Script::new().send(smuggled));
    assert_eq!(device.get("/c8y/x").body, b"ok");
    let answer = device.get("/c8y/tenant/currentTenant");
    assert!(answer.text().contains("t12345"), "{} {}", answer.status, answer.text());
}

/// A port that answers nothing, as behind a broken route. Returns what keeps it so.
fn silence(listener: &TcpListener) -> Vec<TcpStream> {
    rustix::net::listen(listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    // Once the backlog is full, further attempts are not even refused.
    while let Ok(one) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(one);
    }
    waiting
}

/// Listeners on two addresses and one port, which has to be free on both.
fn listen_twice() -> [TcpListener; 2] {
    loop {
        let first = TcpListener::bind("127.0.0.2:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if let Ok(second) = TcpListener::bind(("127.0.0.1", port)) {
            return [first, second];
        }
    }
}

#[test]
fn a_dead_address_costs_a_quarter_of_a_second() {
    if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|it| it.success()) {
        eprintln!("skipped: no mount namespace can be made here, for an /etc/hosts of its own");
        return;
    }
    // getaddrinfo puts the address first that is most like our own (RFC 6724, 6).
    let [listener, dead] = listen_twice();
    let outside = Outside::with(Cloud::on(listener, options()).unwrap());
    let port = outside.cloud.address().port();
    let _waiting = silence(&dead);
    let device = Device::among(outside, |setup| {
        let hosts = setup.directory().join("hosts");
        std::fs::write(&hosts, "127.0.0.2 cloud.example\n127.0.0.1 cloud.example\n").unwrap();
        let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        setup.wrap(&["unshare", "--mount", "sh", "-c", script, hosts.to_str().unwrap()]);
        setup.set("c8y.http", format!("cloud.example:{port}"));
    });
    let own = "GET /c8y/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n";
    device.cloud().limit_requests(1);
    within(Duration::from_millis(1500), || {
        let start = Instant::now();
        assert_eq!(device.ask(own).status, 401);
        let took = start.elapsed();
        assert!(took > Duration::from_millis(240), "the dead one was not tried: {took:?}");
    });
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn connections_that_nobody_needs_are_closed_in_time() {
    let device = Device::start();
    device.warm();
    let limit = Duration::from_secs(150);
    device.cloud().wait(limit, |seen| seen.connections.iter().all(|one| one.closed.is_some()));
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    device.cloud().wait(SOON, |seen| !seen.requests.is_empty());
}
