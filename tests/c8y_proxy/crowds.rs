//! WebSockets and requests that the cloud has not answered yet are not closed because nothing is
//! transferred, and leave a quarter of the places to others. Answers that the cloud sends too
//! slowly are closed when all places are taken.

use std::time::Duration;

use crate::support::client::{Client, connect_from};
use crate::support::cloud::Script;
use crate::support::device::{Device, SOON};
use crate::support::wait::within;
use crate::support::websocket::WebSocket;

const PLACES: usize = 16;
const SHARE: usize = PLACES * 3 / 4;
/// How long somebody new may wait.
const PATIENCE: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

fn small() -> Device {
    with_places(PLACES)
}

fn with_places(places: usize) -> Device {
    let device = Device::with(|setup| setup.set_own("c8y.proxy.connections.max", places));
    device.warm();
    device
}

#[track_caller]
fn assert_somebody_new_is_answered(device: &Device) {
    for round in 0..3 {
        within(PATIENCE, || {
            assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200, "round {round}");
        });
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

        // Clients whose connection was closed got the reason; the others still wait.
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

#[test]
fn of_the_fewest_places_one_is_quiet_and_the_other_for_somebody_new() {
    let device = with_places(2);
    device.cloud().answer("/poll", Script::new().read().hold());
    let mut open = WebSocket::ask(device.connect(), "/c8y/service/echo", "").unwrap();
    let polls = request_from_many(&device, "/c8y/poll", 3);
    assert_somebody_new_is_answered(&device);
    open.echo("still there");
    drop(polls);
}

/// An answer in so many pieces of so many bytes, with a pause after each.
fn drip(pieces: usize, bytes: usize, pause: Duration) -> Script {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", pieces * bytes);
    (0..pieces).fold(Script::new().read().send(head), |script, _| {
        script.send(vec![b'x'; bytes]).pause(pause)
    })
}

/// Requests this path, from an address of its own for each client.
fn request_from_many(device: &Device, path: &str, count: usize) -> Vec<Client> {
    let clients = (0..count).map(|number| {
        let socket = connect_from(60 + number as u8, device.proxy.address, 4096);
        let mut client = Client::over(socket);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
        client
    });
    clients.collect()
}

#[test]
fn answers_that_the_cloud_drips_keep_nobody_waiting() {
    for times in [1, 5] {
        let device = small();
        device.cloud().answer("/drip", drip(60, 1, SECOND));
        // A download over a slow uplink, 10 KB a second, longer than an answer that drips is kept.
        device.cloud().answer("/slow", drip(60, 2000, SECOND / 5));
        let mut download = Client::over(connect_from(50, device.proxy.address, 200_000));
        download.send("GET /c8y/slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let clients = request_from_many(&device, "/c8y/drip", times * PLACES);
        std::thread::sleep(Duration::from_millis(500));
        assert_somebody_new_is_answered(&device);
        device.proxy.wait_for("its answer comes at less than 500 bytes a second", SOON);

        download.set_patience(Duration::from_secs(20));
        assert_eq!(download.answer().body.len(), 120_000, "{times}");
        drop(clients);
    }
}

#[test]
fn an_answer_that_the_cloud_drips_is_not_cut_while_places_are_free() {
    let device = small();
    device.cloud().answer("/drip", drip(8, 1, SECOND));
    let mut clients = request_from_many(&device, "/c8y/drip", PLACES - 4);
    std::thread::sleep(Duration::from_secs(4));
    assert_somebody_new_is_answered(&device);
    for client in &mut clients {
        client.set_patience(Duration::from_secs(20));
        assert_eq!(client.answer().body.len(), 8);
    }
}
