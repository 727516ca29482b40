//! Bodies of any length are forwarded completely, with the framing of the sender.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::cloud::body::{blocks, blocks_digest};
use crate::support::cloud::{Gate, Script};
use crate::support::device::{Device, SOON};

#[test]
fn a_body_keeps_its_length_or_its_chunking() {
    let device = Device::start();
    device.warm();
    let answer = device.post("/c8y/service/echo", b"hello");
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]));
    let answer = device.ask(
        "POST /c8y/service/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
    );
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]));
    let seen = device.cloud().seen().requests;
    assert_eq!(seen[0].field("content-length"), Some(&b"5"[..]));
    assert_eq!(seen[0].field("transfer-encoding"), None);
    assert_eq!(seen[1].field("content-length"), None);
    assert_eq!(seen[1].field("transfer-encoding"), Some(&b"chunked"[..]));
}

#[test]
fn a_body_whose_end_is_doubtful_never_reaches_the_cloud() {
    let device = Device::start();
    device.warm();
    for (framing, status) in [
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 501),
        ("Transfer-Encoding: chunked, chunked", 501),
        ("Transfer-Encoding: identity,chunked", 501),
        ("Transfer-Encoding: chunked, gzip", 400),
        ("Content-Length: 2, 2", 400),
        ("Content-Length: 2\r\nContent-Length: 3", 400),
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let request = format!("{method} /c8y/service/echo HTTP/1.1\r\nHost: a\r\n{framing}");
            let answer = device.ask(format!("{request}\r\n\r\n2\r\nok\r\n0\r\n\r\n"));
            assert_eq!(answer.status, status, "{method} {framing}");
        }
    }
    // If both fields say where the body ends, the length is ignored, and the connection is closed
    // after it.
    let both = "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let mut client = device.connect();
    client.send(format!("POST /c8y/service/echo HTTP/1.1\r\nHost: a\r\n{both}")).unwrap();
    assert_eq!(client.answer().body, b"ok");
    assert_eq!(client.rest().unwrap(), b"");
    let seen = device.cloud().seen().requests;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].field("content-length"), None);
}

#[test]
fn a_request_without_a_body_is_sent_without_one_and_an_empty_one_with_its_length() {
    let device = Device::start();
    device.warm();
    device.ask("DELETE /c8y/service/echo HTTP/1.1\r\nHost: a\r\n\r\n");
    device.ask("POST /c8y/service/echo HTTP/1.1\r\nHost: a\r\n\r\n");
    device.ask("PUT /c8y/service/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let seen = device.cloud().seen().requests;
    for request in &seen {
        assert_eq!(request.field("transfer-encoding"), None, "{request:?}");
    }
    assert_eq!(seen[0].field("content-length"), None);
    // RFC 9110, 8.6: a POST without a body may say that its length is 0.
    assert!(matches!(seen[1].field("content-length"), None | Some(b"0")));
    assert_eq!(seen[2].field("content-length"), Some(&b"0"[..]));
}

#[test]
fn bodies_of_many_lengths_come_back_as_they_went() {
    let device = Device::start();
    device.warm();
    for length in [1, 1023, 65_535, 65_536, 65_537, 3_000_000] {
        let body: Vec<u8> = blocks(length).flatten().collect();
        let answer = device.post("/c8y/service/echo", &body);
        assert_eq!((answer.status, answer.body.len() as u64), (200, length));
        assert_eq!((answer.digest(), answer.broken), (blocks_digest(length), None), "{length}");
        let request = device.cloud().seen().requests.pop().unwrap();
        assert_eq!(request.digest.unwrap(), blocks_digest(length), "{length}");
    }
}

#[test]
fn answers_of_every_framing_come_whole() {
    let device = Device::start();
    let cloud = device.cloud();
    cloud.answer("/length", Script::answer("200 OK", b"hello"));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nhel\r\n2;x=\"y\"\r\nlo\r\n0\r\nX-Trailer: 1\r\n\r\n";
    cloud.answer("/chunked", Script::new().send(chunked));
    let until_close = "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\nhello";
    cloud.answer("/close", Script::new().send(until_close).close());
    let old = "HTTP/1.0 200 OK\r\n\r\nhello";
    cloud.answer("/old", Script::new().send(old).close());
    for path in ["/length", "/chunked", "/close", "/old", "/length", "/chunked"] {
        let answer = device.get(&format!("/c8y{path}"));
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]), "{path}");
        assert_eq!(answer.broken, None, "{path}");
    }
}

#[test]
fn http_1_0_says_that_an_answer_without_length_ends_the_connection() {
    let device = Device::start();
    let cloud = device.cloud();
    cloud.answer("/length", Script::answer("200 OK", b"hello"));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    cloud.answer("/chunked", Script::new().send(chunked));
    for (path, connection) in [("/length", "keep-alive"), ("/chunked", "close")] {
        let head = format!("GET /c8y{path} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        let answer = device.connect().exchange(head);
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]), "{path}");
        assert_eq!(answer.values("connection"), [connection.as_bytes()], "{path}");
    }
}

