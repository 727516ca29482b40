//! `tedge http` ends when nothing moves any more, and not before.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::tedge::{Device, Done};
use crate::support::wait::run_ignored;

#[test]
fn what_takes_a_minute_keeps_its_time() {
    run_ignored("promises::http_silence::");
}

/// `tedge http` with these arguments, to a service that does this after the head of the request.
fn asked(arguments: &[&str], serve: impl FnOnce(TcpStream) + Send + 'static) -> (Done, Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        serve(stream);
    });
    let device = Device::new().with("tedge.toml", format!("http.client.port = {port}\n"));
    let begun = Instant::now();
    let done = device.tedge(&[&["http"], arguments].concat());
    (done, begun.elapsed())
}

/// Reads on without an answer, until the client leaves.
fn read_on(mut stream: TcpStream) {
    stream.set_read_timeout(Some(Duration::from_secs(85))).unwrap();
    drop(stream.read_to_end(&mut Vec::new()));
}

#[track_caller]
fn assert_ended((done, took): (Done, Duration), said: &str) {
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains(said), "{done:?}");
    assert!((55..80).contains(&took.as_secs()), "{took:?}");
}

#[test]
#[ignore = "takes a minute: `what_takes_a_minute_keeps_its_time` runs it beside the others"]
fn a_service_that_never_answers_is_left() {
    assert_ended(asked(&["get", "/health"], read_on), "took too long to answer");
}

#[test]
#[ignore = "takes a minute: `what_takes_a_minute_keeps_its_time` runs it beside the others"]
fn a_service_that_never_asks_for_the_content_is_left() {
    assert_ended(asked(&["put", "/te/a", "content"], read_on), "took too long to answer");
}

#[test]
#[ignore = "takes a minute: `what_takes_a_minute_keeps_its_time` runs it beside the others"]
fn a_download_that_stops_is_ended() {
    let stops = |mut stream: TcpStream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").unwrap();
        read_on(stream);
    };
    assert_ended(asked(&["get", "/te/a"], stops), "took too long to send the rest of the answer");
}

#[test]
#[ignore = "takes a minute: `what_takes_a_minute_keeps_its_time` runs it beside the others"]
fn an_upload_that_nobody_takes_is_ended() {
    let stops = |mut stream: TcpStream| {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        thread::sleep(Duration::from_secs(90));
    };
    let line = ["put", "/te/a", "--file", "/dev/zero"];
    assert_ended(asked(&line, stops), "took too long to answer");
}

#[test]
#[ignore = "takes a minute: `what_takes_a_minute_keeps_its_time` runs it beside the others"]
fn a_transfer_that_moves_may_take_its_time() {
    let slow = |mut stream: TcpStream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").unwrap();
        for _ in 0..4 {
            thread::sleep(Duration::from_secs(20));
            stream.write_all(b"a").unwrap();
        }
    };
    let (done, took) = asked(&["get", "/te/a"], slow);
    assert_eq!((done.code, &*done.out), (Some(0), "aaaa"), "{done:?}");
    assert!(took > Duration::from_secs(70), "{took:?}");
}
