//! One token for all clients: fetched once, renewed once, and checked.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::cloud::Script;
use crate::support::cloud::tokens::Claims;
use crate::support::device::{Device, Outside, SOON, Source};

/// Every test runs with each source, under the name of the source.
macro_rules! with_each_source {
    ($($(#[$ignored:meta])? $promise:ident,)+) => {
        with_each_source!(mqtt: Mqtt, $($(#[$ignored])? $promise,)+);
        with_each_source!(https: Https, $($(#[$ignored])? $promise,)+);
    };
    ($module:ident: $source:ident, $($(#[$ignored:meta])? $promise:ident,)+) => {
        mod $module {
            $(
                #[test]
                $(#[$ignored])?
                fn $promise() {
                    super::$promise(super::Source::$source);
                }
            )+
        }
    };
}

with_each_source! {
    a_hundred_requests_without_a_token_make_one_fetch,
    a_hundred_requests_with_a_revoked_token_make_one_renewal_and_all_succeed,
    a_small_body_is_sent_again_after_a_401,
    a_chunked_body_waits_for_the_token_to_be_proved_once_in_a_minute,
    a_401_that_stays_is_passed_on_after_one_renewal,
    other_refusals_are_passed_on_without_a_renewal,
    a_clock_that_is_a_year_wrong_makes_no_difference,
    a_token_whose_end_cannot_be_read_is_used_until_a_401,
    no_secret_is_in_the_log,
    #[ignore = "takes a minute: `long_limits` runs it beside the others"]
    a_body_that_cannot_be_sent_again_waits_for_the_token_to_be_proved,
    #[ignore = "takes a minute: `long_limits` runs it beside the others"]
    a_token_is_renewed_before_it_runs_out_and_no_request_fails,
    #[ignore = "takes a minute: `long_limits` runs it beside the others"]
    an_expired_token_is_never_the_reason_for_a_refusal,
    #[ignore = "takes a minute: `long_limits` runs it beside the others"]
    an_idle_device_does_not_renew,
    #[ignore = "takes a minute: `long_limits` runs it beside the others"]
    a_clock_that_is_a_year_wrong_keeps_no_token_from_its_renewal,
}

/// Sends that many requests at once and returns the statuses.
fn at_once(device: &Device, count: usize, request: &str) -> Vec<u16> {
    let mut clients: Vec<_> = (0..count).map(|_| device.connect()).collect();
    for client in &mut clients {
        client.send(request).unwrap();
    }
    let method = request.split(' ').next().unwrap();
    clients.iter_mut().map(|client| client.answer_to(method).unwrap().status).collect()
}

const YEAR: i64 = 365 * 24 * 3600;

const GET: &str = "GET /c8y/tenant/currentTenant HTTP/1.1\r\nHost: a\r\n\r\n";

fn device_for_many(source: Source) -> Device {
    Device::among(Outside::of(source), |setup| setup.set_own("c8y.proxy.connections.max", 200))
}

fn a_hundred_requests_without_a_token_make_one_fetch(source: Source) {
    let device = device_for_many(source);
    device.outside.delay(Duration::from_secs(1));
    assert_eq!(at_once(&device, 100, GET), [200; 100]);
    assert_eq!(device.asked(), 1);
    assert_eq!(device.cloud().seen().requests.len(), 100);
}

fn a_hundred_requests_with_a_revoked_token_make_one_renewal_and_all_succeed(source: Source) {
    let device = device_for_many(source);
    device.warm();
    device.cloud().tokens().revoke_all();
    assert_eq!(at_once(&device, 100, GET), [200; 100]);
    assert_eq!(device.asked(), 2);
    let seen = device.cloud().seen().requests;
    assert!(seen.len() <= 200, "{} requests for 100", seen.len());
}

fn a_small_body_is_sent_again_after_a_401(source: Source) {
    let device = Device::of(source);
    device.warm();
    for length in [0, 1, 64 * 1024] {
        device.cloud().tokens().revoke_all();
        device.cloud().forget();
        let body = vec![b'x'; length];
        let answer = device.post("/c8y/service/echo", &body);
        assert_eq!((answer.status, answer.body), (200, body));
        let seen = device.cloud().requests("/service/echo");
        assert_eq!(seen.len(), 2, "{length}");
        assert_eq!(seen[0].digest, seen[1].digest);
        assert_ne!(seen[0].bearer(), seen[1].bearer());
    }
}

fn a_body_that_cannot_be_sent_again_waits_for_the_token_to_be_proved(source: Source) {
    let device = Device::of(source);
    device.warm();
    device.cloud().tokens().revoke_all();
    // The answer that proved the token was a moment ago: only time makes it doubtful.
    thread::sleep(Duration::from_secs(61));
    let body = vec![b'x'; 64 * 1024 + 1];
    let answer = device.post("/c8y/service/echo", &body);
    assert_eq!((answer.status, answer.body.len() as u64), (200, body.len() as u64));
    let seen = device.cloud().seen().requests;
    let lines: Vec<_> = seen.iter().map(|r| (r.method(), r.target())).collect();
    let (head, tenant): (&[u8], &[u8]) = (b"HEAD", b"/tenant/currentTenant");
    assert_eq!(lines.first(), Some(&(head, tenant)), "{lines:?}");
    let sent = device.cloud().requests("/service/echo");
    assert_eq!(sent.len(), 1, "{lines:?}");
}

fn a_chunked_body_waits_for_the_token_to_be_proved_once_in_a_minute(source: Source) {
    let device = Device::of(source);
    let chunked = "POST /c8y/service/echo HTTP/1.1\r\nHost: a\r\n\
        Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    for _ in 0..3 {
        assert_eq!(device.ask(chunked).status, 200);
    }
    let proofs = device.cloud().requests("/tenant/currentTenant");
    assert_eq!(proofs.len(), 1);
    assert_eq!(proofs[0].method(), b"HEAD");
    assert_eq!(device.cloud().requests("/service/echo").len(), 3);
}

fn a_401_that_stays_is_passed_on_after_one_renewal(source: Source) {
    let device = Device::of(source);
    device.warm();
    let refusal = "401 Unauthorized\r\nWWW-Authenticate: X\r\nX-Mine: 1";
    device.cloud().answer("/x", Script::answer(refusal, b"no"));
    let answer = device.get("/c8y/x");
    assert_eq!((answer.status, answer.body.as_slice()), (401, &b"no"[..]));
    assert_eq!(answer.field("x-mine"), Some("1"));
    assert_eq!(device.cloud().requests("/x").len(), 2);
    assert_eq!(device.asked(), 2);
}

fn other_refusals_are_passed_on_without_a_renewal(source: Source) {
    let device = Device::of(source);
    device.warm();
    for status in ["403 Forbidden", "407 Proxy", "404 Not Found", "500 Oh", "503 Busy"] {
        device.cloud().answer("/x", Script::answer(status, b"no").once());
        let answer = device.get("/c8y/x");
        assert!(status.starts_with(&answer.status.to_string()), "{status}: {}", answer.status);
    }
    assert_eq!(device.asked(), 1);
    assert_eq!(device.cloud().requests("/x").len(), 5);
}

fn a_token_is_renewed_before_it_runs_out_and_no_request_fails(source: Source) {
    let outside = Outside::of(source);
    let claims = Claims { life: Duration::from_secs(65), ..Claims::default() };
    outside.cloud.tokens().set(claims);
    let device = Device::among(outside, |_| {});
    let start = Instant::now();
    let mut sent = 0;
    while device.asked() < 3 {
        assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
        sent += 1;
        assert!(start.elapsed() < Duration::from_secs(60), "{}", device.asked());
        thread::sleep(Duration::from_millis(20));
    }
    let times = device.outside.times();
    assert_eq!(device.cloud().seen().requests.len(), sent, "nothing was sent twice");
    for pair in times.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(apart >= Duration::from_millis(4_500), "{apart:?} between two fetches");
    }
}

fn an_expired_token_is_never_the_reason_for_a_refusal(source: Source) {
    let outside = Outside::of(source);
    // Shorter than the minute before which it is renewed.
    let claims = Claims { life: Duration::from_secs(15), ..Claims::default() };
    outside.cloud.tokens().set(claims);
    let device = Device::among(outside, |_| {});
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(40) {
        assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
        thread::sleep(Duration::from_millis(50));
    }
    // Never more than one in 10 s, unless a 401 calls for it.
    assert!(device.asked() <= 6, "{} fetches in 40 s", device.asked());
}

fn an_idle_device_does_not_renew(source: Source) {
    let outside = Outside::of(source);
    let claims = Claims { life: Duration::from_secs(65), ..Claims::default() };
    outside.cloud.tokens().set(claims);
    let device = Device::among(outside, |_| {});
    device.warm();
    thread::sleep(Duration::from_secs(12));
    assert_eq!(device.asked(), 1);
}

fn a_clock_that_is_a_year_wrong_keeps_no_token_from_its_renewal(source: Source) {
    for ahead in [-YEAR, YEAR] {
        let outside = Outside::of(source);
        let life = Duration::from_secs(65);
        outside.cloud.tokens().set(Claims { life, ahead, ..Claims::default() });
        let device = Device::among(outside, |_| {});
        let start = Instant::now();
        while device.asked() < 2 {
            assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
            assert!(start.elapsed() < Duration::from_secs(20), "clock ahead {ahead} s");
            thread::sleep(Duration::from_millis(20));
        }
        assert!(start.elapsed() > Duration::from_millis(4_500), "{:?}", start.elapsed());
    }
}

fn a_clock_that_is_a_year_wrong_makes_no_difference(source: Source) {
    for ahead in [-YEAR, YEAR] {
        for iat in [true, false] {
            let outside = Outside::of(source);
            outside.cloud.tokens().set(Claims { ahead, iat, ..Claims::default() });
            let device = Device::among(outside, |_| {});
            for _ in 0..20 {
                assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
            }
            assert_eq!(device.asked(), 1, "clock ahead {ahead} s, iat {iat}");
            // A token that was refused early is not used for ever.
            device.cloud().tokens().revoke_all();
            assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
            assert_eq!(device.asked(), 2);
        }
    }
}

fn a_token_whose_end_cannot_be_read_is_used_until_a_401(source: Source) {
    let outside = Outside::of(source);
    outside.cloud.tokens().set(Claims { exp: false, ..Claims::default() });
    let device = Device::among(outside, |_| {});
    for _ in 0..5 {
        assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    }
    assert_eq!(device.asked(), 1);
    device.cloud().tokens().revoke_all();
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    assert_eq!(device.asked(), 2);
}

#[test]
fn the_question_is_an_empty_message_that_is_not_retained() {
    let device = Device::start();
    device.warm();
    let (_, message) = device.bridge().questions().remove(0);
    assert_eq!(message.topic, "c8y/s/uat");
    assert!(message.payload.is_empty(), "{:?}", message.payload);
    assert!(!message.retained);
    assert!(message.qos <= 1);
}

#[test]
fn a_prefix_of_topics_that_is_not_c8y_is_honoured() {
    use crate::support::bridge::Bridge;
    let outside = Outside::new();
    let other = Bridge::start(&outside.cloud, outside.broker.address(), "c8y-second");
    other.wait_connected(SOON);
    let device = Device::among(outside, |setup| {
        setup.set("c8y.bridge.topic_prefix", "c8y-second");
    });
    device.warm();
    assert_eq!((device.bridge().asked(), other.asked()), (0, 1));
}

fn no_secret_is_in_the_log(source: Source) {
    let device = Device::among(Outside::of(source), |setup| setup.environment("RUST_LOG", "trace"));
    device.warm();
    device.ask("GET /c8y/x HTTP/1.1\r\nHost: a\r\nAuthorization: Basic c2VjcmV0\r\n\r\n");
    let seen = device.cloud().seen().requests;
    device.cloud().tokens().revoke_all();
    device.warm();
    let log = device.proxy.log();
    assert!(!log.contains("eyJ"), "a token is in the log: {log}");
    assert!(!log.contains("c2VjcmV0"), "a password is in the log: {log}");
    assert!(!seen.is_empty());
}