#[test]
fn an_answer_of_unclear_length_or_coding_is_told_in_words() {
    let device = Device::start();
    let gzip = "its Transfer-Encoding is \"gzip, chunked\"";
    let two = "its Content-Length is \"2, 3\"";
    for (method, head, said) in [
        ("GET", "Transfer-Encoding: gzip, chunked", gzip),
        ("GET", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", gzip),
        ("GET", "Transfer-Encoding: chunked, gzip", "its Transfer-Encoding is \"chunked, gzip\""),
        ("GET", "Content-Length: 2\r\nContent-Length: 3", "content-length"),
        ("HEAD", "Content-Length: 2\r\nContent-Length: 3", two),
        ("HEAD", "Content-Length: 2, 3", two),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        device.cloud().answer("/x", Script::new().send(answer).close());
        let answer = device.ask(format!("{method} /c8y/x HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(answer.status, 502, "{head}");
        let log = device.proxy.log();
        assert!(answer.text().contains(said) || log.contains(said), "{head}: {log}");
    }
    let equal = "HTTP/1.1 200 OK\r\nContent-Length: 2, 02\r\nContent-Length: 2\r\n\r\nok";
    device.cloud().answer("/x", Script::new().send(equal));
    let answer = device.get("/c8y/x");
    assert_eq!((answer.field("content-length"), &*answer.text()), (Some("2"), "ok"));
}

#[test]
fn answers_without_a_body_leave_the_connection_in_step() {
    let device = Device::start();
    device.warm();
    let cloud = device.cloud();
    cloud.answer("/204", Script::new().send("HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n"));
    let not_modified = "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 99\r\n\r\n";
    cloud.answer("/304", Script::new().send(not_modified));
    let mut client = device.connect();
    for _ in 0..2 {
        client.send("GET /c8y/204 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("x-a")), (204, Some("b")));
        assert_eq!(
            (answer.field("content-length"), answer.field("transfer-encoding")),
            (None, None)
        );
        client.send("GET /c8y/304 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("etag")), (304, Some("\"x\"")));
        client.send("HEAD /c8y/tenant/currentTenant HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let head = client.answer_to("HEAD").unwrap();
        client.send("GET /c8y/tenant/currentTenant HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let answer = client.answer();
        assert_eq!((head.status, answer.status), (200, 200));
        assert_eq!(head.field("content-length"), Some(&*answer.body.len().to_string()));
    }
    assert!(!client.has_news());
}

#[test]
fn interim_answers_are_survived() {
    let device = Device::start();
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let processing = "HTTP/1.1 102 Processing\r\n\r\n";
    let script = Script::new().send(processing).send(hints).send(hints);
    let script = script.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    device.cloud().answer("/x", script);
    let mut client = device.connect();
    for _ in 0..2 {
        client.send("GET /c8y/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    }
}

#[test]
fn redirects_and_compressed_bodies_are_passed_on_as_they_are() {
    let device = Device::start();
    let away =
        "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n";
    device.cloud().answer("/away", Script::new().send(away));
    let answer = device.get("/c8y/away");
    assert_eq!(answer.status, 302);
    assert_eq!(answer.field("location"), Some("https://elsewhere.example/"));
    // `printf hello | gzip -n`
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\x48\xcd\xc9\xc9\x07\0\x86\xa6\x10\x36\x05\0\0\0";
    device.cloud().answer("/gzip", Script::answer("200 OK\r\nContent-Encoding: gzip", gzip));
    let answer = device.get("/c8y/gzip");
    assert_eq!(answer.field("content-encoding"), Some("gzip"));
    assert_eq!(answer.body, gzip);
}

#[test]
fn expect_is_answered_here_and_not_passed_on() {
    let device = Device::start();
    device.warm();
    let mut client = device.connect();
    let head = "PUT /c8y/service/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\
        Expect: 100-continue\r\n\r\n";
    client.send(head).unwrap();
    assert_eq!(client.head().status, 100);
    client.send("hello").unwrap();
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]));
    assert_eq!(device.cloud().seen().requests[0].field("expect"), None);
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn without_a_token_the_body_is_not_asked_for() {
    let mut device = Device::start();
    device.outside.stop_broker();
    let head = "PUT /c8y/service/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\
        Expect: 100-continue\r\n\r\n";
    let answer = device.ask(head);
    assert_eq!((answer.status, answer.interim.len()), (502, 0));
}

#[test]
fn bodies_stream_both_ways_at_once() {
    let device = Device::start();
    let gate = Gate::default();
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let script = Script::new().send(head).wait(&gate).read().send("4\r\nlast\r\n0\r\n\r\n");
    device.cloud().answer("/x", script);
    let mut client = device.connect();
    let head = "POST /c8y/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head).unwrap();
    client.send("3\r\nup1\r\n").unwrap();
    assert_eq!(client.head().status, 200);
    client.wait_for("first");
    client.send("3\r\nup2\r\n0\r\n\r\n").unwrap();
    gate.open();
    client.wait_for("last");
    let seen = device.cloud().wait(SOON, |seen| seen.requests.iter().any(|r| r.length == 6));
    assert_eq!(seen.requests.last().unwrap().body, b"up1up2");
}

#[test]
fn a_slow_body_is_passed_on_piece_by_piece() {
    let device = Device::start();
    let gate = Gate::default();
    let script = Script::new().send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
    device.cloud().answer("/x", script.wait(&gate).send("later"));
    let mut client = device.connect();
    client.send("GET /c8y/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client.head();
    client.wait_for("first");
    gate.open();
    client.wait_for("later");
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let device = Device::start();
    device.warm();
    let mut client = device.connect();
    let one = |n| format!("GET /c8y/service/echo/{n} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send([one(1), one(2), one(3)].concat()).unwrap();
    for n in 1..=3 {
        let answer = client.answer();
        let line = format!("GET /service/echo/{n} HTTP/1.1");
        assert_eq!(answer.field("x-request-line"), Some(&*line));
    }
}

#[test]
fn slow_answers_hold_nobody_else_up() {
    let device = Device::start();
    device.warm();
    let slow = Script::new().pause(Duration::from_secs(3)).send("HTTP/1.1 204 \r\n\r\n");
    device.cloud().answer("/slow", slow);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(device.get("/c8y/slow").status, 204));
        }
        device.cloud().wait(SOON, |seen| seen.requests.len() >= 20);
        let start = Instant::now();
        assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    });
}
