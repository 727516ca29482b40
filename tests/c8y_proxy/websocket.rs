//! WebSockets: upstream is asked first, then bytes flow both ways untouched.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::cloud::Script;
use crate::support::cloud::record::State;
use crate::support::device::{Device, SOON};
use crate::support::websocket::{BINARY, CLOSE, Client, PING, PONG, TEXT, decode, encode};

fn ask(device: &Device, target: &str, fields: &str) -> Client<TcpStream> {
    let stream = TcpStream::connect(device.proxy.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(150))).unwrap();
    Client::ask(stream, target, fields).unwrap()
}

#[test]
fn messages_of_a_megabyte_come_back() {
    let device = Device::start();
    let mut client = ask(&device, "/c8y/service/echo", "");
    assert!(client.is_open(), "{}", client.answer);
    let message: Vec<u8> = (0_u32..1 << 20).map(|n| (n * 7 % 251) as u8).collect();
    for _ in 0..5 {
        client.send(BINARY, &message).unwrap();
        let frame = client.receive().unwrap();
        assert_eq!((frame.opcode, frame.payload.len()), (BINARY, message.len()));
        assert!(frame.payload == message);
    }
}

#[test]
fn ten_thousand_small_messages_come_back_in_order() {
    let device = Device::start();
    let mut client = ask(&device, "/c8y/service/echo", "");
    let mut sending = client.stream().try_clone().unwrap();
    let sender = thread::spawn(move || {
        for number in 0..10_000 {
            sending.write_all(&encode(TEXT, format!("message {number}").as_bytes(), true)).unwrap();
        }
    });
    for number in 0..10_000 {
        let frame = client.receive().unwrap();
        assert_eq!(frame.payload, format!("message {number}").as_bytes());
    }
    sender.join().unwrap();
}

#[test]
fn frames_are_not_touched() {
    let device = Device::start();
    let mut client = ask(&device, "/c8y/service/echo", "");
    client.send(PING, b"are you there").unwrap();
    let frame = client.receive().unwrap();
    assert_eq!((frame.opcode, frame.payload.as_slice()), (PONG, &b"are you there"[..]));
    client.send(CLOSE, &[3, 0xe8, b'b', b'y', b'e']).unwrap();
    let frame = client.receive().unwrap();
    assert_eq!((frame.opcode, frame.payload.as_slice()), (CLOSE, &b"\x03\xe8bye"[..]));
    assert!(client.receive().is_err(), "the end of one side is the end of the other");
}

#[test]
fn query_strings_and_subprotocols_survive() {
    let device = Device::start();
    device.warm();
    let fields = "Sec-WebSocket-Protocol: v12.stomp, mqtt\r\nOrigin: https://a.example\r\n";
    let target = "/service/echo/a;b%2F?token=eyJ.a-b_c=&consumer=x";
    let client = ask(&device, &format!("/c8y{target}"), fields);
    assert!(client.is_open());
    assert!(client.answer.to_lowercase().contains("sec-websocket-protocol: v12.stomp\r\n"));
    let request = device.cloud().seen().requests.remove(0);
    assert_eq!(request.target(), target.as_bytes());
    assert_eq!(request.all("sec-websocket-protocol"), [b"v12.stomp, mqtt"]);
    assert_eq!(request.field("origin"), Some(&b"https://a.example"[..]));
    assert_eq!(request.field("sec-websocket-version"), Some(&b"13"[..]));
    assert!(request.bearer().is_some());
}

#[test]
fn notifications_reach_a_consumer() {
    let device = Device::start();
    let answer = device.post("/c8y/notification2/token", b"{\"subscription\":\"s\"}");
    let token: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let token = token["token"].as_str().unwrap();
    let target = format!("/c8y/notification2/consumer/?token={token}");
    let mut client = ask(&device, &target, "");
    assert!(client.is_open(), "{}", client.answer);
    let event = br#"{"source":{"id":"7"},"type":"t","text":"hi"}"#;
    // The cloud subscribes before it answers 101.
    assert_eq!(device.post("/c8y/event/events", event).status, 201);
    let message = String::from_utf8(client.receive().unwrap().payload).unwrap();
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines[1..3], ["/t12345/events/7", "CREATE"], "{message}");
    client.send(TEXT, lines[0].as_bytes()).unwrap();
}

