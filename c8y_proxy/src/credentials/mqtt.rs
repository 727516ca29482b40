//! A token by way of the broker: an empty message asks Cumulocity for it, the answer is the token.
//!
//! Here is the asking; the `keeper` keeps the connection. This module knows nothing of how long a
//! token lives or who waits for it.

mod keeper;
mod tunnel;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_executor::Executor;
use async_io::Timer;
use common::net::Origin;
use event_listener::Event;
use futures_lite::FutureExt;
use paho_mqtt::{AsyncClient, Message};
use rustls::ClientConfig;

use self::keeper::Keeper;
use super::{Error, Source, jwt};

/// At least once: the message is lost with the connection, and then asked for again.
const QOS: i32 = 1;

/// A question that is not answered for so long is asked again: the broker took it, but the bridge
/// was not there to carry it on, and nobody tells us. Whoever asks decides when to give up.
const PATIENCE: Duration = Duration::from_secs(5);

/// The broker (`mqtt.client.*`), and what to ask it for.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Where it is.
    pub origin: Origin,
    /// Where to log in as a user: the name, and the file that holds the password.
    pub login: Option<(String, Option<PathBuf>)>,
    /// TLS with this configuration. Plain where there is none.
    pub tls: Option<Arc<ClientConfig>>,
    /// Where a directory for a socket may be made, for TLS; `RUNTIME_DIRECTORY` is such a place.
    pub runtime_directory: PathBuf,
    /// `c8y.bridge.topic_prefix`.
    pub topic_prefix: String,
}

/// A standing connection to the broker.
pub(super) struct Mqtt {
    line: Arc<Line>,
    client: AsyncClient,
}

/// What the task, paho's threads and those who ask have in common.
struct Line {
    address: String,
    ask: String,
    answer: String,
    state: Mutex<State>,
    changed: Event,
}

struct State {
    /// Connection and subscription stand. The client itself is not here: paho must not drop it
    /// in one of its own callbacks, and they hold what is.
    is_up: bool,
    /// Why they do not.
    trouble: String,
    /// What the log has been told last: that they stand, or that they do not.
    told: Option<bool>,
    /// The last message on the topic of the answers.
    message: Option<Vec<u8>>,
    /// Somebody wants a token.
    wanted: bool,
}

impl Mqtt {
    /// Starts to look for the broker.
    pub(super) fn start(
        broker: Broker,
        executor: &Executor<'static>,
    ) -> Result<Self, common::error::Error> {
        let fault = common::error::Error::Configuration;
        let prefix = &broker.topic_prefix;
        if prefix.is_empty() || prefix.contains(['+', '#', '\0']) {
            return Err(fault(format!("c8y.bridge.topic_prefix: \"{prefix}\" is no topic")));
        }
        let line = Arc::new(Line {
            address: broker.origin.to_string(),
            ask: format!("{prefix}/s/uat"),
            answer: format!("{prefix}/s/dat"),
            state: Mutex::new(State {
                is_up: false,
                trouble: "it has not answered yet".to_owned(),
                told: None,
                message: None,
                wanted: false,
            }),
            changed: Event::new(),
        });
        let keeper = Keeper::new(broker, Arc::clone(&line)).map_err(fault)?;
        let client = keeper.client();
        executor.spawn(keeper.keep()).detach();
        Ok(Self { line, client })
    }

    /// Asks, and asks again if the connection is lost before the answer or the answer stays away.
    async fn ask(&self) -> Result<String, Error> {
        let line = &self.line;
        line.change(|state| {
            state.wanted = true;
            state.message = None;
        });
        let answer = loop {
            line.until(|state| state.is_up.then_some(())).await;
            drop(self.client.publish(Message::new(line.ask.as_str(), "", QOS)));
            let came = line.until(|state| match state.message.take() {
                Some(message) => Some(Some(message)),
                None => (!state.is_up).then_some(None),
            });
            let lost = async {
                Timer::after(PATIENCE).await;
                None
            };
            if let Some(message) = came.or(lost).await {
                break message;
            }
        };
        line.change(|state| state.wanted = false);
        let malformed = |fault| Error::Malformed { topic: line.answer.clone(), fault };
        jwt::from_answer(&answer).map(str::to_owned).map_err(malformed)
    }
}

impl Source for Mqtt {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String, Error>> + Send + '_>> {
        Box::pin(self.ask())
    }

    fn waiting(&self) -> String {
        let line = &self.line;
        let state = line.state();
        if state.is_up {
            format!("no answer on {}; is the bridge to Cumulocity up?", line.answer)
        } else {
            format!("the broker at {} is away: {}", line.address, state.trouble)
        }
    }

    fn is_connected(&self) -> bool {
        self.line.state().is_up
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify(usize::MAX);
    }

    /// The connection stands.
    fn up(&self) {
        self.change(|state| state.is_up = true);
        if self.state().told.replace(true) != Some(true) {
            log::info!("connected to the broker at {}", self.address);
        }
    }

    /// There is no connection, for this reason.
    fn down(&self, trouble: String) {
        if self.state().told.replace(false) != Some(false) {
            log::warn!("the broker at {} is away: {trouble}", self.address);
        }
        self.change(|state| {
            state.is_up = false;
            state.trouble = trouble;
        });
    }

    /// Waits until `look` sees what it looks for.
    async fn until<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.listen();
            if let Some(seen) = look(&mut self.state()) {
                return seen;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests;
