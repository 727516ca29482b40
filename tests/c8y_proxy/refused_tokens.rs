//! The cloud refuses a token, and there is no other: the 401 is forwarded, and other clients do not
//! wait.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::bridge::Answer;
use crate::support::cloud::Script;
use crate::support::device::{Device, SOON};
use crate::support::wait::eventually;

/// A new token is waited for for 8 s; the rest is for a busy machine.
const LIMIT: Duration = Duration::from_secs(11);

/// Asks for `/x` a hundred times at the same time.
fn storm_of_100(device: &Device) -> Vec<u16> {
    let mut clients: Vec<_> = (0..100).map(|_| device.connect()).collect();
    for client in &mut clients {
        client.send("GET /c8y/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    clients.iter_mut().map(|client| client.answer_to("GET").unwrap().status).collect()
}

#[test]
fn a_401_is_passed_on_soon_while_no_token_comes_and_others_are_served() {
    for away in [false, true] {
        let mut device = Device::with(|setup| setup.set_own("c8y.proxy.connections.max", 200));
        device.warm();
        if away {
            device.outside.stop_broker();
        } else {
            device.bridge().answer(Answer::Nothing);
        }
        device.cloud().answer("/x", Script::answer("401 Unauthorized", b"no"));
        thread::scope(|scope| {
            let storm = scope.spawn(|| {
                let start = Instant::now();
                assert_eq!(storm_of_100(&device), [401; 100]);
                start.elapsed()
            });
            // The cloud still accepts the token for everything else.
            let start = Instant::now();
            while !storm.is_finished() {
                let before = Instant::now();
                assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
                // Who waits for a token waits for 8 s; the rest is for a busy machine.
                assert!(before.elapsed() < Duration::from_secs(4), "{:?}", before.elapsed());
                thread::sleep(Duration::from_millis(50));
            }
            assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
            let took = storm.join().unwrap();
            assert!(took < LIMIT, "{took:?}");
        });
        let seen = device.cloud().requests("/x");
        assert_eq!(seen.len(), 100, "nothing is sent again with the token that was refused");
    }
}

#[test]
fn a_revoked_token_costs_one_wait_and_then_no_request_waits() {
    let device = Device::start();
    device.warm();
    device.bridge().answer(Answer::Nothing);
    device.cloud().tokens().revoke_all();
    let start = Instant::now();
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 401);
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    let begun = Instant::now();
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(device.get("/c8y/tenant/currentTenant").status, 401);
        let body = vec![b'x'; 64 * 1024 + 1];
        assert_eq!(device.post("/c8y/service/echo", &body).status, 401);
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    }
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    device.bridge().answer(Answer::Token);
    eventually("the new token is used", SOON, || {
        device.get("/c8y/tenant/currentTenant").status == 200
    });
}
