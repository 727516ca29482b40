//! The places for connections: a fixed number, and which connection is closed when a new client
//! waits for one.
//!
//! While places are free, no connection is closed for being slow. When all are taken and a client
//! waits, connections are closed in this order: idle ones; those without a complete request; peers
//! that transfer less than 500 bytes a second; answers that are produced more slowly than that; quiet
//! ones beyond three quarters of the places; at last the slowest connection of a holder that has, or
//! waits for, at least two connections more than the waiting client.

mod seat;
mod waiting;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_io::Timer;
use event_listener::{Event, listener};
use futures_lite::FutureExt;

use self::seat::{GRACE, Holder, LOOK_AT_PACE, Seat, Standing, grace};
use super::state::{ConnectionState, Order, Phase};
use crate::net::clock::{micros, now};
use crate::tls::ReloadingServer;

pub(crate) use self::waiting::{Waiter, WaitingRoom};

/// How often to check for a place to free: a connection can become closable without an event.
const LOOK: Duration = Duration::from_millis(20);
/// How long a new connection is expected to send its request.
const NEW: Duration = Duration::from_millis(250);
/// How long a client waits before an exchange that makes progress is ended for it.
const WAIT: Duration = Duration::from_secs(2);

/// The places for connections, and their holders.
pub(crate) struct Places {
    most: usize,
    open: Mutex<Open>,
    closed: Event,
}

