//! Connects to the broker, subscribes, and reconnects, for as long as the service runs.
//!
//! It is one task, in addition to two threads of paho, whose callbacks only record messages and the
//! end of the connection. It logs when the broker becomes available or unavailable, not each
//! attempt. It publishes the proxy's health. It requests no token and parses no message.

use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_io::Timer;
use common::error::Error as StartError;
use common::tasks::unblock;
use futures_lite::{FutureExt, future};
use paho_mqtt::{
    AsyncClient, ConnectOptions, ConnectOptionsBuilder, CreateOptionsBuilder, MqttVersion,
    PersistenceType,
};

use super::broker::{Broker, BrokerOptions, Outage, read_password};
use super::health::{CHECK, Health};
use super::packets::QOS;
use super::transport::BrokerTransport;

/// The pause before the first new attempt. It is doubled with each attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The time limit of an attempt to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// A broker may end the connection because of a message that the proxy may not publish. After this
/// many connections in a row that end so soon after the first message, one connection publishes
/// nothing.
const REFUSALS: u32 = 2;
const REFUSAL: Duration = Duration::from_secs(10);

pub(super) struct Connector {
    login: Option<(String, Option<PathBuf>)>,
    health: Option<Health>,
    broker: Arc<Broker>,
    client: AsyncClient,
    transport: BrokerTransport,
}

impl Connector {
    pub(super) fn new(options: BrokerOptions, broker: Arc<Broker>) -> Result<Self, StartError> {
        // Every broker must accept 23 characters (MQTT 3.1.1, 3.1.3.1).
        let name = format!("c8y-proxy-{:012x}", RandomState::new().hash_one(0) >> 16);
        let directory = options.runtime_directory.join(&name);
        let transport = BrokerTransport::new(options.origin, options.trust, directory)?;
        let created = CreateOptionsBuilder::new_v3()
            .server_uri(format!("unix://{}", transport.socket().display()))
            .client_id(name)
            .persistence(PersistenceType::None)
            .finalize();
        let client = AsyncClient::new(created).map_err(|error| {
            StartError::Configuration(format!("mqtt.client.host: {}: {error}", broker.address))
        })?;
        note_events(&client, &broker);
        let (login, health) = (options.login, options.health);
        Ok(Self { login, health, broker, client, transport })
    }

    /// The client with which messages are published.
    pub(super) fn client(&self) -> AsyncClient {
        self.client.clone()
    }

