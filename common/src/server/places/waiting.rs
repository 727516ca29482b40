//! The clients that were accepted while all places are taken. They wait here rather than in the
//! kernel's backlog, where their addresses are not known.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::seat::{Holder, counted};
use crate::journal;
use crate::net::Polled;
use crate::net::clock::{micros, now};

/// A client that waits for a place.
pub(crate) struct Waiter {
    pub(crate) socket: Arc<Polled<TcpStream>>,
    pub(crate) peer: SocketAddr,
    pub(super) address: IpAddr,
    pub(super) since: u64,
}

impl Waiter {
    pub(crate) fn new(socket: Polled<TcpStream>, peer: SocketAddr) -> Self {
        let address = counted(peer.ip());
        Self { socket: Arc::new(socket), peer, address, since: now() }
    }

    fn holder(&self) -> Holder {
        Holder::Address(self.address)
    }
}

/// The waiting clients, in order of arrival.
pub(crate) struct WaitingRoom {
    most: usize,
    waiters: Vec<Waiter>,
}

impl WaitingRoom {
    /// Room for this many.
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.max(1), waiters: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = Holder> {
        self.waiters.iter().map(Waiter::holder)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(crate) fn enter(&mut self, waiter: Waiter) {
        self.waiters.push(waiter);
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiters.len() >= self.most
    }

    /// Whether it empties so slowly that a full backlog would take more than two seconds.
    pub(super) fn is_slow(&self) -> bool {
        const PACE: Duration = Duration::from_millis(2);
        const LEAST: Duration = Duration::from_millis(100);
        let patience = (PACE * self.most as u32).max(LEAST);
        self.waiters.first().is_some_and(|first| now() >= first.since + micros(patience))
    }

    /// Closes the last client of the holder with the most connections, if it has more than one.
    pub(super) fn close_one(&mut self, crowds: &HashMap<Holder, usize>) -> bool {
        let crowd = |waiter: &Waiter| crowds.get(&waiter.holder()).copied().unwrap_or(0);
        let waiters = self.waiters.iter().enumerate();
        let last = waiters.map(|(index, waiter)| (crowd(waiter), index)).max();
        let Some((2.., index)) = last else { return false };
        let closed = self.waiters.remove(index);
        journal::complain("too many clients wait for a connection", &closed.address);
        true
    }

    /// Takes the only waiting client, if there is exactly one.
    pub(super) fn only(&mut self) -> Option<Waiter> {
        if self.waiters.len() == 1 { self.waiters.pop() } else { None }
    }

    /// Takes the first client.
    pub(super) fn next(&mut self, crowds: &HashMap<Holder, usize>) -> Option<Waiter> {
        let (index, _) = self.first(crowds)?;
        Some(self.waiters.remove(index))
    }

    /// The client with the fewest connections, waiting and on places; among equals the first to
    /// arrive.
    pub(super) fn first(&self, crowds: &HashMap<Holder, usize>) -> Option<(usize, &Waiter)> {
        let waiters = self.waiters.iter().enumerate();
        waiters.min_by_key(|(_, waiter)| crowds.get(&waiter.holder()))
    }
}
