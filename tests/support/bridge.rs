//! The far end of the MQTT bridge: what Cumulocity does when a device asks for a token on
//! `<prefix>/s/uat`, seen from the local broker. It can be slow, silent, talk nonsense, or leave.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::cloud::{Cloud, Inner};
use super::mqtt::{Client, Message};

/// How the bridge answers those who ask for a token.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// With a token, at once.
    Token,
    /// With a token, after that long.
    Late(Duration),
    /// Not at all.
    Nothing,
    /// With this payload.
    Payload(Vec<u8>),
}

/// A running bridge; it ends when it is dropped.
pub(crate) struct Bridge {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    cloud: Arc<Inner>,
    broker: SocketAddr,
    prefix: String,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    answer: Answer,
    away: bool,
    ended: bool,
    connected: bool,
    asked: Vec<(Instant, Message)>,
}

impl Bridge {
    /// Joins a broker, which may be away, to the tokens of a cloud.
    pub(crate) fn start(cloud: &Cloud, broker: SocketAddr, prefix: &str) -> Self {
        let state = State {
            answer: Answer::Token,
            away: false,
            ended: false,
            connected: false,
            asked: Vec::new(),
        };
        let shared = Arc::new(Shared {
            cloud: cloud.shared(),
            broker,
            prefix: prefix.to_owned(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let mine = shared.clone();
        let thread = Some(thread::spawn(move || mine.run()));
        Self { shared, thread }
    }

    /// Answers in this way from now on.
    pub(crate) fn answer(&self, answer: Answer) {
        self.shared.state().answer = answer;
    }

    /// Waits until the bridge is at the broker, subscribed.
    pub(crate) fn wait_connected(&self, limit: Duration) {
        self.wait(limit, "the bridge does not reach the broker", |state| state.connected);
    }

    /// Leaves the broker, and returns when it has left.
    pub(crate) fn leave(&self) {
        self.shared.state().away = true;
        let limit = Duration::from_secs(10);
        self.wait(limit, "the bridge does not leave", |state| !state.connected);
    }

    /// Waits until the bridge has noticed that the broker is gone.
    pub(crate) fn wait_gone(&self, limit: Duration) {
        self.wait(limit, "the bridge does not notice", |state| !state.connected);
    }

    /// Comes back after [`Self::leave`].
    pub(crate) fn come_back(&self) {
        self.shared.state().away = false;
        self.wait_connected(Duration::from_secs(10));
    }

    /// How often somebody asked for a token.
    pub(crate) fn asked(&self) -> usize {
        self.shared.state().asked.len()
    }

    /// When somebody asked for a token, and with what message.
    pub(crate) fn questions(&self) -> Vec<(Instant, Message)> {
        self.shared.state().asked.clone()
    }

    /// Waits until somebody has asked that often.
    pub(crate) fn wait_asked(&self, times: usize, limit: Duration) {
        self.wait(limit, "nobody asks for a token", |state| state.asked.len() >= times);
    }

    fn wait(&self, limit: Duration, what: &str, enough: impl Fn(&State) -> bool) {
        let end = Instant::now() + limit;
        let mut state = self.shared.state();
        while !enough(&state) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} within {limit:?}");
            let woken = self.shared.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed already.
            let _ended = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        while !self.state().ended {
            if !self.state().away {
                // Tests stop the broker: try again until it is back.
                let _left = self.serve();
                self.change(|state| state.connected = false);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn serve(&self) -> io::Result<()> {
        let mut client = Client::connect(self.broker, &format!("bridge-{}", self.prefix))?;
        let (asking, answering) =
            (format!("{}/s/uat", self.prefix), format!("{}/s/dat", self.prefix));
        client.subscribe(&asking)?;
        self.change(|state| state.connected = true);
        let mut late = Vec::new();
        loop {
            let leaving = {
                let state = self.state();
                state.away || state.ended
            };
            if leaving {
                return Ok(());
            }
            if let Some(message) = client.receive(Duration::from_millis(10))? {
                match self.note(message) {
                    Answer::Token => late.push(Instant::now()),
                    Answer::Late(time) => late.push(Instant::now() + time),
                    Answer::Nothing => {}
                    Answer::Payload(payload) => client.publish(&answering, &payload)?,
                }
            }
            let now = Instant::now();
            let (due, waiting): (Vec<_>, _) = late.into_iter().partition(|due| *due <= now);
            late = waiting;
            for _due in due {
                let token = format!("71,{}", self.cloud.tokens.issue());
                client.publish(&answering, token.as_bytes())?;
            }
        }
    }

    /// Counts a question; returns how to answer it.
    fn note(&self, question: Message) -> Answer {
        let mut state = self.state();
        state.asked.push((Instant::now(), question));
        self.changed.notify_all();
        state.answer.clone()
    }

    fn change(&self, write: impl FnOnce(&mut State)) {
        write(&mut self.state());
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
