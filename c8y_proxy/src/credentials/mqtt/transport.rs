//! The transport under the MQTT client: TCP or TLS to the broker, with a limit on what comes back.
//!
//! The client has neither TLS nor a limit for a packet, which it reads into memory whole. So it
//! connects to a socket in a directory that nobody else may enter, and what it sends there goes to
//! the broker. The directory is removed as soon as the client has connected.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use async_net::TcpStream;
use async_net::unix::{UnixListener, UnixStream};
use common::error::Error as StartError;
use common::net::Origin;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};
use futures_rustls::TlsConnector;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::broker::Outage;
use super::packets::Checked;
use crate::relay::relay;

/// To connect, and to agree on TLS, may take this long each.
const LIMIT: Duration = Duration::from_secs(10);

/// The way to a broker.
pub(super) struct Transport {
    origin: Origin,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    directory: PathBuf,
}

impl Transport {
    /// Opens nothing yet. The socket will be in `directory`, which does not exist.
    ///
    /// # Errors
    ///
    /// A host that no certificate can be for, a path too long for a socket.
    pub(super) fn new(
        origin: Origin,
        tls: Option<Arc<ClientConfig>>,
        directory: PathBuf,
    ) -> Result<Self, StartError> {
        let named = |config| match origin.host.server_name() {
            Ok(name) => Ok((config, name)),
            Err(_) => Err(StartError::Configuration(format!(
                "mqtt.client.host: no certificate can be for \"{}\"",
                origin.host
            ))),
        };
        let tls = tls.map(named).transpose()?;
        let transport = Self { origin, tls, directory };
        let socket = transport.socket();
        match rustix::net::SocketAddrUnix::new(&socket) {
            Ok(_) => Ok(transport),
            Err(_) => {
                let fault = format!("{}: too long for a socket", socket.display());
                Err(StartError::Configuration(fault))
            }
        }
    }

    /// Where the client has to connect to once the transport is open.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join("mqtt")
    }

    /// Makes the socket. It lasts until the first connection, or until this is dropped.
    pub(super) fn open(&self) -> Result<Entrance, Outage> {
        let fault = |error| Outage::Directory(self.directory.clone(), Arc::new(error));
        DirBuilder::new().mode(0o700).create(&self.directory).map_err(fault)?;
        let directory = Directory(self.directory.clone());
        let listener = UnixListener::bind(self.socket()).map_err(fault)?;
        Ok(Entrance { listener, _directory: directory })
    }

    /// Waits for the client, then carries bytes until one side closes. Returns why, and the client's
    /// socket, at whose end the client reads.
    ///
    /// The socket has to stay open until the client has ended the connection. If what it writes
    /// failed as well, its two threads would both end the connection, and free twice what waits to
    /// be sent.
    pub(super) async fn carry(&self, entrance: Entrance) -> (Option<Outage>, Option<UnixStream>) {
        let client = match entrance.accept().await {
            Ok(client) => client,
            Err(error) => return (Some(Outage::Socket(Arc::new(error))), None),
        };
        let broker = self.dial().await;
        let outage = match broker {
            Ok(broker) => relay(client.clone(), Checked::new(broker)).await.err().map(broken),
            Err(outage) => Some(outage),
        };
        if let Err(error) = client.shutdown(Shutdown::Write) {
            log::debug!("the MQTT client has closed its connection: {error}");
        }
        (outage, Some(client))
    }

    async fn dial(&self) -> Result<Box<dyn Duplex>, Outage> {
        let address = (self.origin.host.bare(), self.origin.port);
        let socket = within_limit(TcpStream::connect(address)).await;
        let socket = socket.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => Outage::Silent(LIMIT.as_secs()),
            _ => Outage::Socket(Arc::new(error)),
        })?;
        let Some((config, name)) = &self.tls else { return Ok(Box::new(socket)) };
        let connector = TlsConnector::from(Arc::clone(config));
        match within_limit(connector.connect(name.clone(), socket)).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(Outage::Tls(Arc::new(error))),
        }
    }
}

fn broken(error: io::Error) -> Outage {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(bad) => Outage::BadPacket(*bad),
        None => Outage::Broken(Arc::new(error)),
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

async fn within_limit<T>(action: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        Timer::after(LIMIT).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    action.or(late).await
}

/// Where the client connects, once.
pub(super) struct Entrance {
    listener: UnixListener,
    _directory: Directory,
}

impl Entrance {
    async fn accept(self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

/// A directory with a socket in it, as long as this lives.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::debug!("{}: {error}", self.0.display());
        }
    }
}
