//! The clients that were accepted while all places are taken. They wait here rather than in the
//! kernel's backlog, where their addresses are not known.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;

use super::seat::{Holder, counted};
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

    /// Whether one more client can enter. If it is full, clients of the address with the most
    /// entries that have waited for a while are removed, since clients of other addresses may wait
    /// in the backlog.
    pub(crate) fn has_room(&mut self) -> bool {
        const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
        if self.waiters.len() < self.most {
            return true;
        }
        let mut counts = HashMap::new();
        for waiter in &self.waiters {
            *counts.entry(waiter.address).or_insert(0) += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let Some((address, 2..)) = most else { return false };
        let late = now().saturating_sub(micros(PATIENCE));
        let gone = |waiter: &Waiter| waiter.address == address && waiter.since <= late;
        match self.waiters.iter().position(gone) {
            Some(index) => {
                self.waiters.remove(index);
                crate::journal::complain("too many clients wait for a connection", &address);
                true
            }
            None => false,
        }
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