#[derive(Default)]
struct Open {
    /// Boxed, since the table keeps spare room for as many entries again.
    seats: HashMap<u64, Box<Seat>>,
    last: u64,
    /// When the progress of all connections was last measured.
    looked: u64,
    /// When a connection was closed that may have been about to send a request.
    spared: u64,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, open: Mutex::default(), closed: Event::new() }
    }

    /// Gives this order to all connections.
    pub(crate) fn ask(&self, order: Order) {
        for seat in self.lock().seats() {
            seat.state.ask(order);
        }
    }

    /// Closes upgraded connections whose client would no longer be accepted. The others are checked
    /// at their next request; exchanges in progress are completed.
    pub(crate) fn judge_upgraded(&self, tls: Option<&ReloadingServer>) {
        let open = self.lock();
        for seat in open.seats().filter(|seat| seat.state.phase() == Phase::Upgraded) {
            seat.state.is_client_accepted(tls);
        }
    }

    /// Whether no connection has a request in progress.
    pub(crate) fn are_idle(&self) -> bool {
        let is_busy = |seat: &Seat| matches!(seat.state.phase(), Phase::Head | Phase::Exchange);
        !self.lock().seats().any(is_busy)
    }

    /// Ready once no connection is open.
    pub(crate) async fn emptied(&self) {
        loop {
            listener!(self.closed => closed);
            if self.lock().seats.is_empty() {
                return;
            }
            closed.await;
        }
    }

    /// Whether the limit of quiet exchanges is reached: upgraded ones, and those that wait for an
    /// upstream answer, may take three quarters of the places.
    pub(super) fn are_quiet(&self) -> bool {
        let now = now();
        let open = self.lock();
        let is_quiet = |seat: &&Seat| seat.standing(now, micros(GRACE)) == Standing::Quiet;
        open.seats().filter(is_quiet).count() >= self.share_of_quiet()
    }

    fn share_of_quiet(&self) -> usize {
        self.most * 3 / 4
    }

    /// A place for one of the waiting clients, if one is free.
    pub(super) fn seat(self: &Arc<Self>, waiting: &mut WaitingRoom) -> Option<(Waiter, Place)> {
        let mut open = self.lock();
        if waiting.is_empty() || open.seats.len() >= self.most {
            return None;
        }
        let waiter = match waiting.only() {
            Some(waiter) => waiter,
            None => waiting.next(&open.crowds(waiting))?,
        };
        let state = Arc::new(ConnectionState::new());
        open.last += 1;
        let number = open.last;
        let seat = Seat::new(Arc::clone(&state), waiter.address, now()).of_socket(&waiter.socket);
        open.seats.insert(number, Box::new(seat));
        Some((waiter, Place { state, places: Arc::clone(self), number }))
    }

    /// Whether one more client can wait. If too many wait already, and for long, a client of the
    /// holder with the most connections is closed: others may wait in the backlog.
    pub(super) fn has_room(&self, waiting: &mut WaitingRoom) -> bool {
        let is_full = waiting.is_full();
        !is_full || (waiting.is_slow() && waiting.close_one(&self.lock().crowds(waiting)))
    }

    /// Makes room for waiting clients. Ready when a place may be free, or a connection closable.
    pub(super) async fn change(&self, waiting: &WaitingRoom) {
        listener!(self.closed => closed);
        self.make_room(waiting);
        let look = async {
            Timer::after(LOOK).await;
        };
        closed.or(look).await;
    }

    /// Closes as many connections as clients wait, if that many can be closed.
    fn make_room(&self, waiting: &WaitingRoom) {
        let mut open = self.lock();
        let (now, crowds) = (now(), open.crowds(waiting));
        let Some((_, first)) = waiting.first(&crowds) else { return };
        let waited = now.saturating_sub(first.since);
        let grace = grace(self.most, waiting.len(), waited);
        open.look_at_pace(now, grace);

        let survey = Survey { now, grace, crowds };
        let free = self.most.saturating_sub(open.seats.len());
        let needed = waiting.len().saturating_sub(free + open.closing());
        if needed == 0 || open.spare(needed, &survey) == needed || waited < micros(WAIT) {
            return;
        }
        if !open.refuse_quiet(self.share_of_quiet(), &survey) {
            open.cut_for(first.address, &survey);
        }
    }

    /// Closes one connection, since descriptors have run out.
    pub(crate) fn spare_one(&self) {
        let mut open = self.lock();
        if open.closing() == 0 {
            let crowds = open.crowds(&WaitingRoom::new(0));
            open.spare(1, &Survey { now: now(), grace: 0, crowds });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Open {
    fn look_at_pace(&mut self, now: u64, grace: u64) {
        /// After a pause it is unknown when the bytes were transferred.
        const PAUSE: Duration = Duration::from_secs(1);
        if now < self.looked + micros(LOOK_AT_PACE) {
            return;
        }
        let last = std::mem::replace(&mut self.looked, now);
        let is_first = now > last + micros(PAUSE);
        for seat in self.seats.values_mut() {
            if is_first { seat.look_first(now + grace) } else { seat.look(now, last, grace) }
        }
    }

    fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.seats.values().map(|seat| &**seat)
    }

    /// The number of connections per holder, both on places and waiting.
    fn crowds(&self, waiting: &WaitingRoom) -> HashMap<Holder, usize> {
        let mut crowds = HashMap::new();
        for holder in self.seats().map(Seat::holder).chain(waiting.holders()) {
            *crowds.entry(holder).or_insert(0) += 1;
        }
        crowds
    }

    fn closing(&self) -> usize {
        self.seats().filter(|seat| seat.state.is_closing()).count()
    }

    /// Closes this many of the connections that can be closed, and returns how many it closed. Idle
    /// ones go first, the oldest of them before the others; then those of the holder with the most
    /// connections.
    fn spare(&mut self, needed: usize, survey: &Survey) -> usize {
        let Survey { now, grace, .. } = *survey;
        let ranked = self.seats.iter().filter(|(_, seat)| !seat.state.is_closing()).filter_map(
            |(number, seat)| {
                let standing = survey.standing(seat);
                let (count, since) = match standing {
                    Standing::Idle => (0, seat.state.since()),
                    Standing::Silent => (survey.crowd(seat), seat.state.since()),
                    Standing::Slow | Standing::Stalled => (survey.crowd(seat), seat.paid_until),
                    Standing::Moving | Standing::Quiet | Standing::Working => return None,
                };
                Some((standing, Reverse(count), since, *number))
            },
        );
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort();
        // A holder's only connection is closed only if no holder with more has a closable one.
        let has_crowd = ranked.iter().any(|(_, Reverse(count), ..)| *count > 1);
        let mut spared = 0;
        for (standing, Reverse(count), since, number) in ranked {
            // Those that may be about to send a request are closed one at a time.
            let is_young = standing == Standing::Silent && now < since + grace;
            let is_new = is_young && now < (self.spared + micros(LOOK)).max(since + micros(NEW));
            let is_kept = is_new || (has_crowd && count == 1);
            if spared == needed || is_kept {
                continue;
            }
            if is_young {
                self.spared = now;
            }
            if let Some(seat) = self.seats.get(&number) {
                match standing {
                    Standing::Slow => seat.complain(
                        "connections.max is reached, and this one transfers less than 500 bytes a second",
                    ),
                    Standing::Stalled => seat.complain(
                        "connections.max is reached, and its answer comes at less than 500 bytes a second",
                    ),
                    _ => {}
                }
                let is_over = seat.state.phase() == Phase::Linger;
                seat.state.ask(if is_over { Order::Close } else { Order::MakeRoom });
                spared += 1;
            }
        }
        spared
    }

    /// If too many exchanges are quiet, answers one of them with 503: that of the holder with the
    /// most connections that fell quiet last.
    fn refuse_quiet(&self, share: usize, survey: &Survey) -> bool {
        let is_quiet = |seat: &&Seat| survey.standing(seat) == Standing::Quiet;
        let quiet: Vec<_> = self.seats().filter(is_quiet).collect();
        let can_be_refused = |seat: &&&Seat| {
            seat.state.phase() == Phase::Exchange && seat.state.order() == Order::Continue
        };
        let last = quiet
            .iter()
            .filter(can_be_refused)
            .max_by_key(|seat| (survey.crowd(seat), seat.state.since()))
            .filter(|_| quiet.len() > share);
        if let Some(seat) = last {
            seat.complain("too many requests wait for an answer from upstream");
            seat.state.ask(Order::Refuse);
        }
        last.is_some()
    }

    /// Ends the slowest exchange of the holder with the most connections, if it has at least two
    /// more than this address has places. An address without a place may also get that of a peer
    /// that is barely fast enough.
    fn cut_for(&self, address: IpAddr, survey: &Survey) {
        let has = self.seats().filter(|seat| seat.address == address).count();
        let can_be_cut = |seat: &&Seat| {
            let standing = survey.standing(seat);
            !matches!(standing, Standing::Idle | Standing::Silent | Standing::Quiet)
                && seat.address != address
                && (survey.crowd(seat) >= has + 2 || (has == 0 && seat.barely_moves(survey.now)))
                && seat.state.order() < Order::Refuse
        };
        let rank = |seat: &&Seat| (Reverse(survey.crowd(seat)), seat.pace());
        if let Some(seat) = self.seats().filter(can_be_cut).min_by_key(rank) {
            seat.complain("a client with fewer connections waits, or this one transfers little");
            let waits_for_us = seat.state.awaits_answer() && !seat.state.waits_for_peer();
            seat.state.ask(if waits_for_us { Order::Refuse } else { Order::MakeRoom });
        }
    }
}

/// The data by which connections are judged, at one moment.
struct Survey {
    now: u64,
    grace: u64,
    /// The number of connections per holder, both on places and waiting.
    crowds: HashMap<Holder, usize>,
}

impl Survey {
    fn standing(&self, seat: &Seat) -> Standing {
        seat.standing(self.now, self.grace)
    }

    fn crowd(&self, seat: &Seat) -> usize {
        self.crowds.get(&seat.holder()).copied().unwrap_or(0)
    }
}

/// The place of one connection, released when dropped.
pub(super) struct Place {
    pub(super) state: Arc<ConnectionState>,
    places: Arc<Places>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().seats.remove(&self.number);
        self.places.closed.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests;
