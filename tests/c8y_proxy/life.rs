//! The end of the service, with requests under way.

use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::cloud::{Gate, Script};
use crate::support::device::{Device, SOON};
use crate::support::websocket::WebSocket;

#[test]
fn a_download_under_way_is_finished_before_the_end() {
    let device = Device::start();
    let gate = Gate::default();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst";
    device.cloud().answer("/x", Script::new().send(head).wait(&gate).send("later"));
    let mut client = device.connect();
    client.send("GET /c8y/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client.head();
    device.proxy.signal(Signal::TERM);
    while TcpStream::connect(device.proxy.address).is_ok() {
        std::thread::yield_now();
    }
    gate.open();
    client.wait_for("firstlater");
    // A connection that nobody closes is awaited for some seconds more.
    client.hang_up().unwrap();
    assert_eq!(device.proxy.ended(SOON).code(), 0);
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_websocket_does_not_hold_the_end_up_for_ever() {
    let device = Device::start();
    let mut client = WebSocket::ask(device.connect(), "/c8y/service/echo", "").unwrap();
    client.echo("hello");
    device.proxy.signal(Signal::TERM);
    assert_eq!(device.proxy.ended(Duration::from_secs(40)).code(), 0);
}

#[test]
fn signals_of_the_kernel_end_nothing() {
    let device = Device::start();
    device.cloud().answer("/x", Script::new().send("HTTP/1.1 204 No Content\r\n\r\n"));
    for signal in [Signal::XFSZ, Signal::PIPE] {
        device.proxy.signal(signal);
        let mut client = device.connect();
        client.send("GET /c8y/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        assert_eq!(client.head().status, 204, "{signal:?}");
    }
    assert!(device.proxy.is_running());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let device = Device::start();
    device.cloud().answer("/x", Script::new().hold());
    let mut client = device.connect();
    client.send("GET /c8y/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    device.cloud().wait(SOON, |seen| !seen.requests.is_empty());
    device.proxy.signal(Signal::TERM);
    while TcpStream::connect(device.proxy.address).is_ok() {
        std::thread::yield_now();
    }
    device.proxy.signal(Signal::TERM);
    device.proxy.ended(Duration::from_secs(3));
}