#[test]
fn a_refusal_is_passed_on_as_it_is() {
    let device = Device::start();
    device.warm();
    let client = ask(&device, "/c8y/notification2/consumer/?token=wrong", "");
    assert!(client.answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{}", client.answer);
    assert_eq!(device.bridge().asked(), 1);
    device.cloud().answer("/x", Script::answer("404 Not Found\r\nX-Mine: 1", b"nothing here"));
    let mut client = ask(&device, "/c8y/x", "");
    assert!(client.answer.starts_with("HTTP/1.1 404 "), "{}", client.answer);
    assert!(client.answer.to_lowercase().contains("x-mine: 1"));
    let body = client.receive_bytes(b"nothing here".len()).unwrap();
    assert_eq!(body, b"nothing here");
}

#[test]
fn a_200_in_place_of_a_101_is_an_answer_like_any_other() {
    let device = Device::start();
    device.cloud().answer("/x", Script::answer("200 OK", b"plain"));
    let mut client = ask(&device, "/c8y/x", "");
    assert!(client.answer.starts_with("HTTP/1.1 200 OK\r\n"), "{}", client.answer);
    assert_eq!(client.receive_bytes(5).unwrap(), b"plain");
}

#[test]
fn a_stale_token_is_renewed_once() {
    let device = Device::start();
    device.warm();
    device.cloud().tokens().revoke_all();
    assert!(ask(&device, "/c8y/service/echo", "").is_open());
    assert_eq!(device.bridge().asked(), 2);
    assert_eq!(device.cloud().requests("/service/echo").len(), 2);
    let refusal = Script::answer("401 Unauthorized", b"no");
    device.cloud().answer("/x", refusal);
    let client = ask(&device, "/c8y/x", "");
    assert!(client.answer.starts_with("HTTP/1.1 401 "), "{}", client.answer);
    assert_eq!(device.cloud().requests("/x").len(), 2);
}

#[test]
fn what_follows_a_head_at_once_is_not_lost() {
    let device = Device::start();
    let greeting = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
        Upgrade: mine\r\n\r\nfirst bytes of the cloud";
    device.cloud().answer("/x", Script::new().send(greeting).hold());
    let mut stream = TcpStream::connect(device.proxy.address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let head = "GET /c8y/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: mine\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"first bytes of the cloud") {
        let mut piece = [0; 1024];
        let length = stream.read(&mut piece).unwrap();
        assert_ne!(length, 0, "{}", text.escape_ascii());
        text.extend_from_slice(&piece[..length]);
    }
    let text = String::from_utf8(text).unwrap().to_lowercase();
    assert!(text.starts_with("http/1.1 101 "), "{text}");
    assert!(text.contains("upgrade: mine\r\n"), "other protocols than websocket: {text}");
}

#[test]
fn the_client_that_goes_is_gone_upstream_within_a_second() {
    let device = Device::start();
    let mut client = ask(&device, "/c8y/service/echo", "");
    client.send(TEXT, b"hello").unwrap();
    client.receive().unwrap();
    let start = Instant::now();
    client.stream().shutdown(Shutdown::Both).unwrap();
    device.cloud().wait(SOON, |seen| matches!(seen.requests[0].state, State::Gone(_)));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn a_cloud_that_goes_is_the_end_for_the_client_within_a_second() {
    let mut device = Device::start();
    let mut client = ask(&device, "/c8y/service/echo", "");
    client.send(TEXT, b"hello").unwrap();
    client.receive().unwrap();
    let start = Instant::now();
    device.outside.cloud.stop();
    assert!(client.receive().is_err());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn two_quiet_minutes_end_nothing() {
    let device = Device::start();
    let mut client = ask(&device, "/c8y/service/echo", "");
    client.send(TEXT, b"before").unwrap();
    assert_eq!(client.receive().unwrap().payload, b"before");
    thread::sleep(Duration::from_secs(125));
    client.send(TEXT, b"after").unwrap();
    assert_eq!(client.receive().unwrap().payload, b"after");
}

#[test]
fn our_own_frames_are_read_as_they_are_written() {
    for length in [0, 1, 125, 126, 65_535, 65_536, 70_000] {
        for masked in [false, true] {
            let payload: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let mut bytes = encode(BINARY, &payload, masked);
            let last = bytes.pop();
            assert_eq!(decode(&mut bytes), None, "{length}");
            bytes.extend(last);
            let frame = decode(&mut bytes).unwrap();
            assert!(bytes.is_empty() && frame.last && frame.masked == masked);
            assert_eq!((frame.opcode, frame.payload), (BINARY, payload));
        }
    }
}
