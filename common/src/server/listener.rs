//! The listening socket: bind, accept, back off.
//!
//! Nothing is awaited between two accepts but the next connection and, when all places are taken,
//! room for it. What happens on a connection is [`connection`]'s.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_executor::Executor;
use async_io::{Async, Timer};
use futures_lite::FutureExt;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::{Server, connection};
use crate::journal;
use crate::net::socket::keep_alive;

/// The listening socket, and whether its address is not, or not yet, one of this machine.
pub(crate) struct Bound {
    pub(crate) socket: Async<TcpListener>,
    pub(crate) address: SocketAddr,
    pub(crate) is_foreign: bool,
}

/// Binds `address`, even one that this machine does not have yet (no DHCP at boot).
///
/// # Errors
///
/// As bind(2) and listen(2): a busy port, a port below 1024 without the right to it.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Bound> {
    let (socket, is_foreign) = match open(address, false) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            (open(address, true)?, true)
        }
        bound => (bound?, false),
    };
    let address = socket.local_addr()?;
    Ok(Bound { socket: Async::new(socket)?, address, is_foreign })
}

fn open(address: SocketAddr, foreign: bool) -> io::Result<TcpListener> {
    /// Also what Linux allows at most by default (net.core.somaxconn is 4096).
    const BACKLOG: i32 = 1024;
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if foreign {
        sockopt::set_ip_freebind(&socket, true)?;
    }
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    // A client that waits for its answer sends nothing, and may vanish meanwhile.
    keep_alive(&socket);
    Ok(socket.into())
}

/// Accepts until it is dropped.
pub(crate) async fn accept(
    socket: Async<TcpListener>,
    server: Arc<Server>,
    executor: Arc<Executor<'static>>,
) {
    /// The first pause after an error; doubled up to 64 times this.
    const PAUSE: Duration = Duration::from_millis(16);
    let mut pause = PAUSE;
    loop {
        server.places.room(|| socket.readable()).await;
        match socket.accept().await {
            Ok((stream, peer)) => {
                pause = PAUSE;
                let _ = stream.get_ref().set_nodelay(true);
                let (place, server) = (server.places.take(), Arc::clone(&server));
                let serve = async move {
                    server.changed.notify(1);
                    let serve = connection::serve(stream, peer, &server, &place.state);
                    if AssertUnwindSafe(serve).catch_unwind().await.is_err() {
                        log::error!("{peer}: the connection was closed after a panic");
                    }
                    drop(place);
                    server.changed.notify(1);
                };
                executor.spawn(serve).detach();
            }
            Err(error) => {
                journal::complain(&format!("cannot accept a connection: {error}"), &"listener");
                server.places.make_room();
                Timer::after(pause).await;
                pause = (pause * 2).min(PAUSE * 64);
            }
        }
    }
}
