//! `Expect: 100-continue`, and answers that come before the content was read.

use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::wait::eventually;
use crate::{FILES, assert_stored, bytes, curl, put_head, request, start};

const EXPECT: &str = "Expect: 100-continue\r\n";

#[test]
fn an_acceptable_upload_is_asked_for() {
    let service = start(|_| {});
    let mut client = Client::connect(service.address);
    client.send(put_head("foo", 7, EXPECT)).unwrap();
    assert_eq!(client.head().status, 100);
    assert_eq!(client.exchange("content").status, 201);
    assert_stored(&service, &[("foo", b"content")]);
}

#[test]
fn a_hopeless_upload_is_refused_before_it_is_sent() {
    let service = start(|setup| setup.set_own("http.upload.max_size", "\"1k\""));
    curl(&service, "a/b").put("content").answer();
    let too_much = u64::MAX / 2;
    let hopeless = [
        ("a", 7, "", 409),
        ("a/b/c", 7, "", 409),
        ("large", 1025, "", 413),
        ("large", too_much, "", 413),
        ("a/b", 7, "If-None-Match: *\r\n", 412),
        ("../up", 7, "", 404),
        ("a/../b", 7, "", 400),
    ];
    for (file, length, more, status) in hopeless {
        let mut client = Client::connect(service.address);
        client.send(put_head(file, length, &format!("{EXPECT}{more}"))).unwrap();
        let head = client.head();
        assert_eq!(head.status, status, "{file} {length} {more}");
    }
    let mut client = Client::connect(service.address);
    client.send(put_head("x", 7, EXPECT).replacen("PUT", "POST", 1)).unwrap();
    assert_eq!(client.head().status, 405);
    assert_stored(&service, &[("a/b", b"content")]);
}

#[test]
fn an_unknown_expectation_is_refused() {
    let service = start(|_| {});
    for expectation in ["something", "100-continue, something", "200-ok"] {
        let mut client = Client::connect(service.address);
        client.send(put_head("foo", 7, &format!("Expect: {expectation}\r\n"))).unwrap();
        assert_eq!(client.head().status, 417, "{expectation}");
    }
    let mut client = Client::connect(service.address);
    let get = request("GET", "foo").replacen("\r\n\r\n", "\r\nExpect: something\r\n\r\n", 1);
    assert_eq!(client.exchange(get).status, 417);
    assert_stored(&service, &[]);
}

#[test]
fn a_client_that_sends_all_the_same_sees_why_it_was_refused() {
    let service = start(|_| {});
    curl(&service, "a/b").put("content").answer();
    let content = bytes(20_000_000, 13);
    let file = service.directory().write("large", &content);
    for round in 0..10 {
        // Without Expect the whole file is on its way when the answer comes.
        let got = curl(&service, "a").upload(&file).field("Expect:").run();
        assert_eq!((got.exit, got.answer.status), (0, 409), "{round}: {}", got.complaint);
    }
    let mut client = Client::connect(service.address);
    client.send(put_head("a", content.len() as u64, "")).unwrap();
    client.send(&content).unwrap();
    assert_eq!(client.answer().status, 409);
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn the_rest_of_a_refused_upload_is_awaited_for_five_seconds_of_silence() {
    let service = start(|_| {});
    let before = service.sockets();
    curl(&service, "a/b").put("content").answer();
    let mut client = Client::connect(service.address);
    client
        .send(format!("PUT {FILES}/a HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n"))
        .unwrap();
    let answered = Instant::now();
    assert_eq!(client.answer().status, 409);
    assert_eq!(client.rest().unwrap(), b"", "the sending half was not shut down");
    assert!(answered.elapsed() < Duration::from_secs(2), "it is shut down at once");
    eventually("the connection is closed", Duration::from_secs(15), || service.sockets() <= before);
    let took = answered.elapsed();
    assert!(took > Duration::from_millis(4500) && took < Duration::from_secs(8), "{took:?}");
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn the_rest_of_a_refused_upload_is_awaited_for_thirty_seconds_in_all() {
    let service = start(|_| {});
    curl(&service, "a/b").put("content").answer();
    let mut client = Client::connect(service.address);
    client.send(put_head("a", 999_999, "")).unwrap();
    assert_eq!(client.answer().status, 409);
    let answered = Instant::now();
    while client.send("more").is_ok() {
        assert!(answered.elapsed() < Duration::from_secs(40), "still taken after 40 seconds");
        // A client that is slow on purpose: nothing is waited for here.
        std::thread::sleep(Duration::from_secs(1));
    }
    let took = answered.elapsed();
    assert!(took > Duration::from_secs(28) && took < Duration::from_secs(35), "{took:?}");
}
