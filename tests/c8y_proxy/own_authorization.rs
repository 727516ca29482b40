//! The client's own `Authorization` is forwarded, and the device's token is not used.

use std::time::{Duration, Instant};

use crate::support::cloud::Cloud;
use crate::support::device::{Device, Outside, options};
use crate::support::websocket::WebSocket;

fn outside_with_ben() -> Outside {
    let mut options = options();
    options.user = Some(("t12345/ben".into(), "secret".into()));
    Outside::with(Cloud::start(options).unwrap())
}

// base64 of t12345/ben:secret and of t12345/ben:wrong
const GOOD: &str = "Authorization: Basic dDEyMzQ1L2JlbjpzZWNyZXQ=";
const BAD: &str = "Authorization: Basic dDEyMzQ1L2Jlbjp3cm9uZw==";

fn get(authorization: &str) -> String {
    format!("GET /c8y/tenant/currentTenant HTTP/1.1\r\nHost: a\r\n{authorization}\r\n\r\n")
}

#[test]
fn it_goes_upstream_unchanged_and_no_token_is_fetched() {
    let device = Device::among(outside_with_ben(), |_| {});
    assert_eq!(device.ask(get(GOOD)).status, 200);
    let seen = device.cloud().seen().requests;
    assert_eq!(seen[0].all("authorization"), [&b"Basic dDEyMzQ1L2JlbjpzZWNyZXQ="[..]]);
    assert_eq!(device.bridge().asked(), 0);
}

#[test]
fn connection_cannot_take_it_away() {
    let device = Device::among(outside_with_ben(), |_| {});
    device.warm();
    for authorization in [GOOD, BAD] {
        device.cloud().forget();
        device.ask(get(&format!(
            "{authorization}\r\nConnection: close, Authorization, x-a\r\nX-A: 1"
        )));
        let seen = device.cloud().seen().requests;
        let value = authorization.split_once(": ").unwrap().1;
        assert_eq!(
            seen[0].all("authorization"),
            [value.as_bytes()],
            "the client speaks as the device"
        );
        assert_eq!((seen.len(), seen[0].field("x-a")), (1, None));
    }
}

#[test]
fn a_401_to_it_is_passed_on_with_no_fetch_and_is_sent_once() {
    let device = Device::among(outside_with_ben(), |_| {});
    let answer = device.ask(get(BAD));
    assert_eq!(answer.status, 401);
    assert!(answer.field("www-authenticate").is_some());
    assert!(answer.text().contains("security/Unauthorized"), "{}", answer.text());
    assert_eq!(device.cloud().seen().requests.len(), 1);
    assert_eq!(device.bridge().asked(), 0);
}

#[test]
fn it_needs_no_broker() {
    let mut outside = outside_with_ben();
    outside.stop_broker();
    let device = Device::among(outside, |_| {});
    let start = Instant::now();
    assert_eq!(device.ask(get(GOOD)).status, 200);
    let big = vec![b'x'; 200_000];
    let head = format!(
        "POST /c8y/service/echo HTTP/1.1\r\nHost: a\r\n{GOOD}\r\nContent-Length: {}\r\n\r\n",
        big.len()
    );
    assert_eq!(device.ask([head.as_bytes(), &big].concat()).status, 200);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(device.cloud().requests("/tenant/currentTenant").len(), 1, "nothing to prove");
}

#[test]
fn a_good_one_of_a_client_does_not_become_anybody_elses() {
    let device = Device::among(outside_with_ben(), |_| {});
    assert_eq!(device.ask(get(GOOD)).status, 200);
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    let seen = device.cloud().seen().requests;
    assert!(seen[1].bearer().is_some(), "{:?}", seen[1]);
}

#[test]
fn it_works_for_a_websocket() {
    let mut outside = outside_with_ben();
    outside.stop_broker();
    let device = Device::among(outside, |_| {});
    let ask = |authorization: &str| {
        WebSocket::ask(device.connect(), "/c8y/service/echo", &format!("{authorization}\r\n"))
            .unwrap()
    };
    assert!(ask(GOOD).is_open());
    assert_eq!(ask(BAD).answer.status, 401);
    assert_eq!(device.cloud().requests("/service/echo").len(), 2);
    assert_eq!(device.bridge().asked(), 0);
}
