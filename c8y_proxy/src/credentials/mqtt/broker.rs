//! The broker: its configuration and the state of the connection. The task that connects, paho's
//! threads and the tasks that request a token share it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::net::Origin;
use common::tls::{ReloadingClient, explain_io};
use event_listener::Event;

use super::health::Health;
use super::packets::BadPacket;

/// Where the broker is (`mqtt.client.*`), and the topics.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// Where it is.
    pub origin: Origin,
    /// The user name, and the file with the password, if the broker requires a login.
    pub login: Option<(String, Option<PathBuf>)>,
    /// TLS to the broker; `None` without TLS.
    pub trust: Option<Arc<ReloadingClient>>,
    /// A directory in which a directory for a socket can be made, such as `RUNTIME_DIRECTORY`.
    pub runtime_directory: PathBuf,
    /// `c8y.bridge.topic_prefix`.
    pub topic_prefix: String,
    /// The topics of the proxy's health, if it publishes it.
    pub health: Option<Health>,
}

impl BrokerOptions {
    /// Reads the password, as a connection does. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// Names the setting, the file and its fault.
    pub(in crate::credentials) fn check(&self) -> Result<(), common::error::Error> {
        if let Some((_, Some(path))) = &self.login {
            let read = read_password(path);
            read.map_err(|error| common::error::Error::Configuration(error.to_string()))?;
        }
        Ok(())
    }
}

/// Blocks on the disk.
pub(super) fn read_password(path: &Path) -> Result<Vec<u8>, Outage> {
    let read = || -> io::Result<Vec<u8>> {
        let bytes = common::staging::read(path)?;
        Ok(common::staging::password(&bytes)?.into())
    };
    read().map_err(|error| Outage::Password(path.to_owned(), Arc::new(error)))
}

/// Why there is no connection. Displayed after "the broker at … is not available: ".
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Outage {
    #[error("it has not answered yet")]
    NotTried,
    #[error("it does not accept connections; see mqtt.client.host and mqtt.client.port")]
    NotReached,
    #[error("it does not accept connections; see mqtt.client.host and mqtt.client.port ({0})")]
    Socket(Arc<io::Error>),
    #[error("no answer within {0} s")]
    Silent(u64),
    #[error("it refuses the connection: {0}; see mqtt.client.auth.username")]
    Refused(paho_mqtt::ConnectReturnCode),
    #[error("it refuses the subscription to {0}: {1}")]
    NotSubscribed(String, String),
    #[error("the connection was lost")]
    Lost,
    #[error("it has not acknowledged a message for {0} s")]
    NotAcknowledged(u64),
    #[error("{0}")]
    Other(String),
    #[error("TLS failed: {}", explain_io(.0))]
    Tls(Arc<io::Error>),
    #[error("the connection was interrupted: {}", explain_io(.0))]
    Broken(Arc<io::Error>),
    #[error(transparent)]
    BadPacket(BadPacket),
    #[error("{}: {}", .0.display(), .1)]
    Directory(PathBuf, Arc<io::Error>),
    #[error("mqtt.client.auth.password_file: {}: {}", .0.display(), .1)]
    Password(PathBuf, Arc<io::Error>),
}

/// A request for a token. An answer is kept only while there is a request.
pub(super) enum Question {
    None,
    Asked,
    Answered(Vec<u8>),
}

pub(super) struct Broker {
    pub(super) address: String,
    /// An empty message on this topic requests a token.
    pub(super) question_topic: String,
    /// The token arrives on this topic.
    pub(super) answer_topic: String,
    status: Mutex<BrokerState>,
    changed: Event,
}

pub(super) struct BrokerState {
    /// Whether the connection and the subscription are established. The client is not stored here:
    /// paho must not drop it in one of its own callbacks, which hold this state.
    pub(super) connection: Result<(), Outage>,
    /// The state that was last logged.
    pub(super) announced: Option<bool>,
    /// Whether the last connection was ended because of what the broker sent.
    pub(super) sends_bad_packets: bool,
    /// Whether a token was requested.
    pub(super) question: Question,
    /// Whether a health check was requested.
    pub(super) is_checked: bool,
    /// Whether a token is wanted, so that a new attempt to connect should not wait.
    pub(super) wanted: bool,
}

impl Broker {
    pub(super) fn new(options: &BrokerOptions) -> Self {
        let prefix = &options.topic_prefix;
        Self {
            address: options.origin.to_string(),
            question_topic: format!("{prefix}/s/uat"),
            answer_topic: format!("{prefix}/s/dat"),
            status: Mutex::new(BrokerState {
                connection: Err(Outage::NotTried),
                announced: None,
                sends_bad_packets: false,
                question: Question::None,
                is_checked: false,
                wanted: false,
            }),
            changed: Event::new(),
        }
    }

    pub(super) fn status(&self) -> MutexGuard<'_, BrokerState> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut BrokerState)) {
        change(&mut self.status());
        self.changed.notify(usize::MAX);
    }

    /// Waits until `look` returns a value.
    pub(super) async fn until<T>(&self, mut look: impl FnMut(&mut BrokerState) -> Option<T>) -> T {
        loop {
            let changed = self.changed.listen();
            if let Some(found) = look(&mut self.status()) {
                return found;
            }
            changed.await;
        }
    }

    /// A message has arrived. A broker may send messages of topics that were not subscribed to.
    pub(super) fn answer(&self, topic: &str, answer: &[u8]) {
        if topic == self.answer_topic && matches!(self.status().question, Question::Asked) {
            self.change(|status| status.question = Question::Answered(answer.to_vec()));
        }
    }

    /// The connection and the subscription are established.
    pub(super) fn connected(&self) {
        self.change(|status| status.connection = Ok(()));
    }

    /// Logs that the broker is available again.
    pub(super) fn announce(&self) {
        if self.status().announced.replace(true) != Some(true) {
            log::info!("connected to the broker at {}", self.address);
        }
    }

    /// The connection, if there still is one, is of no use.
    pub(super) fn lose(&self, outage: Outage) {
        self.change(|status| {
            if status.connection.is_ok() {
                status.connection = Err(outage);
            }
        });
    }

    /// The connection is lost.
    pub(super) fn disconnected(&self, outage: Outage) {
        if self.status().announced.replace(false) != Some(false) {
            log::warn!("the broker at {} is not available: {outage}", self.address);
        }
        self.change(|status| {
            status.sends_bad_packets = matches!(outage, Outage::BadPacket(_));
            status.connection = Err(outage);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_only_where_there_is_a_question_and_on_its_topic() {
        let broker = Broker::new(&BrokerOptions {
            origin: Origin::parse("localhost", 1).unwrap(),
            login: None,
            trust: None,
            runtime_directory: PathBuf::new(),
            topic_prefix: "c8y".to_owned(),
            health: None,
        });
        let topic = "c8y/s/dat";
        broker.answer(topic, b"71,planted");
        assert!(matches!(broker.status().question, Question::None));
        broker.change(|status| status.question = Question::Asked);
        for other in ["", "c8y/s/da", "c8y/s/dat/", "/c8y/s/dat", "C8Y/s/dat", "c8y/s/uat", "#"] {
            broker.answer(other, b"71,planted");
        }
        assert!(matches!(broker.status().question, Question::Asked));
        broker.answer(topic, b"71,first");
        broker.answer(topic, b"71,second");
        let Question::Answered(answer) = &broker.status().question else { panic!("no answer") };
        assert_eq!(answer, b"71,first");
    }
}
