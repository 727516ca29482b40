//! Broker, bridge and cloud disappear and return. The proxy keeps running, logs each change once,
//! and connects to them again.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::bridge::Answer;
use crate::support::device::{Device, Outside, PROGRAM, SOON};
use crate::support::service::Service;

/// A broker that returns is found within the longest back-off that a short absence can cause.
const BACK: Duration = Duration::from_secs(30);

fn wait_until_it_works(device: &Device, limit: Duration) {
    let start = Instant::now();
    loop {
        let answer = device.get("/c8y/tenant/currentTenant");
        if answer.status == 200 {
            return;
        }
        assert!(start.elapsed() < limit, "after {limit:?}: {} {}", answer.status, answer.text());
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_silent_bridge_keeps_all_who_wait_for_20_seconds_together() {
    let device = Device::start();
    device.bridge().answer(Answer::Nothing);
    let start = Instant::now();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..20)
            .map(|number| {
                let device = &device;
                scope.spawn(move || {
                    // Some come later: they wait no longer than the first.
                    thread::sleep(Duration::from_millis(500 * number));
                    let answer = device.get("/c8y/tenant/currentTenant");
                    (answer.status, answer.text(), start.elapsed())
                })
            })
            .collect();
        device.bridge().wait_asked(1, SOON);
        let own = "GET /c8y/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n";
        assert_eq!(device.ask(own).status, 401);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        for waiting in waiting {
            let (status, text, after) = waiting.join().unwrap();
            assert_eq!(status, 502);
            assert!(text.starts_with("Error communicating with Cumulocity: "), "{text}");
            assert!(after < Duration::from_secs(21), "{after:?}");
        }
    });
    // One fetch, which asks every 5 s, and on a busy machine once more as it ends.
    let asked = device.bridge().asked();
    assert!((2..=5).contains(&asked), "{asked} questions");
    device.bridge().answer(Answer::Token);
    wait_until_it_works(&device, BACK);
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_broker_that_accepts_and_says_nothing_is_as_silent() {
    let outside = Outside::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let device = Device::among(outside, |setup| setup.set_raw("mqtt.client.port", port));
    let start = Instant::now();
    let answer = device.get("/c8y/x");
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(start.elapsed() < Duration::from_secs(22), "{:?}", start.elapsed());
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_slow_bridge_is_waited_for() {
    let device = Device::start();
    device.bridge().answer(Answer::Late(Duration::from_secs(15)));
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    let asked = device.bridge().asked();
    assert!((2..=4).contains(&asked), "{asked} questions");
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_question_that_is_lost_is_asked_again_and_all_who_wait_are_served() {
    let device = Device::start();
    device.bridge().leave();
    thread::scope(|scope| {
        let start = Instant::now();
        let get = || device.get("/c8y/tenant/currentTenant").status;
        let waiting: Vec<_> = (0..5).map(|_| scope.spawn(get)).collect();
        // The first request is certainly lost: no bridge was there to forward it.
        thread::sleep(Duration::from_secs(2));
        device.bridge().come_back();
        for waiting in waiting {
            assert_eq!(waiting.join().unwrap(), 200);
        }
        assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    });
    assert_eq!(device.bridge().asked(), 1, "they share one answer");
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_token_that_comes_too_late_does_no_harm() {
    let device = Device::start();
    device.bridge().answer(Answer::Late(Duration::from_secs(22)));
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 502);
    device.bridge().answer(Answer::Token);
    wait_until_it_works(&device, BACK);
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn it_starts_without_a_broker_and_finds_it_later() {
    let mut outside = Outside::new();
    outside.stop_broker();
    let mut device = Device::among(outside, |_| {});
    let answer = device.get("/c8y/tenant/currentTenant");
    assert_eq!(answer.status, 502);
    let text = answer.text();
    assert!(text.starts_with("Error communicating with Cumulocity: "), "{text}");
    assert!(text.contains("it does not accept connections; see mqtt.client.host"), "{text}");
    assert!(device.proxy.is_running());
    device.outside.restart_broker();
    wait_until_it_works(&device, BACK);
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn it_does_not_wait_for_a_broker_before_it_serves_and_says_so_once() {
    let mut outside = Outside::new();
    outside.stop_broker();
    let start = Instant::now();
    let device = Device::among(outside, |_| {});
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    thread::sleep(Duration::from_secs(10));
    let port = device.outside.broker.address().port().to_string();
    let log = device.proxy.log();
    let complaints = log.lines().filter(|line| line.contains(&port)).count();
    assert_eq!(complaints, 1, "{log}");
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_broker_that_restarts_is_found_again() {
    let mut device = Device::start();
    device.warm();
    device.outside.stop_broker();
    // A token that was fetched before is used without a broker.
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    device.cloud().tokens().revoke_all();
    let answer = device.get("/c8y/tenant/currentTenant");
    assert!(matches!(answer.status, 401 | 502), "{} {}", answer.status, answer.text());
    device.outside.restart_broker();
    wait_until_it_works(&device, BACK);
    let log = device.proxy.log();
    let said = |words| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!((said("connected to the broker"), said("WARN  the broker at ")), (2, 1), "{log}");
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_bridge_that_restarts_is_found_again() {
    let device = Device::start();
    device.warm();
    device.bridge().leave();
    device.cloud().tokens().revoke_all();
    let start = Instant::now();
    let answer = device.get("/c8y/tenant/currentTenant");
    assert!(matches!(answer.status, 401 | 502), "{} {}", answer.status, answer.text());
    assert!(start.elapsed() < Duration::from_secs(21));
    device.bridge().come_back();
    wait_until_it_works(&device, BACK);
}

#[test]
fn a_token_of_before_is_never_taken_for_an_answer() {
    // An old answer was retained on the topic. It does not answer our request.
    let outside = Outside::new();
    let old = outside.cloud.tokens().issue();
    outside.cloud.tokens().revoke(&old);
    let port = outside.broker.address().port().to_string();
    let status = std::process::Command::new("mosquitto_pub")
        .args(["-p", &port, "-r", "-q", "1", "-t", "c8y/s/dat", "-m", &format!("71,{old}")])
        .status()
        .unwrap();
    assert!(status.success());
    let device = Device::among(outside, |_| {});
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    let seen = device.cloud().seen().requests;
    assert!(seen.iter().all(|request| request.bearer() != Some(old.as_str())), "{seen:?}");
}

#[test]
fn a_cloud_that_restarts_is_found_again() {
    let mut device = Device::start();
    device.warm();
    device.outside.cloud.stop();
    let answer = device.get("/c8y/tenant/currentTenant");
    assert_eq!(answer.status, 502);
    assert!(answer.text().starts_with("Error communicating with Cumulocity: "));
    device.outside.cloud.restart().unwrap();
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    assert_eq!(device.bridge().asked(), 1);
}

#[test]
fn nothing_configured_is_told_with_the_command_that_helps() {
    let ended = Service::run(PROGRAM, |setup| setup.set_raw("c8y.proxy.bind.port", 0));
    assert_eq!(ended.code(), 78);
    assert!(ended.log.contains("tedge config set c8y.url"), "{}", ended.log);
}
