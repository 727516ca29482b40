//! A token over MQTT: an empty message requests it from Cumulocity, and the answer is the token.
//!
//! [`Mqtt`] sends the request. The `connector` keeps the connection, over the `transport`, which
//! checks the `packets`. `broker` is the state that they share. The proxy also publishes its
//! `health` over this connection. This module does not know how long a token is valid or which
//! requests wait for it.

mod broker;
mod connector;
mod health;
mod packets;
mod transport;

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_executor::Executor;
use async_io::Timer;
use common::error::Error as StartError;
use common::tasks::spawn;
use futures_lite::{FutureExt, future};
use paho_mqtt::{AsyncClient, Message};

pub use self::broker::BrokerOptions;
use self::broker::{Broker, Outage, Question};
use self::connector::Connector;
pub use self::health::Health;
use self::packets::QOS;
use super::error::Error;
use super::jwt;
use super::tokens::TokenSource;

/// A request without an answer is sent again after this time: the broker may have accepted it while
/// the bridge was not connected, and does not report that.
const REPEAT: Duration = Duration::from_secs(5);

/// A permanent connection to the broker.
pub(super) struct Mqtt {
    broker: Arc<Broker>,
    client: AsyncClient,
}

impl Mqtt {
    /// Begins to connect to the broker.
    pub(super) fn start(
        options: BrokerOptions,
        executor: &Executor<'static>,
    ) -> Result<Self, StartError> {
        let prefix = &options.topic_prefix;
        if prefix.is_empty() || prefix.contains(['+', '#', '\0']) {
            let fault = format!("c8y.bridge.topic_prefix: \"{prefix}\" is not a topic");
            return Err(StartError::Configuration(fault));
        }
        let broker = Arc::new(Broker::new(&options));
        let connector = Connector::new(options, Arc::clone(&broker))?;
        let client = connector.client();
        spawn(executor, connector.run()).detach();
        Ok(Self { broker, client })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.broker.status().connection.is_ok()
    }

    /// Requests a token. Repeats the request if the connection is lost before the answer, or if no
    /// answer arrives. A broker that does not even acknowledge the request is connected to again.
    async fn ask(&self) -> Result<String, Error> {
        let broker = &self.broker;
        let _asking = Asking::begin(broker);
        let answer = loop {
            broker.until(|status| status.connection.is_ok().then_some(())).await;
            let sent = self.client.publish(Message::new(broker.question_topic.as_str(), "", QOS));
            let mut is_acknowledged = false;
            let acknowledged = async {
                is_acknowledged = sent.await.is_ok();
                future::pending().await
            };
            let came = broker.until(|status| match &mut status.question {
                Question::Answered(answer) => Some(Some(mem::take(answer))),
                _ => status.connection.is_err().then_some(None),
            });
            let late = async {
                Timer::after(REPEAT).await;
                None
            };
            if let Some(answer) = came.or(late).or(acknowledged).await {
                break answer;
            }
            if !is_acknowledged {
                broker.lose(Outage::NotAcknowledged(REPEAT.as_secs()));
            }
        };
        let malformed = |fault| Error::Malformed { topic: broker.answer_topic.clone(), fault };
        jwt::from_answer(&answer).map(str::to_owned).map_err(malformed)
    }
}

/// A token is requested for as long as this lives.
struct Asking<'a>(&'a Broker);

impl<'a> Asking<'a> {
    fn begin(broker: &'a Broker) -> Self {
        broker.change(|status| {
            status.wanted = true;
            status.question = Question::Asked;
        });
        Self(broker)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.change(|status| {
            status.wanted = false;
            status.question = Question::None;
        });
    }
}

impl TokenSource for Mqtt {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String, Error>> + Send + '_>> {
        Box::pin(self.ask())
    }

    fn waiting(&self) -> String {
        let broker = &self.broker;
        match &broker.status().connection {
            Ok(()) => {
                format!("no answer on {}; is the bridge to Cumulocity up?", broker.answer_topic)
            }
            Err(outage) => format!("the broker at {} is not available: {outage}", broker.address),
        }
    }

    fn name(&self) -> String {
        format!("the broker at {}", self.broker.address)
    }

    fn broker(&self) -> &'static str {
        if self.is_connected() { "connected" } else { "disconnected" }
    }
}

#[cfg(test)]
mod tests {
    use common::net::Origin;

    use super::*;

    #[test]
    fn refuses_a_prefix_that_is_no_topic() {
        for prefix in ["", "#", "a/+", "a\0b"] {
            let broker = BrokerOptions {
                origin: Origin::parse("localhost", 1).unwrap(),
                login: None,
                trust: None,
                runtime_directory: std::path::PathBuf::new(),
                topic_prefix: prefix.to_owned(),
                health: None,
            };
            let error = Mqtt::start(broker, &Executor::new()).map(drop).unwrap_err();
            assert_eq!(error.exit_code(), 78, "{prefix}");
        }
    }
}
