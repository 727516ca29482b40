//! WebSockets: upstream is asked first, then bytes flow both ways untouched.

use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message};

use crate::support::cloud::Script;
use crate::support::cloud::record::{Request, State};
use crate::support::device::{Device, SOON};
use crate::support::wait::within;
use crate::support::websocket::{WebSocket, over};

fn ask(device: &Device, target: &str, fields: &str) -> WebSocket {
    WebSocket::ask(device.connect(), target, fields).unwrap()
}

#[test]
fn messages_of_a_megabyte_come_back() {
    let device = Device::start();
    let mut client = ask(&device, "/c8y/service/echo", "");
    assert!(client.is_open(), "{:?}", client.answer);
    let message: Vec<u8> = (0_u32..1 << 20).map(|n| (n * 7 % 251) as u8).collect();
    let message = Message::binary(message);
    for _ in 0..5 {
        client.send(message.clone()).unwrap();
        assert!(client.receive().unwrap() == message);
    }
}

#[test]
fn ten_thousand_small_messages_come_back_in_order() {
    let device = Device::start();
    let mut client = ask(&device, "/c8y/service/echo", "");
    let mut sending = over(client.socket().try_clone().unwrap());
    let sender = thread::spawn(move || {
        for number in 0..10_000 {
            sending.send(Message::text(format!("message {number}"))).unwrap();
        }
    });
    for number in 0..10_000 {
        assert_eq!(client.receive().unwrap(), Message::text(format!("message {number}")));
    }
    sender.join().unwrap();
}

#[test]
fn frames_are_not_touched() {
    let device = Device::start();
    let mut client = ask(&device, "/c8y/service/echo", "");
    client.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(client.receive().unwrap(), Message::Pong("are you there".into()));
    let bye = Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "bye".into() }));
    client.send(bye.clone()).unwrap();
    assert_eq!(client.receive().unwrap(), bye);
    // The end of one side is the end of the other.
    assert!(matches!(client.receive(), Err(Error::ConnectionClosed)));
}

#[test]
fn query_strings_and_subprotocols_survive() {
    let device = Device::with(|setup| {
        setup.set_own("c8y.proxy.allowed_origins", "\"https://a.example\"");
    });
    device.warm();
    let fields = "Sec-WebSocket-Protocol: v12.stomp, mqtt\r\nOrigin: https://a.example\r\n";
    let target = "/service/echo/a;b%2F?token=eyJ.a-b_c=&consumer=x";
    let client = ask(&device, &format!("/c8y{target}"), fields);
    assert!(client.is_open());
    assert_eq!(client.answer.field("sec-websocket-protocol"), Some("v12.stomp"));
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
    assert!(client.is_open(), "{:?}", client.answer);
    let event = br#"{"source":{"id":"7"},"type":"t","text":"hi"}"#;
    // The cloud subscribes before it answers 101.
    assert_eq!(device.post("/c8y/event/events", event).status, 201);
    let message = client.receive().unwrap().into_text().unwrap();
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines[1..3], ["/t12345/events/7", "CREATE"], "{message}");
    client.send(lines[0]).unwrap();
}

#[test]
fn a_refusal_is_passed_on_as_it_is() {
    let device = Device::start();
    device.warm();
    let client = ask(&device, "/c8y/notification2/consumer/?token=wrong", "");
    assert_eq!((client.answer.status, client.answer.reason.as_str()), (403, "Forbidden"));
    assert_eq!(device.bridge().asked(), 1);
    device.cloud().answer("/x", Script::answer("404 Not Found\r\nX-Mine: 1", b"nothing here"));
    let answer = ask(&device, "/c8y/x", "").answer;
    assert_eq!((answer.status, answer.field("x-mine")), (404, Some("1")));
    assert_eq!(answer.body, b"nothing here");
}

#[test]
fn a_200_in_place_of_a_101_is_an_answer_like_any_other() {
    let device = Device::start();
    device.cloud().answer("/x", Script::answer("200 OK", b"plain"));
    let answer = ask(&device, "/c8y/x", "").answer;
    assert_eq!(
        (answer.status, answer.reason.as_str(), answer.body.as_slice()),
        (200, "OK", &b"plain"[..])
    );
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
    assert_eq!(ask(&device, "/c8y/x", "").answer.status, 401);
    assert_eq!(device.cloud().requests("/x").len(), 2);
}

#[test]
fn what_follows_a_head_at_once_is_not_lost() {
    let device = Device::start();
    let greeting = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
        Upgrade: mine\r\n\r\nfirst bytes of the cloud";
    device.cloud().answer("/x", Script::new().send(greeting).hold());
    let mut client = device.connect();
    let head = "GET /c8y/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: mine\r\n\r\n";
    let answer = client.exchange(head);
    // Other protocols than WebSocket as well.
    assert_eq!((answer.status, answer.field("upgrade")), (101, Some("mine")));
    client.wait_for("first bytes of the cloud");
}

#[test]
fn a_switch_to_a_protocol_that_was_not_requested_is_an_error() {
    let device = Device::start();
    device.warm();
    let head =
        "GET /c8y/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: mine, b/1\r\n\r\n";
    for (chosen, flaw) in [
        ("Upgrade: h2c\r\n", "it switched protocols to another protocol than requested"),
        ("Upgrade: b/1, b/2\r\n", "it switched protocols to another protocol than requested"),
        ("Upgrade: \r\n", "it switched protocols without saying to which"),
        ("", "it switched protocols without saying to which"),
    ] {
        let switch =
            format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{chosen}\r\n");
        device.cloud().answer("/x", Script::new().send(switch).hold());
        let answer = device.connect().exchange(head);
        assert_eq!(answer.status, 502, "{chosen:?}");
        assert!(answer.text().contains(flaw), "{chosen:?}: {}", answer.text());
    }
    for chosen in ["B/1", "b/1, mine"] {
        let switch = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {chosen}\r\n\r\n"
        );
        device.cloud().answer("/x", Script::new().send(switch).hold());
        let answer = device.connect().exchange(head);
        assert_eq!((answer.status, answer.field("upgrade")), (101, Some(chosen)));
    }
}

#[test]
fn a_426_says_which_protocol_is_required() {
    let device = Device::start();
    let required = "426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket";
    device.cloud().answer("/x", Script::answer(required, b"no"));
    let answer = device.get("/c8y/x");
    assert_eq!((answer.status, answer.field("upgrade")), (426, Some("websocket")));
    assert_eq!(answer.field("connection"), Some("Upgrade"));
}

#[test]
fn the_client_that_goes_is_gone_upstream_within_a_second() {
    let device = Device::start();
    within(Duration::from_secs(1), || {
        let mut client = ask(&device, "/c8y/service/echo", "");
        client.echo("hello");
        client.socket().shutdown(Shutdown::Both).unwrap();
        let is_gone = |request: &Request| matches!(request.state, State::Gone(_));
        device.cloud().wait(SOON, |seen| seen.requests.iter().all(is_gone));
    });
}

#[test]
fn a_cloud_that_goes_is_the_end_for_the_client_within_a_second() {
    let device = Device::start();
    within(Duration::from_secs(1), || {
        let mut client = ask(&device, "/c8y/service/echo", "");
        client.echo("hello");
        device.cloud().break_off();
        assert!(client.receive().is_err());
    });
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn two_quiet_minutes_end_nothing() {
    let device = Device::start();
    let mut client = ask(&device, "/c8y/service/echo", "");
    client.echo("before");
    thread::sleep(Duration::from_secs(125));
    client.echo("after");
}