    /// Never ends.
    pub(super) async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let mut refusals = 0;
        loop {
            let health = self.health.as_ref().filter(|_| refusals < REFUSALS);
            let mut told = None;
            let outage = self.connection(health, &mut told, &mut pause).await;
            let is_refused = matches!(outage, Outage::Refused(_))
                || told.is_some_and(|told: Instant| told.elapsed() < REFUSAL);
            refusals = if is_refused && health.is_some() { refusals + 1 } else { 0 };
            self.broker.disconnected(outage);
            let is_cut_short = self.pause(pause).await;
            pause = if is_cut_short { FIRST_PAUSE } else { LONGEST_PAUSE.min(pause * 2) };
        }
    }

    /// Waits for `pause`, or less if a token is wanted. Returns whether it is.
    async fn pause(&self, pause: Duration) -> bool {
        Timer::after(FIRST_PAUSE).await;
        let full = async {
            Timer::after(pause.saturating_sub(FIRST_PAUSE)).await;
            false
        };
        let wanted = self.broker.until(|status| mem::take(&mut status.wanted).then_some(true));
        wanted.or(full).await
    }

    /// One connection, from the attempt to its end. Returns why it ended.
    async fn connection(
        &self,
        health: Option<&Health>,
        told: &mut Option<Instant>,
        pause: &mut Duration,
    ) -> Outage {
        let entrance = match self.transport.open() {
            Ok(entrance) => entrance,
            Err(outage) => return outage,
        };
        let broken = OnceLock::new();
        let carry = async {
            let (outage, _client) = self.transport.carry(entrance).await;
            if let Some(outage) = outage {
                // Only this code sets it.
                let _ = broken.set(outage);
            }
            future::pending().await
        };
        // The client notices the end of the transport, but not the reason.
        let outage = self.session(health, told, pause).or(carry).await;
        broken.into_inner().unwrap_or(outage)
    }

    async fn session(
        &self,
        health: Option<&Health>,
        told: &mut Option<Instant>,
        pause: &mut Duration,
    ) -> Outage {
        if let Err(outage) = self.connect(health).await {
            self.disconnect().await;
            return outage;
        }
        self.broker.connected();
        if !self.client.is_connected() {
            return Outage::Lost;
        }
        let ended = self.broker.until(|status| status.connection.clone().err());
        let stands = async {
            // A broker that sends bad packets is not available again just because it accepts
            // connections.
            if self.broker.status().sends_bad_packets {
                Timer::after(LONGEST_PAUSE).await;
            }
            self.broker.announce();
            *pause = FIRST_PAUSE;
            future::pending().await
        };
        let tells = async {
            if let Some(health) = health {
                *told = Some(Instant::now());
                self.tell(health).await;
            }
            future::pending().await
        };
        let outage = ended.or(stands).or(tells).await;
        if matches!(outage, Outage::NotAcknowledged(_)) {
            self.disconnect().await;
        }
        outage
    }

    /// Publishes that the proxy works, at the start and on each health check. It is not an error if
    /// the broker does not permit this: the connection is for the token.
    async fn tell(&self, health: &Health) {
        drop(self.client.publish(health.registration()));
        drop(self.client.publish(health.up()));
        for check in health.checks() {
            if let Err(error) = self.client.subscribe(check.as_str(), QOS).await {
                log::debug!("the broker refuses the subscription to {check}: {error}");
            }
        }
        loop {
            self.broker.until(|status| mem::take(&mut status.is_checked).then_some(())).await;
            drop(self.client.publish(health.up()));
        }
    }

    async fn connect(&self, health: Option<&Health>) -> Result<(), Outage> {
        let options = self.connect_options(health).await?;
        self.client.connect(options).await.map_err(|error| outage(&error))?;
        let topic = &self.broker.answer_topic;
        let subscribed = self.client.subscribe(topic.as_str(), QOS);
        let late = async {
            Timer::after(CONNECT_LIMIT).await;
            Err(paho_mqtt::Error::Timeout)
        };
        let subscribed = subscribed.or(late).await.map(drop);
        subscribed.map_err(|error| Outage::NotSubscribed(topic.clone(), error.to_string()))
    }

    async fn connect_options(&self, health: Option<&Health>) -> Result<ConnectOptions, Outage> {
        let password = self.password().await?;
        let mut connect = ConnectOptionsBuilder::with_mqtt_version(MqttVersion::V3_1_1);
        connect.clean_session(true).connect_timeout(CONNECT_LIMIT).keep_alive_interval(KEEP_ALIVE);
        if let Some(health) = health {
            connect.will_message(health.down());
        }
        if let Some((user, _)) = &self.login {
            connect.user_name(user);
        }
        if let Some(password) = password {
            connect.password(password);
        }
        Ok(connect.finalize())
    }

    /// Read for each connection, so a new password needs no restart.
    async fn password(&self) -> Result<Option<Vec<u8>>, Outage> {
        let Some((_, Some(path))) = self.login.clone() else { return Ok(None) };
        unblock(move || read_password(&path)).await.map(Some)
    }

    /// Makes the client forget the connection, so that it may connect again.
    async fn disconnect(&self) {
        let disconnected = async {
            if let Err(error) = self.client.disconnect(None).await {
                log::debug!("the broker got no DISCONNECT: {error}");
            }
        };
        let late = async {
            Timer::after(FIRST_PAUSE).await;
        };
        disconnected.or(late).await;
    }
}

/// Sets paho's callbacks, which record messages and the end of the connection.
fn note_events(client: &AsyncClient, broker: &Arc<Broker>) {
    let noted = Arc::clone(broker);
    client.set_message_callback(move |_, message| {
        if let Some(message) = message.filter(|message| !message.retained()) {
            match message.topic() {
                check if check.ends_with(CHECK) => noted.change(|status| status.is_checked = true),
                topic => noted.answer(topic, message.payload()),
            }
        }
    });
    let noted = Arc::clone(broker);
    client.set_connection_lost_callback(move |_| {
        noted.change(|status| status.connection = Err(Outage::Lost));
    });
}

/// Why an attempt failed, in place of paho's message.
fn outage(error: &paho_mqtt::Error) -> Outage {
    use paho_mqtt::Error as Paho;
    match error {
        Paho::ConnectReturn(code) => Outage::Refused(*code),
        Paho::TcpConnectTimeout => Outage::Silent(CONNECT_LIMIT.as_secs()),
        Paho::TcpConnectCompletionFailure
        | Paho::TcpTlsConnectFailure
        | Paho::Failure
        | Paho::SocketError(_) => Outage::NotReached,
        other => Outage::Other(other.to_string()),
    }
}
