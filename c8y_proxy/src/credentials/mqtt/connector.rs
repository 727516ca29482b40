//! Connects to the broker, subscribes, and connects again, for as long as the service lives.
//!
//! It is one task, beside two threads of paho, whose callbacks only note what came. It logs when
//! the broker comes or goes, not each attempt. It asks for nothing and reads no message.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{io, mem};

use async_io::Timer;
use common::error::Error as StartError;
use futures_lite::{FutureExt, future};
use paho_mqtt::{
    AsyncClient, ConnectOptions, ConnectOptionsBuilder, CreateOptionsBuilder, MqttVersion,
    PersistenceType,
};

use super::broker::{Broker, BrokerOptions, Outage};
use super::transport::Transport;

/// At least once: a message is lost only with the connection, and then asked for again.
pub(super) const QOS: i32 = 1;

/// The pause before the first new attempt, doubled with each one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// An attempt to connect may take this long.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The broker hears from us at least this often.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

pub(super) struct Connector {
    login: Option<(String, Option<PathBuf>)>,
    broker: Arc<Broker>,
    client: AsyncClient,
    transport: Transport,
}

impl Connector {
    pub(super) fn new(options: BrokerOptions, broker: Arc<Broker>) -> Result<Self, StartError> {
        // 23 characters at most are a promise of every broker (MQTT 3.1.1, 3.1.3.1).
        let name = format!("c8y-proxy-{:012x}", RandomState::new().hash_one(0) >> 16);
        let directory = options.runtime_directory.join(&name);
        let transport = Transport::new(options.origin, options.tls, directory)?;
        let created = CreateOptionsBuilder::new_v3()
            .server_uri(format!("unix://{}", transport.socket().display()))
            .client_id(name)
            .persistence(PersistenceType::None)
            .finalize();
        let client = AsyncClient::new(created).map_err(|error| {
            StartError::Configuration(format!("mqtt.client.host: {}: {error}", broker.address))
        })?;
        note_events(&client, &broker);
        Ok(Self { login: options.login, broker, client, transport })
    }

    /// The client, to publish with.
    pub(super) fn client(&self) -> AsyncClient {
        self.client.clone()
    }

    /// Never ends.
    pub(super) async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let outage = self.connection(&mut pause).await;
            self.broker.disconnected(outage);
            let is_cut_short = self.pause(pause).await;
            pause = if is_cut_short { FIRST_PAUSE } else { LONGEST_PAUSE.min(pause * 2) };
        }
    }

    /// Waits for `pause`, or for less if a token is wanted; returns whether it is.
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
    async fn connection(&self, pause: &mut Duration) -> Outage {
        let entrance = match self.transport.open() {
            Ok(entrance) => entrance,
            Err(outage) => return outage,
        };
        let broken = OnceLock::new();
        let carry = async {
            if let Err(outage) = self.transport.carry(entrance).await {
                // It is set only here.
                let _ = broken.set(outage);
            }
            future::pending().await
        };
        // The client notices that the transport ended, but not why.
        let outage = self.session(pause).or(carry).await;
        broken.into_inner().unwrap_or(outage)
    }

    async fn session(&self, pause: &mut Duration) -> Outage {
        if let Err(outage) = self.connect().await {
            self.disconnect().await;
            return outage;
        }
        self.broker.connected();
        if !self.client.is_connected() {
            return Outage::Lost;
        }
        let ended = self.broker.until(|status| status.connection.clone().err());
        let stands = async {
            // A broker that sends bad packets is not back because it lets us connect.
            if self.broker.status().sends_bad_packets {
                Timer::after(LONGEST_PAUSE).await;
            }
            self.broker.announce();
            *pause = FIRST_PAUSE;
            future::pending().await
        };
        ended.or(stands).await
    }

    async fn connect(&self) -> Result<(), Outage> {
        let options = self.connect_options().await?;
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

    async fn connect_options(&self) -> Result<ConnectOptions, Outage> {
        let password = self.password().await?;
        let mut connect = ConnectOptionsBuilder::with_mqtt_version(MqttVersion::V3_1_1);
        connect.clean_session(true).connect_timeout(CONNECT_LIMIT).keep_alive_interval(KEEP_ALIVE);
        if let Some((user, _)) = &self.login {
            connect.user_name(user);
        }
        if let Some(password) = password {
            connect.password(password);
        }
        Ok(connect.finalize())
    }

    /// Read for each connection, so that a new password needs no restart.
    async fn password(&self) -> Result<Option<Vec<u8>>, Outage> {
        let Some((_, Some(path))) = self.login.clone() else { return Ok(None) };
        blocking::unblock(move || match read_password(&path) {
            Ok(password) => Ok(Some(password)),
            Err(error) => Err(Outage::Password(path, Arc::new(error))),
        })
        .await
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

/// Has paho's threads note messages and the end of the connection.
fn note_events(client: &AsyncClient, broker: &Arc<Broker>) {
    let noted = Arc::clone(broker);
    client.set_message_callback(move |_, message| {
        if let Some(message) = message.filter(|message| !message.retained()) {
            noted.answer(message.topic(), message.payload());
        }
    });
    let noted = Arc::clone(broker);
    client.set_connection_lost_callback(move |_| {
        noted.change(|status| status.connection = Err(Outage::Lost));
    });
}

/// Why an attempt failed, in place of what paho says of it.
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

fn read_password(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = common::staging::read(path)?;
    Ok(common::staging::password(&bytes)?.into())
}
