//! The listening socket: bind, accept, back off.
//!
//! Between two accepts it awaits only the next connection and, when all places are taken, a free
//! place. [`connection`] does the rest.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_executor::Executor;
use async_io::Timer;
use futures_lite::{FutureExt, future};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::places::{Place, Places, Waiter, WaitingRoom};
use super::{Server, connection};
use crate::journal;
use crate::net::Polled;
use crate::net::socket::keep_alive;
use crate::tasks::spawn;

/// The listening socket, and whether its address is not (yet) one of this machine.
pub(crate) struct Bound {
    pub(crate) socket: Polled<TcpListener>,
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
    Ok(Bound { socket: Polled::new(socket)?, address, is_foreign })
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
    // A client that waits for its answer sends nothing; keep-alive probes notice if it is gone.
    keep_alive(&socket);
    Ok(socket.into())
}

/// Accepts until it is dropped. At most `most_waiting` clients wait here for a place.
pub(crate) async fn accept(
    socket: Polled<TcpListener>,
    server: Arc<Server>,
    executor: Arc<Executor<'static>>,
    most_waiting: usize,
) {
    /// The first pause after an error. It is doubled with each further error, up to 64 times this.
    const PAUSE: Duration = Duration::from_millis(16);
    let mut pause = PAUSE;
    let mut waiting = WaitingRoom::new(most_waiting);
    loop {
        while let Some((waiter, place)) = server.places.seat(&mut waiting) {
            let server = Arc::clone(&server);
            spawn(&executor, serve(server, waiter.socket, waiter.peer, place)).detach();
        }
        match next(&socket, &mut waiting, &server.places).await {
            None => {}
            Some(Ok((stream, peer))) => {
                pause = PAUSE;
                let _ = stream.get_ref().set_nodelay(true);
                waiting.enter(Waiter::new(stream, peer));
            }
            Some(Err(error)) => {
                journal::complain(&format!("cannot accept a connection: {error}"), &"listener");
                server.places.spare_one();
                Timer::after(pause).await;
                pause = (pause * 2).min(PAUSE * 64);
            }
        }
    }
}

/// The next connection, or `None` when a waiting client may get a place.
async fn next(
    socket: &Polled<TcpListener>,
    waiting: &mut WaitingRoom,
    places: &Places,
) -> Option<io::Result<(Polled<TcpStream>, SocketAddr)>> {
    let has_room = places.has_room(waiting);
    let come = async {
        if !has_room {
            future::pending::<()>().await;
        }
        Some(socket.accept().await)
    };
    if waiting.is_empty() {
        return come.await;
    }
    let change = async {
        places.change(waiting).await;
        None
    };
    change.or(come).await
}

async fn serve(
    server: Arc<Server>,
    socket: Arc<Polled<TcpStream>>,
    peer: SocketAddr,
    place: Place,
) {
    server.changed.notify(1);
    // In one expression: the compiler would keep a named future twice while it is awaited.
    if AssertUnwindSafe(connection::serve(socket, peer, &server, &place.state))
        .catch_unwind()
        .await
        .is_err()
    {
        log::error!("{peer}: the connection was closed after a panic");
    }
    drop(place);
    server.changed.notify(1);
}
