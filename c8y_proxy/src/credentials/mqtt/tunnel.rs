//! TLS to the broker for an MQTT client that speaks none.
//!
//! The client connects to a socket in a directory that nobody else may enter, and what it says
//! there goes to the broker over TLS. The directory is gone as soon as the client has connected.
//! This module knows no MQTT.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use async_net::TcpStream;
use async_net::unix::{UnixListener, UnixStream};
use common::net::Origin;
use common::tls::explain_io;
use futures_lite::FutureExt;
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::relay::relay;

/// To connect, and to agree on TLS, may take this long each.
const LIMIT: Duration = Duration::from_secs(10);

/// The way to a broker over TLS.
pub(super) struct Tunnel {
    origin: Origin,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    directory: PathBuf,
}

impl Tunnel {
    /// Nothing is opened yet. The socket will be in a directory of its own in `parent`.
    ///
    /// # Errors
    ///
    /// In words: a host that can stand in no certificate, a path too long for a socket.
    pub(super) fn new(
        origin: Origin,
        tls: Arc<ClientConfig>,
        parent: &Path,
        unique: &str,
    ) -> Result<Self, String> {
        let name = origin.host.server_name().map_err(|_| {
            format!("mqtt.client.host: no certificate can be for \"{}\"", origin.host)
        })?;
        let directory = parent.join(unique);
        let tunnel = Self { origin, name, tls, directory };
        rustix::net::SocketAddrUnix::new(tunnel.socket())
            .map_err(|_| format!("{}: too long for a socket", tunnel.socket().display()))?;
        Ok(tunnel)
    }

    /// Where the client has to connect to once the tunnel is open.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join("mqtt")
    }

    /// Makes the socket. It lasts until the first connection, or until this is dropped.
    ///
    /// # Errors
    ///
    /// The directory or the socket cannot be made; in words.
    pub(super) fn open(&self) -> Result<Entrance, String> {
        let fault = |error: io::Error| format!("{}: {error}", self.directory.display());
        DirBuilder::new().mode(0o700).create(&self.directory).map_err(fault)?;
        let directory = Directory(self.directory.clone());
        let listener = UnixListener::bind(self.socket()).map_err(fault)?;
        Ok(Entrance { listener, _directory: directory })
    }

    /// Waits for the client at the entrance, and carries bytes until one side closes.
    ///
    /// # Errors
    ///
    /// In words, why the broker cannot be spoken to.
    pub(super) async fn carry(&self, entrance: Entrance) -> Result<(), String> {
        let client = entrance.accept().await.map_err(|error| error.to_string())?;
        let broker = self.dial().await?;
        relay(client, broker)
            .await
            .map_err(|error| format!("the connection broke off: {}", explain_io(&error)))
    }

    async fn dial(&self) -> Result<TlsStream<TcpStream>, String> {
        let address = (self.origin.host.bare(), self.origin.port);
        let socket = within(TcpStream::connect(address)).await;
        let socket = socket.map_err(|error| format!("cannot connect: {error}"))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let secured = within(connector.connect(self.name.clone(), socket)).await;
        secured.map_err(|error| format!("no TLS: {}", explain_io(&error)))
    }
}

async fn within<T>(action: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        Timer::after(LIMIT).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    action.or(late).await
}

/// Where the client comes in, once.
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
