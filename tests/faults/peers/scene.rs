//! A service, and the well-behaved client beside those that are not.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::support::certificates::{Authority, Key};
use crate::support::client::{self, Client};
use crate::support::service::{SOON, Service};
use crate::{bytes, prepare, request};

/// What everybody asks for.
pub(super) const SMALL: &str = "small";
/// What some never read to its end.
pub(super) const LARGE: &str = "large";

pub(super) struct Scene {
    pub(super) service: Service,
    /// How to speak TLS to it, where it speaks TLS.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// How long answers took.
#[derive(Default)]
pub(super) struct Waits {
    /// Over a connection that stays open.
    kept: Vec<Duration>,
    /// Over a new one, from the first packet on.
    fresh: Vec<Duration>,
}

impl Scene {
    pub(super) fn start(program: &str, is_tls: bool, wrapper: &[&str]) -> Self {
        let mut tls = None;
        let service = Service::start(program, |setup| {
            prepare(setup);
            setup.wrap(wrapper);
            if is_tls {
                let authority = Authority::new(setup.directory(), "ca");
                let pair = authority.server("server", Key::P256);
                setup.set("http.cert_path", pair.cert);
                setup.set("http.key_path", pair.key);
                tls = Some(client::tls(&authority.cert, None));
            }
        });
        let scene = Self { service, tls };
        let content = bytes(20_000_000, 71);
        for (name, content) in [(SMALL, &content[..1000]), (LARGE, &content)] {
            let status = scene.connect().unwrap().exchange(crate::put(name, content)).status;
            assert_eq!(status, 201);
        }
        scene
    }

    pub(super) fn connect(&self) -> io::Result<Client> {
        match &self.tls {
            None => Ok(Client::connect(self.service.address)),
            Some(config) => Client::connect_tls(self.service.address, config),
        }
    }

    /// What a well-behaved client sees for so long. It asks again over a new connection where it
    /// was an idle one that had to make room, as clients do, and that counts as waiting.
    pub(super) fn wait_for_answers(&self, limit: Duration) -> Waits {
        let (begun, mut waits) = (Instant::now(), Waits::default());
        let mut kept = None;
        while begun.elapsed() < limit {
            for _ in 0..4 {
                let asked = Instant::now();
                self.ask(&mut kept);
                waits.kept.push(asked.elapsed());
                thread::sleep(Duration::from_millis(1));
            }
            let asked = Instant::now();
            self.ask(&mut None);
            waits.fresh.push(asked.elapsed());
        }
        waits
    }

    fn ask(&self, client: &mut Option<Client>) {
        let begun = Instant::now();
        for attempt in 0.. {
            if attempt >= 10 {
                assert!(begun.elapsed() < SOON, "a well-behaved client is not served");
                // On a slow disk those who were there first are answered first.
                thread::sleep(Duration::from_millis(20));
            }
            let mut open = match client.take() {
                Some(open) => open,
                None => match self.connect() {
                    Ok(open) => open,
                    Err(_) => continue,
                },
            };
            let answer = open.send(request("GET", SMALL)).and_then(|()| open.try_answer());
            if let Ok(Some(answer)) = answer {
                assert_eq!((answer.status, answer.body.len()), (200, 1000));
                *client = Some(open);
                return;
            }
        }
    }
}

impl Waits {
    pub(super) fn add(&mut self, more: Self) {
        self.kept.extend(more.kept);
        self.fresh.extend(more.fresh);
    }

    /// The 99th percentiles, over the kept connection and over new ones.
    pub(super) fn p99(&mut self) -> [Duration; 2] {
        [&mut self.kept, &mut self.fresh].map(|waits| {
            waits.sort();
            waits[waits.len() * 99 / 100]
        })
    }
}
