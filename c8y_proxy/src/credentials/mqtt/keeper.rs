//! The connection to the broker, kept for as long as the service lives.
//!
//! One task connects, subscribes and connects again, and says so once whenever the broker comes
//! or goes. Paho has two threads of its own for it; its callbacks do no more than to put down
//! what came. This module asks for nothing and reads no message.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_io::Timer;
use futures_lite::{FutureExt, future};
use paho_mqtt::{
    AsyncClient, ConnectOptions, ConnectOptionsBuilder, CreateOptionsBuilder, MqttVersion,
    PersistenceType,
};

use super::tunnel::Tunnel;
use super::{Broker, Line, QOS};

/// The pause before the first new attempt, doubled with each one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// An attempt to connect may take this long.
const CONNECT: Duration = Duration::from_secs(10);
/// The broker hears from us at least this often.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// The task that keeps the connection.
pub(super) struct Keeper {
    broker: Broker,
    line: Arc<Line>,
    client: AsyncClient,
    tunnel: Option<Tunnel>,
}

impl Keeper {
    pub(super) fn new(broker: Broker, line: Arc<Line>) -> Result<Self, String> {
        // 23 characters at most are a promise of every broker (MQTT 3.1.1, 3.1.3.1).
        let name = format!("c8y-proxy-{:012x}", RandomState::new().hash_one(0) >> 16);
        let origin = broker.origin.clone();
        let tunnel = match &broker.tls {
            Some(tls) => {
                Some(Tunnel::new(origin, Arc::clone(tls), &broker.runtime_directory, &name)?)
            }
            None => None,
        };
        let uri = match &tunnel {
            Some(tunnel) => format!("unix://{}", tunnel.socket().display()),
            None => format!("tcp://{}", line.address),
        };
        let options = CreateOptionsBuilder::new_v3()
            .server_uri(uri)
            .client_id(name)
            .persistence(PersistenceType::None)
            .finalize();
        let client = AsyncClient::new(options)
            .map_err(|error| format!("mqtt.client.host: {}: {error}", line.address))?;

        client.set_message_callback({
            let line = Arc::clone(&line);
            move |_, message| {
                if let Some(message) = message.filter(|message| !message.retained()) {
                    line.change(|state| state.message = Some(message.payload().to_vec()));
                }
            }
        });
        client.set_connection_lost_callback({
            let line = Arc::clone(&line);
            move |_| {
                line.change(|state| {
                    state.is_up = false;
                    state.trouble = "the connection was lost".to_owned();
                });
            }
        });
        Ok(Self { broker, line, client, tunnel })
    }

    /// The client, for whoever wants to say something.
    pub(super) fn client(&self) -> AsyncClient {
        self.client.clone()
    }

    /// Connects, and connects again, for as long as the service lives.
    pub(super) async fn keep(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let trouble = self.session(&mut pause).await;
            self.line.down(trouble);
            let wanted = self.rest(pause).await;
            pause = if wanted { FIRST_PAUSE } else { LONGEST_PAUSE.min(pause * 2) };
        }
    }

    /// Waits for `pause`, or for less if somebody wants a token; says which.
    async fn rest(&self, pause: Duration) -> bool {
        Timer::after(FIRST_PAUSE).await;
        let full = async {
            Timer::after(pause.saturating_sub(FIRST_PAUSE)).await;
            false
        };
        let wanted = self.line.until(|state| std::mem::take(&mut state.wanted).then_some(true));
        wanted.or(full).await
    }

    /// One connection, from the attempt to its end. Returns why it ended.
    async fn session(&self, pause: &mut Duration) -> String {
        let Some(tunnel) = &self.tunnel else {
            return self.talk(pause).await;
        };
        let entrance = match tunnel.open() {
            Ok(entrance) => entrance,
            Err(trouble) => return trouble,
        };
        let broken = OnceLock::new();
        let carry = async {
            if let Err(trouble) = tunnel.carry(entrance).await {
                // Nobody else sets it.
                let _ = broken.set(trouble);
            }
            future::pending().await
        };
        // The client notices that the tunnel broke, but not how.
        let trouble = self.talk(pause).or(carry).await;
        broken.into_inner().unwrap_or(trouble)
    }

    async fn talk(&self, pause: &mut Duration) -> String {
        if let Err(trouble) = self.connect().await {
            self.hang_up().await;
            return trouble;
        }
        *pause = FIRST_PAUSE;
        self.line.up();
        if !self.client.is_connected() {
            return "the connection was lost at once".to_owned();
        }
        self.line.until(|state| (!state.is_up).then(|| state.trouble.clone())).await
    }

    async fn connect(&self) -> Result<(), String> {
        let options = self.options().await?;
        self.client.connect(options).await.map_err(|error| words(&error))?;
        let subscribed = self.client.subscribe(self.line.answer.as_str(), QOS);
        let late = async {
            Timer::after(CONNECT).await;
            Err(paho_mqtt::Error::Timeout)
        };
        subscribed.or(late).await.map(drop).map_err(|error| {
            format!("it does not let us subscribe to {}: {error}", self.line.answer)
        })
    }

    async fn options(&self) -> Result<ConnectOptions, String> {
        let password = self.password().await?;
        let mut options = ConnectOptionsBuilder::with_mqtt_version(MqttVersion::V3_1_1);
        options.clean_session(true).connect_timeout(CONNECT).keep_alive_interval(KEEP_ALIVE);
        if let Some((user, _)) = &self.broker.login {
            options.user_name(user);
        }
        if let Some(password) = password {
            options.password(password);
        }
        Ok(options.finalize())
    }

    /// Read anew for each connection, so that a new password needs no restart.
    async fn password(&self) -> Result<Option<Vec<u8>>, String> {
        let Some((_, Some(path))) = self.broker.login.clone() else {
            return Ok(None);
        };
        let at = format!("mqtt.client.auth.password_file: {}", path.display());
        blocking::unblock(move || read(&path))
            .await
            .map(Some)
            .map_err(|error| format!("{at}: {error}"))
    }

    /// Makes the client forget the connection, so that it may connect again.
    async fn hang_up(&self) {
        let gone = async {
            if let Err(error) = self.client.disconnect(None).await {
                log::debug!("the broker was not said goodbye to: {error}");
            }
        };
        let late = async {
            Timer::after(FIRST_PAUSE).await;
        };
        gone.or(late).await;
    }
}

/// What paho says of a failed attempt, in words of more use.
fn words(error: &paho_mqtt::Error) -> String {
    use paho_mqtt::Error as Paho;
    match error {
        Paho::ConnectReturn(code) => {
            format!("it refuses the connection: {code}; see mqtt.client.auth.username")
        }
        Paho::TcpConnectTimeout => format!("no answer within {} s", CONNECT.as_secs()),
        Paho::TcpConnectCompletionFailure
        | Paho::TcpTlsConnectFailure
        | Paho::Failure
        | Paho::SocketError(_) => {
            "it takes no connection; see mqtt.client.host and mqtt.client.port".to_owned()
        }
        other => other.to_string(),
    }
}

/// A password is all of the file but the end of its line.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut password = common::staging::read(path)?;
    while let Some(b'\n' | b'\r') = password.last() {
        password.pop();
    }
    Ok(password)
}
