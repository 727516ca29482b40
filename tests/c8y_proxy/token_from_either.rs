//! `c8y.proxy.token_source auto`: the token comes from the broker, over HTTPS where that gives none
//! within 5 s, and from the broker again; one line in the log for each change.

use std::time::{Duration, Instant};

use crate::support::bridge::Answer;
use crate::support::cloud::Script;
use crate::support::cloud::access_tokens::PATH;
use crate::support::device::{Device, SOON, Source};

const TENANT: &str = "/c8y/tenant/currentTenant";

/// Fetches a new token; returns how long it took.
fn renew(device: &Device) -> Duration {
    device.cloud().tokens().revoke_all();
    let start = Instant::now();
    device.warm();
    start.elapsed()
}

/// How often a token was requested from the broker, and over HTTPS.
fn asked(device: &Device) -> (usize, usize) {
    (device.bridge().asked(), device.endpoint().seen().requests.len())
}

fn changes(device: &Device) -> usize {
    device.proxy.log().lines().filter(|line| line.contains("the token comes from")).count()
}

#[test]
fn while_the_broker_gives_one_nothing_is_requested_over_https() {
    let device = Device::of(Source::Auto);
    device.warm();
    renew(&device);
    assert_eq!((asked(&device), changes(&device)), ((2, 0), 0));
}

#[test]
fn a_broker_that_dies_is_replaced_after_5_seconds_and_used_again_when_it_is_back() {
    let mut device = Device::of(Source::Auto);
    device.warm();
    device.outside.stop_broker();
    let first = renew(&device);
    assert!((4_500..9_000).contains(&first.as_millis()), "{first:?}");
    assert_eq!((asked(&device), changes(&device)), ((1, 1), 1));
    let port = device.endpoint().address().port();
    device.proxy.wait_for(&format!("the token comes from localhost:{port} now"), SOON);
    // It is known to be away: nobody waits for it any more.
    for _ in 0..3 {
        let next = renew(&device);
        assert!(next.as_millis() < 3_000, "{next:?}");
    }
    assert_eq!((asked(&device), changes(&device)), ((1, 4), 1));
    device.outside.restart_broker();
    device.proxy.wait_for_lines("connected to the broker", 2, 7 * SOON);
    let back = renew(&device);
    assert!(back.as_millis() < 4_000, "{back:?}");
    device.proxy.wait_for("the token comes from the broker again", SOON);
    assert_eq!((asked(&device), changes(&device)), ((2, 4), 2));
}

#[test]
fn a_bridge_that_is_silent_or_talks_nonsense_is_replaced() {
    for answer in [Answer::Nothing, Answer::Payload(b"71,\xff".to_vec())] {
        let device = Device::of(Source::Auto);
        device.bridge().answer(answer);
        let start = Instant::now();
        device.warm();
        assert!((4_500..9_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        assert_eq!((asked(&device).1, changes(&device)), (1, 1));
        // The broker is there, and is given its 5 s each time.
        device.bridge().answer(Answer::Token);
        renew(&device);
        assert_eq!((asked(&device).1, changes(&device)), (1, 2));
    }
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn where_neither_gives_one_both_are_named_after_20_seconds() {
    let mut device = Device::of(Source::Auto);
    device.outside.stop_broker();
    device.endpoint().answer(PATH, Script::answer("404 Not Found", b"").without_a_token());
    let start = Instant::now();
    let answer = device.get(TENANT);
    assert_eq!(answer.status, 502);
    assert!((19..23).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let text = answer.text();
    for words in ["the broker at 127.0.0.1", "over HTTPS: ", "404", "token_source mqtt"] {
        assert!(text.contains(words), "{words:?} in {text}");
    }
    assert_eq!(asked(&device).1, 1);
}
