//! An interruption on one side is visible on the other side, and nothing incomplete looks complete.

use std::thread;
use std::time::Duration;

use crate::support::client::Client;
use crate::support::cloud::Script;
use crate::support::cloud::record::{Request, State};
use crate::support::device::{Device, SOON};
use crate::support::wait::within;

const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\nhello";

#[test]
fn an_answer_that_breaks_off_never_looks_whole() {
    let device = Device::start();
    let cloud = device.cloud();
    let scripts = [
        ("/length", Script::new().send(LENGTH).send_blocks(200_000).break_off()),
        ("/length-said-goodbye", Script::new().send(LENGTH).send_blocks(200_000).close()),
        ("/chunked", Script::new().send(CHUNKED).break_off()),
        ("/chunked-said-goodbye", Script::new().send(CHUNKED).close()),
        ("/within-a-chunk", Script::new().send(CHUNKED).send("ff\r\nshort").close()),
        ("/bad-chunk", Script::new().send(CHUNKED).send("zz\r\nhello\r\n0\r\n\r\n")),
        ("/until-close", Script::new().send(UNTIL_CLOSE).break_off()),
    ];
    for (path, script) in scripts {
        cloud.answer(path, script);
        let answer = device.get(&format!("/c8y{path}"));
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.broken.is_some(), "{path} looks whole: {:?}", answer.text());
        if answer.field("content-length").is_none() {
            assert_eq!(answer.field("transfer-encoding"), Some("chunked"), "{path}");
        }
    }
    // None of these may leave a connection unusable for later requests.
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
}

#[test]
fn a_client_of_http_1_0_sees_a_body_without_length_break_as_well() {
    let device = Device::start();
    let script = Script::new().send(UNTIL_CLOSE).break_off();
    device.cloud().answer("/x", script);
    let mut client = device.connect();
    client.send("GET /c8y/x HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
    let outcome = client.answer_to("GET");
    let looks_whole = outcome.as_ref().is_ok_and(|a| a.status == 200 && a.broken.is_none());
    assert!(!looks_whole, "{outcome:?}");
}

#[test]
fn a_switch_of_protocols_that_nobody_asked_for_is_an_error() {
    let device = Device::start();
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    device.cloud().answer("/x", Script::new().send(head).hold());
    let answer = device.get("/c8y/x");
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.text().contains("it switched protocols without a request to switch"));
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
}

#[test]
fn a_head_that_breaks_off_or_is_none_is_an_error_in_words() {
    let device = Device::start();
    device.warm();
    for (path, script) in [
        ("/nothing", Script::new().break_off()),
        ("/goodbye", Script::new().close()),
        ("/half", Script::new().send("HTTP/1.1 200 OK\r\nContent-Le").close()),
        ("/not-http", Script::new().send("SSH-2.0-OpenSSH\r\n\r\n").close()),
    ] {
        device.cloud().answer(path, script);
        let answer = device.get(&format!("/c8y{path}"));
        assert_eq!(answer.status, 502, "{path}: {}", answer.text());
        let text = answer.text();
        assert!(text.starts_with("Error communicating with Cumulocity: "), "{path}: {text}");
        assert!(!text.contains("https://"), "{path}: {text}");
    }
}

#[test]
fn a_client_that_goes_ends_its_download_upstream_within_a_second() {
    let device = Device::start();
    let script = Script::new().send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    device.cloud().answer("/x", script.send_blocks(1_000_000_000));
    let begin = || {
        let mut client = device.connect();
        client.send("GET /c8y/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        client.head();
        client
    };
    ends_upstream(&device, begin, |client| client.hang_up().unwrap());
}

#[test]
fn a_client_that_goes_while_the_cloud_thinks_ends_the_request_within_a_second() {
    let device = Device::start();
    device.cloud().answer("/x", Script::new().hold());
    let begin = || {
        let mut client = device.connect();
        client.send("GET /c8y/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        device.cloud().wait(SOON, |seen| seen.requests.iter().any(|r| r.state == State::Open));
        client
    };
    ends_upstream(&device, begin, drop);
}

#[test]
fn a_client_that_goes_during_its_upload_ends_it_within_a_second() {
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let device = Device::start();
        device.warm();
        let head = format!("PUT /c8y/service/echo HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        let begin = || {
            let mut client = device.connect();
            client.send(&head).unwrap();
            client.send("5\r\nhello\r\n").unwrap();
            let has_begun = |r: &Request| r.state == State::Open && r.length > 0;
            device.cloud().wait(SOON, |seen| seen.requests.iter().any(has_begun));
            client
        };
        ends_upstream(&device, begin, |client| client.hang_up().unwrap());
        let requests = device.cloud().requests("/service/echo");
        assert!(requests.iter().all(|r| r.digest.is_none()), "the cloud takes it for whole");
    }
}

fn ends_upstream(device: &Device, mut begin: impl FnMut() -> Client, end: impl Fn(Client)) {
    within(Duration::from_secs(1), || {
        end(begin());
        let is_gone = |request: &Request| matches!(request.state, State::Gone(_));
        device.cloud().wait(SOON, |seen| seen.requests.iter().all(is_gone));
    });
}

#[test]
fn an_answer_that_comes_before_the_body_is_sent_reaches_the_client() {
    let device = Device::start();
    device.warm();
    let text = "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope";
    device.cloud().answer("/x", Script::new().send(text).close());
    let mut client = device.connect();
    let head = "PUT /c8y/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n";
    client.send(head).unwrap();
    let mut sending = client.socket().try_clone().unwrap();
    let sender = thread::spawn(move || {
        use std::io::Write;
        // It is refused at some point; that is what is tested.
        while sending.write_all(&[b'x'; 64 * 1024]).is_ok() {}
    });
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_slice()), (413, &b"nope"[..]));
    assert_eq!(answer.broken, None);
    client.hang_up().unwrap();
    sender.join().unwrap();
}

#[test]
fn an_answer_that_comes_before_the_body_and_a_reset_reaches_the_client() {
    let device = Device::start();
    device.warm();
    let text = "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nnope";
    device.cloud().answer("/x", Script::new().send(text).pause(SOON / 20).break_off());
    let mut client = device.connect();
    let head = "PUT /c8y/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    client.send(head).unwrap();
    client.send("slowly").unwrap();
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_slice()), (413, &b"nope"[..]));
}

#[test]
fn a_cloud_that_goes_during_an_upload_is_an_error() {
    let device = Device::start();
    device.warm();
    device.cloud().answer("/x", Script::new().pause(SOON / 50).break_off());
    let mut client = device.connect();
    let head = "PUT /c8y/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    client.send(head).unwrap();
    client.send("slowly").unwrap();
    let answer = client.answer();
    assert_eq!(answer.status, 502, "{}", answer.text());
}

#[test]
fn a_chunk_of_the_client_that_is_malformed_never_looks_whole_to_the_cloud() {
    let device = Device::start();
    device.warm();
    let mut client = device.connect();
    let head = "PUT /c8y/service/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head).unwrap();
    client.send("5\r\nhello\r\nnonsense\r\n0\r\n\r\n").unwrap();
    // An error or the end, both tell the client.
    if let Ok(answer) = client.answer_to("PUT") {
        assert!(answer.status >= 400, "{}", answer.status);
    }
    let seen = device.cloud().seen().requests;
    assert!(seen.iter().all(|request| request.digest.is_none()));
}
