//! The listening socket: bind, accept, make room, spawn.
//!
//! Nothing is awaited between two accepts but the next connection and, when there are too many,
//! room for it. What happens on a connection is [`connection`]'s.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_executor::Executor;
use async_io::{Async, Timer};
use event_listener::{Event, listener};
use futures_lite::FutureExt;
use http::{Response, request};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::connection;
use super::state::{ConnectionState, Order, Phase};
use crate::http::Body;
use crate::journal;
use crate::tls;

/// What is served on a listening socket.
pub(crate) struct Site<S> {
    pub(crate) app: tide::Server<S>,
    /// [`crate::run::Service::PREFIXES`].
    pub(crate) prefixes: &'static [&'static str],
    /// [`crate::run::Service::at_once`].
    pub(crate) at_once: fn(&S, &request::Parts) -> Option<Response<Body>>,
    pub(crate) tls: Option<tls::ReloadingServer>,
    /// Whether a peer that has shut down its sending half still gets its answer.
    pub(crate) half_close: bool,
    /// Notified when a connection was opened, fell idle or was closed.
    pub(crate) changed: Event,
}

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
    Ok(socket.into())
}

/// The connections that are open, at most so many.
pub(crate) struct Connections {
    most: usize,
    open: Mutex<Open>,
    closed: Event,
}

#[derive(Default)]
struct Open {
    watches: HashMap<u64, Arc<ConnectionState>>,
    last: u64,
}

impl Connections {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, open: Mutex::default(), closed: Event::new() }
    }

    /// Asks all connections to finish what they are doing, or to close.
    pub(crate) fn ask(&self, order: Order) {
        for watch in self.lock().watches.values() {
            watch.ask(order);
        }
    }

    /// Whether no request is under way on any of them.
    pub(crate) fn are_quiet(&self) -> bool {
        let busy =
            |watch: &Arc<ConnectionState>| matches!(watch.phase(), Phase::Head | Phase::Exchange);
        !self.lock().watches.values().any(busy)
    }

    /// Ready once no connection is open.
    pub(crate) async fn gone(&self) {
        loop {
            listener!(self.closed => closed);
            if self.lock().watches.is_empty() {
                return;
            }
            closed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn is_full(&self) -> bool {
        self.lock().watches.len() >= self.most
    }

    fn enter(self: &Arc<Self>) -> (Arc<ConnectionState>, Place) {
        let watch = Arc::new(ConnectionState::new());
        let mut open = self.lock();
        open.last += 1;
        let number = open.last;
        open.watches.insert(number, Arc::clone(&watch));
        (watch, Place { connections: Arc::clone(self), number })
    }

    /// Closes the oldest of those that can best be spared: idle ones first, then those that have
    /// not sent a request yet. False where everybody is at work.
    fn make_room(&self) -> bool {
        let open = self.lock();
        let spare = |watch: &ConnectionState| match watch.phase() {
            Phase::Idle if watch.is_idle() => Some(0),
            Phase::Linger => Some(0),
            Phase::Silent | Phase::Head => Some(1),
            _ => None,
        };
        let victim = open
            .watches
            .iter()
            .filter(|(_, watch)| watch.order() != Order::Close)
            .filter_map(|(number, watch)| Some(((spare(watch)?, watch.since(), *number), watch)))
            .min_by_key(|(rank, _)| *rank);
        victim.is_some_and(|(_, watch)| {
            watch.ask(Order::Close);
            true
        })
    }

    /// Waits while there are too many connections, and closes spare ones where somebody waits.
    async fn room(&self, socket: &Async<TcpListener>) {
        /// A connection may become spare without a word; look again after this time.
        const LOOK: Duration = Duration::from_millis(20);
        while self.is_full() {
            if socket.readable().await.is_err() {
                return;
            }
            listener!(self.closed => closed);
            if self.is_full() {
                self.make_room();
                let look = async {
                    Timer::after(LOOK).await;
                };
                closed.or(look).await;
            }
        }
    }
}

/// A connection's place among [`Connections`], given back when dropped.
struct Place {
    connections: Arc<Connections>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().watches.remove(&self.number);
        self.connections.closed.notify(usize::MAX);
    }
}

/// Accepts until it is dropped.
pub(crate) async fn accept<S>(
    socket: Async<TcpListener>,
    site: Arc<Site<S>>,
    connections: Arc<Connections>,
    executor: Arc<Executor<'static>>,
) where
    S: Clone + Send + Sync + 'static,
{
    /// The first pause after an error; doubled up to 64 times this.
    const PAUSE: Duration = Duration::from_millis(16);
    let mut pause = PAUSE;
    loop {
        connections.room(&socket).await;
        match socket.accept().await {
            Ok((stream, peer)) => {
                pause = PAUSE;
                let _ = stream.get_ref().set_nodelay(true);
                let (watch, place) = connections.enter();
                let site = Arc::clone(&site);
                site.changed.notify(1);
                executor
                    .spawn(async move {
                        let serve = connection::serve(stream, peer, Arc::clone(&site), watch);
                        if std::panic::AssertUnwindSafe(serve).catch_unwind().await.is_err() {
                            log::error!("{peer}: the connection was closed after a panic");
                        }
                        drop(place);
                        site.changed.notify(1);
                    })
                    .detach();
            }
            Err(error) => {
                journal::complain(&format!("cannot accept a connection: {error}"), &"listener");
                connections.make_room();
                Timer::after(pause).await;
                pause = (pause * 2).min(PAUSE * 64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(watch: &ConnectionState) -> bool {
        watch.order() == Order::Close
    }

    #[test]
    fn idle_connections_make_room_first_then_silent_ones_the_oldest_first() {
        let connections = Arc::new(Connections::new(4));
        let entered: Vec<_> = (0..4).map(|_| connections.enter()).collect();
        let [busy, silent, idle, idle_too] = [0, 1, 2, 3].map(|index: usize| &entered[index].0);
        busy.enter(Phase::Exchange);
        idle.enter(Phase::Idle);
        std::thread::sleep(Duration::from_millis(2));
        idle_too.enter(Phase::Idle);
        assert!(connections.is_full());

        assert!(connections.make_room() && asked(idle) && !asked(idle_too));
        assert!(connections.make_room() && asked(idle_too) && !asked(silent));
        assert!(connections.make_room() && asked(silent));
        assert!(!connections.make_room() && !asked(busy));
    }

    #[test]
    fn a_closed_connection_gives_its_place_back() {
        let connections = Arc::new(Connections::new(1));
        let (_watch, place) = connections.enter();
        assert!(connections.is_full());
        drop(place);
        assert!(!connections.is_full());
    }
}
