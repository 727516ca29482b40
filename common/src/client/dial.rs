//! From a name and a port to a connected socket (RFC 8305).
//!
//! Each look-up occupies a thread, so there is at most one at a time, however many requests wait
//! and even if the resolver hangs. Addresses of both families alternate, IPv6 first, each with a
//! head start of 250 ms over the next.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use async_executor::Executor;
use async_io::Timer;
use rustix::net::sockopt;

use super::error::Error;
use crate::net::socket::keep_alive;
use crate::net::{Host, Origin, Polled, SharedFetch};
use crate::tasks::{spawn, unblock};

/// How long an address may take before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// The maximum that the kernel buffers of a request body. This limits memory, and how long the
/// kernel continues to send after the last byte was written: 60 s at 2 KB/s.
const SEND_BUFFER: usize = 128 * 1024;

/// How long sent data may stay unacknowledged, in milliseconds.
const UNACKNOWLEDGED: u32 = 60_000;

/// Connects to one origin.
pub(super) struct Dialer {
    origin: Origin,
    executor: Arc<Executor<'static>>,
    under_way: Mutex<Weak<SharedFetch<Vec<SocketAddr>, Arc<io::Error>>>>,
}

impl Dialer {
    pub(super) fn new(origin: Origin, executor: Arc<Executor<'static>>) -> Self {
        Self { origin, executor, under_way: Mutex::default() }
    }

    /// A socket that is connected.
    pub(super) async fn dial(&self) -> Result<Polled<TcpStream>, Error> {
        let connected = race(take_turns(self.resolve().await?)).await;
        let failed = |source| Error::Connect { to: self.origin.to_string(), source };
        let stream = connected.map_err(failed)?;
        tune(&stream);
        Ok(stream)
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, Error> {
        let name = match &self.origin.host {
            Host::Address(address) => return Ok(vec![(*address, self.origin.port).into()]),
            Host::Name(name) => name,
        };
        let found = self.lookup(name).outcome().await;
        found.map_err(|source| Error::Resolve { host: name.clone(), source })
    }

    /// The look-up in progress, or a new one. It continues even if no task waits for it any more.
    fn lookup(&self, name: &str) -> Arc<SharedFetch<Vec<SocketAddr>, Arc<io::Error>>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookup) = under_way.upgrade().filter(|lookup| !lookup.is_done()) {
            return lookup;
        }
        let lookup = Arc::new(SharedFetch::default());
        *under_way = Arc::downgrade(&lookup);
        let (target, running) = ((name.to_owned(), self.origin.port), Arc::clone(&lookup));
        let look_up = unblock(move || target.to_socket_addrs().map(Vec::from_iter));
        let look_up = async move { running.finish(look_up.await.map_err(Arc::new)) };
        spawn(&self.executor, look_up).detach();
        lookup
    }
}

