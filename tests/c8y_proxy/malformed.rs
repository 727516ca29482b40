//! Invalid messages on `<prefix>/s/dat`: an error in the log and for the waiting clients, no panic,
//! and none of it is sent to the cloud.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::bridge::{Answer, Bridge};
use crate::support::client::ask;
use crate::support::device::{Outside, PROGRAM, SOON};
use crate::support::service::Service;

/// No token at all: none of it may leave the device.
static NONE: &[&[u8]] = &[
    b"",
    b"7",
    b"71",
    b"71,",
    b"71,,",
    b"71, ",
    b"70,eyJ.eyJ.x",
    b"71;token",
    b"41,100,Bad request",
    b"71,new\r\nX-Injected: 1",
    b"71,nul\0byte",
    b"71,\xff\xfe\xfd",
    "71,Umläute".as_bytes(),
    b"\xff\xfe",
    &[b'7'; 16_000],
];

/// Perhaps a token, as far as a device can tell. The cloud refuses each.
const DOUBTFUL: &[&[u8]] = &[
    b"71,no-dots",
    b"71,a.b.c",
    b"71,..",
    b"71,.....",
    b"71,eyJhbGciOiJIUzI1NiJ9.bm90IGpzb24.c2ln",
    b"71,eyJhbGciOiJIUzI1NiJ9.eyJleHAiOiJ0b21vcnJvdyJ9.c2ln",
    b"71,eyJhbGciOiJIUzI1NiJ9.eyJleHAiOi0xfQ.c2ln",
    b"71,eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjFlOTk5fQ.c2ln",
    b"71,eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE4NDQ2NzQ0MDczNzA5NTUxNjE1fQ.c2ln",
];

const GET: &str = "GET /c8y/tenant/currentTenant HTTP/1.1\r\nHost: a\r\n\r\n";

/// A proxy with its own topics, at a broker and a cloud that it shares with others. After an answer
/// that is not a token, it does not ask again for ten seconds.
struct Neighbour {
    bridge: Bridge,
    proxy: Service,
}

impl Neighbour {
    fn start(outside: &Outside, number: usize, answer: &[u8]) -> Self {
        let prefix = format!("c8y-{number}");
        let bridge = Bridge::start(&outside.cloud, outside.broker.address(), &prefix);
        bridge.wait_connected(SOON);
        bridge.answer(Answer::Payload(answer.to_vec()));
        let proxy = Service::start(PROGRAM, |setup| {
            outside.settings(setup);
            setup.set("c8y.bridge.topic_prefix", prefix);
        });
        Self { bridge, proxy }
    }

    fn get(&self) -> (u16, String) {
        let answer = ask(self.proxy.address, GET).unwrap();
        (answer.status, answer.text())
    }

    /// Sends requests until one succeeds, as soon as the bridge sends valid answers again.
    fn recovers(&self) {
        self.bridge.answer(Answer::Token);
        let start = Instant::now();
        while self.get().0 != 200 {
            assert!(start.elapsed() < Duration::from_secs(15), "{}", self.proxy.log());
            thread::sleep(Duration::from_millis(100));
        }
        assert!(!self.proxy.log().contains("panicked"), "{}", self.proxy.log());
    }
}

/// Tries all of these at once, each with a proxy of its own.
fn with_each(answers: &[&[u8]], check: impl Fn(&Neighbour, &str) + Sync) {
    let outside = Outside::new();
    thread::scope(|scope| {
        for (number, answer) in answers.iter().enumerate() {
            let (outside, check) = (&outside, &check);
            scope.spawn(move || {
                let shown = answer[..answer.len().min(60)].escape_ascii().to_string();
                let neighbour = Neighbour::start(outside, number, answer);
                check(&neighbour, &shown);
                neighbour.recovers();
            });
        }
    });
    for request in outside.cloud.seen().requests {
        assert!(request.field("x-injected").is_none());
    }
}

#[test]
fn an_answer_that_is_no_token_is_told_and_logged_and_not_asked_for_again_at_once() {
    with_each(NONE, |neighbour, shown| {
        let start = Instant::now();
        for _ in 0..5 {
            let (status, text) = neighbour.get();
            assert_eq!(status, 502, "{shown}: {text}");
            assert!(text.starts_with("Error communicating with Cumulocity: "), "{shown}: {text}");
            assert!(text.contains("is not a token: "), "{shown}: {text}");
        }
        assert!(start.elapsed() < Duration::from_secs(9), "{shown}: {:?}", start.elapsed());
        assert_eq!(neighbour.bridge.asked(), 1, "{shown}");
        neighbour.proxy.wait_for("is not a token: ", SOON);
    });
}

#[test]
fn a_token_that_makes_no_sense_is_the_clouds_to_refuse() {
    with_each(DOUBTFUL, |neighbour, shown| {
        let (status, text) = neighbour.get();
        assert_eq!(status, 401, "{shown}: {text}");
        assert_eq!(neighbour.bridge.asked(), 2, "{shown}: one renewal");
    });
}
