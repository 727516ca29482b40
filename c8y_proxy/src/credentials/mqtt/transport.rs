//! The transport under the MQTT client: TCP or TLS to the broker, with a limit for incoming
//! packets.
//!
//! The client has no TLS and no limit for packets, and reads each packet into memory. Therefore it
//! connects to a Unix socket in a directory that only this user can enter, and this module carries
//! the bytes to the broker. The directory is removed when the client has connected.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Shutdown, ToSocketAddrs};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use async_net::TcpStream;
use async_net::unix::{UnixListener, UnixStream};
use common::error::Error as StartError;
use common::net::Origin;
use common::tasks::unblock;
use common::tls::ReloadingClient;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};
use futures_rustls::TlsConnector;
use rustls::pki_types::ServerName;

use super::broker::Outage;
use super::packets::Checked;
use crate::relay::relay;

/// The time limit for connecting, and for the TLS handshake.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) struct BrokerTransport {
    origin: Origin,
    tls: Option<(Arc<ReloadingClient>, ServerName<'static>)>,
    directory: PathBuf,
}

impl BrokerTransport {
    /// Prepares the transport, and opens nothing. `directory`, which must not exist, will contain
    /// the socket.
    ///
    /// # Errors
    ///
    /// The host is not valid in a certificate, or the path is too long for a socket.
    pub(super) fn new(
        origin: Origin,
        tls: Option<Arc<ReloadingClient>>,
        directory: PathBuf,
    ) -> Result<Self, StartError> {
        let named = |tls| match origin.host.server_name() {
            Ok(name) => Ok((tls, name)),
            Err(_) => Err(StartError::Configuration(format!(
                "mqtt.client.host: \"{}\" is not a valid name for TLS",
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

    /// The address to which the client connects when the transport is open.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join("mqtt")
    }

    /// Creates the socket. It lasts until the first connection, or until this is dropped.
    pub(super) fn open(&self) -> Result<Entrance, Outage> {
        let fault = |error| Outage::Directory(self.directory.clone(), Arc::new(error));
        DirBuilder::new().mode(0o700).create(&self.directory).map_err(fault)?;
        let directory = SocketDirectory(self.directory.clone());
        let listener = UnixListener::bind(self.socket()).map_err(fault)?;
        Ok(Entrance { listener, _directory: directory })
    }

    /// Waits for the client, then carries bytes until one side closes. Returns the reason, and the
    /// client's socket, whose end the client reads.
    ///
    /// The socket must stay open until the client has ended the connection. If the client's write
    /// failed as well, both of its threads would end the connection, and free the pending data
    /// twice.
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
        let connect = async {
            let addresses = unblock(move || address.to_socket_addrs().map(Vec::from_iter)).await?;
            TcpStream::connect(&addresses[..]).await
        };
        let socket = within_limit(connect).await;
        let socket = socket.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => Outage::Silent(LIMIT.as_secs()),
            _ => Outage::Socket(Arc::new(error)),
        })?;
        let Some((tls, name)) = &self.tls else { return Ok(Box::new(socket)) };
        let connector = TlsConnector::from(tls.config());
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

/// The socket to which the client connects, once.
pub(super) struct Entrance {
    listener: UnixListener,
    _directory: SocketDirectory,
}

impl Entrance {
    async fn accept(self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

/// A directory with a socket, removed when this is dropped.
struct SocketDirectory(PathBuf);

impl Drop for SocketDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::debug!("{}: {error}", self.0.display());
        }
    }
}