/// Connects to the first address that accepts. The error is that of the last address to fail.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<Polled<TcpStream>> {
    let mut waiting = addresses.into_iter();
    let mut attempts = Vec::new();
    let mut head_start = Timer::never();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");

    std::future::poll_fn(move |cx| {
        let mut next_is_due = attempts.is_empty() || Pin::new(&mut head_start).poll(cx).is_ready();
        loop {
            if next_is_due {
                if let Some(address) = waiting.next() {
                    attempts.push(Box::pin(Polled::<TcpStream>::connect(address)));
                    head_start.set_after(HEAD_START);
                    // Polled, so that it wakes this task.
                    next_is_due = Pin::new(&mut head_start).poll(cx).is_ready();
                } else {
                    next_is_due = false;
                }
            }
            let mut failed = false;
            let mut index = 0;
            while index < attempts.len() {
                match attempts[index].as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        failure = error;
                        failed = true;
                        drop(attempts.swap_remove(index));
                    }
                    Poll::Pending => index += 1,
                }
            }
            if attempts.is_empty() && waiting.len() == 0 {
                let failure = std::mem::replace(&mut failure, io::ErrorKind::Other.into());
                return Poll::Ready(Err(failure));
            }
            // An address that has failed no longer needs its head start.
            next_is_due |= failed;
            if !next_is_due || waiting.len() == 0 {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// IPv6 and IPv4 in turn, each in the order that the resolver prefers.
fn take_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut turns = Vec::with_capacity(v6.len() + v4.len());
    while v6.len() + v4.len() > 0 {
        turns.extend(v6.next());
        turns.extend(v4.next());
    }
    turns
}

/// The connection works without any of these options, so an error of the kernel is ignored.
///
/// A long poll or an upgraded connection may be silent for minutes or days; only the kernel's
/// keep-alive ends it.
fn tune(stream: &Polled<TcpStream>) {
    let _ = stream.get_ref().set_nodelay(true);
    let _ = sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER);
    let _ = sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED);
    keep_alive(stream);
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use rustix::net::{AddressFamily, SocketType};

    use super::*;
    use crate::net::block_on;

    fn on_loopback(listener: &TcpListener) -> SocketAddr {
        listener.local_addr().unwrap()
    }

    /// An address where connecting never completes: a listener with a full queue.
    fn silent() -> (rustix::fd::OwnedFd, SocketAddr, Vec<Polled<TcpStream>>) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &any).unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let address = rustix::net::getsockname(&socket).unwrap().try_into().unwrap();
        let mut queue = Vec::new();
        while let Some(stream) = block_on(futures_lite::future::or(
            async { Some(Polled::<TcpStream>::connect(address).await.unwrap()) },
            async {
                Timer::after(Duration::from_millis(200)).await;
                None
            },
        ))
        .unwrap()
        {
            queue.push(stream);
        }
        (socket, address, queue)
    }

    #[test]
    fn families_take_turns() {
        let parse = |all: &str| -> Vec<SocketAddr> {
            all.split(' ').map(|address| address.parse().unwrap()).collect()
        };
        let found = parse("1.0.0.1:1 1.0.0.2:1 1.0.0.3:1 [2::1]:1 [2::2]:1");
        let turns = parse("[2::1]:1 1.0.0.1:1 [2::2]:1 1.0.0.2:1 1.0.0.3:1");
        assert_eq!(take_turns(found), turns);
    }

    #[test]
    fn a_silent_address_costs_a_head_start() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (_socket, silent, _queue) = silent();
        let begin = Instant::now();
        let stream = block_on(race(vec![silent, silent, on_loopback(&listener)])).unwrap();
        assert_eq!(stream.unwrap().get_ref().peer_addr().unwrap(), on_loopback(&listener));
        assert!(begin.elapsed() >= 2 * HEAD_START);
    }

    #[test]
    fn an_address_that_refuses_costs_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = on_loopback(&TcpListener::bind("127.0.0.1:0").unwrap());
        let begin = Instant::now();
        block_on(race(vec![closed, closed, on_loopback(&listener)])).unwrap().unwrap();
        assert!(begin.elapsed() < HEAD_START);
        let error = block_on(race(vec![closed, closed])).unwrap().err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(block_on(race(vec![])).unwrap().is_err());
    }

    #[test]
    fn a_name_is_looked_up_once_at_a_time() {
        let executor = Arc::new(Executor::new());
        let dialer = Dialer::new(Origin::parse("localhost", 1).unwrap(), Arc::clone(&executor));
        let (first, second) = (dialer.lookup("localhost"), dialer.lookup("localhost"));
        assert!(Arc::ptr_eq(&first, &second));
        let found = block_on(executor.run(first.outcome())).unwrap().unwrap();
        assert!(found.contains(&SocketAddr::from(([127, 0, 0, 1], 1))), "{found:?}");
        assert!(!Arc::ptr_eq(&first, &dialer.lookup("localhost")));
    }
}
