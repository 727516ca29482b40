//! What is quiet by design, WebSockets and requests that the cloud has not answered yet, is not cut
//! for it, and leaves a quarter of the places to others.

use std::time::{Duration, Instant};

use crate::support::client::{Client, connect_from};
use crate::support::cloud::Script;
use crate::support::device::Device;
use crate::support::websocket::WebSocket;

const PLACES: usize = 16;
const SHARE: usize = PLACES * 3 / 4;
/// How long somebody new may wait.
const PATIENCE: Duration = Duration::from_secs(5);

fn small() -> Device {
    let device = Device::with(|setup| setup.set_own("c8y.proxy.connections.max", PLACES));
    device.warm();
    device
}

#[track_caller]
fn assert_somebody_new_is_answered(device: &Device) {
    for round in 0..3 {
        let begun = Instant::now();
        assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200, "round {round}");
        assert!(begun.elapsed() <= PATIENCE, "round {round}: {:?}", begun.elapsed());
    }
}

#[test]
fn websockets_take_three_quarters_of_the_places_and_are_not_cut() {
    for count in [PLACES, 5 * PLACES] {
        let device = small();
        let mut open = Vec::new();
        for number in 0..count {
            let client = WebSocket::ask(device.connect(), "/c8y/service/echo", "").unwrap();
            if number < SHARE {
                assert!(client.is_open(), "{number}: {:?}", client.answer);
                open.push(client);
            } else {
                assert_eq!(client.answer.status, 503, "{number}");
                assert!(client.answer.field("retry-after").is_some());
            }
        }
        assert_somebody_new_is_answered(&device);
        for client in &mut open {
            client.echo("still there");
        }
    }
}

#[test]
fn requests_that_the_cloud_does_not_answer_keep_nobody_waiting() {
    for (times, hosts) in [(1, 1), (2, 7), (5, 1), (5, 7)] {
        let device = small();
        device.cloud().answer("/poll", Script::new().read().hold());
        let connect = |number| {
            let host = 60 + (number % hosts) as u8;
            Client::over(connect_from(host, device.proxy.address, 4096))
        };
        let mut polls: Vec<Client> = (0..times * PLACES).map(connect).collect();
        for poll in &mut polls {
            poll.send("GET /c8y/poll HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        }
        std::thread::sleep(Duration::from_millis(500));
        assert_somebody_new_is_answered(&device);

        // Whoever had to go was told so; the others wait on.
        let mut waiting = 0;
        for poll in &mut polls {
            poll.set_patience(Duration::from_millis(10));
            match poll.try_answer() {
                Ok(Some(answer)) => {
                    assert_eq!(answer.status, 503);
                    assert!(answer.field("retry-after").is_some());
                }
                Ok(None) => panic!("closed without an answer"),
                Err(_) => waiting += 1,
            }
        }
        assert!(waiting >= SHARE, "{waiting} of {} wait on", polls.len());
    }
}
