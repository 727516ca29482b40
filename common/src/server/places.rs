//! Who is open, at most so many, and who makes room when somebody waits.
//!
//! While there is room nobody is cut for being slow. Where there is none and somebody waits, idle
//! connections go first, then those that have not sent a request yet, then peers that move less
//! than 500 bytes a second, then what is quiet beyond three quarters of the places, and at last the
//! slowest of somebody who has more than half of them.

mod seat;
mod waiting;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_io::Timer;
use event_listener::{Event, listener};
use futures_lite::FutureExt;

use self::seat::{GRACE, Holder, Pace, Seat, Standing};
use super::state::{ConnectionState, Order, Phase};
use crate::net::clock::{micros, now};

pub(crate) use self::waiting::{Waiter, WaitingRoom};

/// How often it is looked whether somebody can have a place: a connection may become spare
/// without a word.
const LOOK: Duration = Duration::from_millis(20);
/// Somebody who has just got a place is about to ask.
const NEW: Duration = Duration::from_millis(250);
/// How often it is looked how much everybody has moved.
const LOOK_AT_PACE: Duration = Duration::from_millis(250);
/// How long somebody waits before an exchange that moves has to end for it.
const WAIT: Duration = Duration::from_secs(2);

/// The places for connections, and who has them.
pub(crate) struct Places {
    most: usize,
    open: Mutex<Open>,
    closed: Event,
}

#[derive(Default)]
struct Open {
    /// Boxed, since a table that doubles would keep room for twice as many.
    seats: HashMap<u64, Box<Seat>>,
    last: u64,
    /// When it was looked how much everybody has moved.
    looked: u64,
    /// When somebody went who may just have been about to ask.
    spared: u64,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, open: Mutex::default(), closed: Event::new() }
    }

    /// Asks all connections to finish what they are doing, or to close.
    pub(crate) fn ask(&self, order: Order) {
        for seat in self.lock().seats() {
            seat.state.ask(order);
        }
    }

    /// Whether no request is under way on any connection.
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

    /// Whether no more exchanges may be quiet: what is upgraded, or waits for an answer from
    /// elsewhere, takes at most three quarters of the places.
    pub(super) fn are_quiet(&self) -> bool {
        let now = now();
        let open = self.lock();
        let is_quiet = |seat: &&Seat| seat.standing(now, micros(GRACE)) == Standing::Quiet;
        open.seats().filter(is_quiet).count() >= self.share_of_quiet()
    }

    fn share_of_quiet(&self) -> usize {
        (self.most * 3 / 4).max(1)
    }

    /// A place for one of those who wait, if there is one.
    pub(super) fn seat(self: &Arc<Self>, waiting: &mut WaitingRoom) -> Option<(Waiter, Place)> {
        let mut open = self.lock();
        if waiting.is_empty() || open.seats.len() >= self.most {
            return None;
        }
        let waiter = match waiting.only() {
            Some(waiter) => waiter,
            None => waiting.next(self.most, &open.addresses())?,
        };
        let state = Arc::new(ConnectionState::new());
        open.last += 1;
        let number = open.last;
        let seat = Seat::new(Arc::clone(&state), waiter.address, now()).of_socket(&waiter.socket);
        open.seats.insert(number, Box::new(seat));
        Some((waiter, Place { state, places: Arc::clone(self), number }))
    }

    /// Makes room for those who wait. Ready when a place may be free, or somebody to be spared.
    pub(super) async fn change(&self, waiting: &WaitingRoom) {
        listener!(self.closed => closed);
        self.make_room(waiting);
        let look = async {
            Timer::after(LOOK).await;
        };
        closed.or(look).await;
    }

    /// Has as many connections close as somebody waits for, if so many can be spared.
    fn make_room(&self, waiting: &WaitingRoom) {
        let mut open = self.lock();
        let (now, waiters) = (now(), &waiting.waiters);
        let first = waiting.first(self.most, &open.addresses());
        let waited = first.map_or(0, |first| now.saturating_sub(waiters[first].since));
        let pace = Pace::of(self.most, waiters.len(), waited);
        open.look_at_pace(now, pace);

        let free = self.most.saturating_sub(open.seats.len());
        let needed = waiters.len().saturating_sub(free + open.closing());
        if needed == 0 || open.spare(needed, now, pace.grace) == needed {
            return;
        }
        let late: Vec<_> =
            waiters.iter().filter(|waiter| waiter.since + micros(WAIT) <= now).collect();
        if late.is_empty() || open.refuse_quiet(self.share_of_quiet(), now, pace.grace) {
            return;
        }
        open.cut_the_largest(self.most, now, pace.grace, |seat| {
            late.iter().any(|waiter| waiter.address != seat.address)
        });
    }

    /// Has one connection close, since descriptors have run out.
    pub(super) fn spare_one(&self) {
        let mut open = self.lock();
        if open.closing() == 0 {
            open.spare(1, now(), 0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Open {
    fn look_at_pace(&mut self, now: u64, pace: Pace) {
        /// After a pause it is not known what was moved when.
        const PAUSE: Duration = Duration::from_secs(1);
        if now < self.looked + micros(LOOK_AT_PACE) {
            return;
        }
        let is_first = now > self.looked + micros(PAUSE);
        self.looked = now;
        for seat in self.seats.values_mut() {
            if is_first { seat.look_first(now + pace.grace) } else { seat.look(now, pace) }
        }
    }

    fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.seats.values().map(|seat| &**seat)
    }

    fn addresses(&self) -> HashMap<IpAddr, usize> {
        count(self.seats().map(|seat| seat.address))
    }

    fn holders(&self) -> HashMap<Holder, usize> {
        count(self.seats().map(Seat::holder))
    }

    fn closing(&self) -> usize {
        self.seats().filter(|seat| seat.state.is_closing()).count()
    }

    /// Closes so many connections of those that can be spared, and returns how many it could. Idle
    /// ones go first, the oldest before the others; then those of whoever has most places.
    fn spare(&mut self, needed: usize, now: u64, grace: u64) -> usize {
        let counts = self.holders();
        let ranked = self.seats.iter().filter(|(_, seat)| !seat.state.is_closing()).filter_map(
            |(number, seat)| {
                let standing = seat.standing(now, grace);
                let count = match standing {
                    Standing::Idle => 0,
                    Standing::Silent | Standing::Slow => counts[&seat.holder()],
                    Standing::Moving | Standing::Quiet | Standing::Working => return None,
                };
                Some((standing, Reverse(count), seat.state.since(), *number))
            },
        );
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort();
        // Whoever has a single connection goes only where nobody with more of them can.
        let has_crowd = ranked.iter().any(|(_, Reverse(count), ..)| *count > 1);
        let mut spared = 0;
        for (standing, Reverse(count), since, number) in ranked {
            // Those that may just be about to ask go one at a time.
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
                if standing == Standing::Slow {
                    seat.complain(
                        "all places are taken, and it moves less than 500 bytes a second",
                    );
                }
                let is_over = seat.state.phase() == Phase::Linger;
                seat.state.ask(if is_over { Order::Close } else { Order::MakeRoom });
                spared += 1;
            }
        }
        spared
    }

    /// Where more are quiet than may be, has the one answered 503 that fell quiet last.
    fn refuse_quiet(&self, share: usize, now: u64, grace: u64) -> bool {
        let is_quiet = |seat: &&Seat| seat.standing(now, grace) == Standing::Quiet;
        let quiet: Vec<_> = self.seats().filter(is_quiet).collect();
        let last = quiet
            .iter()
            .filter(|seat| {
                seat.state.phase() == Phase::Exchange && seat.state.order() == Order::Continue
            })
            .max_by_key(|seat| seat.state.since())
            .filter(|_| quiet.len() > share);
        if let Some(seat) = last {
            seat.complain("too many requests wait for an answer from elsewhere");
            seat.state.ask(Order::Refuse);
        }
        last.is_some()
    }

    /// Ends the slowest exchange of whoever has more than half of all places.
    fn cut_the_largest(
        &self,
        most: usize,
        now: u64,
        grace: u64,
        is_for_another: impl Fn(&Seat) -> bool,
    ) {
        let largest = self.holders().into_iter().find(|(_, count)| count * 2 > most);
        let Some((holder, _)) = largest else { return };
        let is_at_work = |seat: &Seat| {
            let standing = seat.standing(now, grace);
            matches!(standing, Standing::Slow | Standing::Moving | Standing::Working)
        };
        let slowest = self
            .seats()
            .filter(|seat| seat.holder() == holder && is_for_another(seat))
            .filter(|seat| is_at_work(seat) && !seat.state.is_closing())
            .min_by_key(|seat| seat.pace());
        if let Some(seat) = slowest {
            seat.complain("it has more than half of all places, and somebody else waits");
            seat.state.ask(Order::MakeRoom);
        }
    }
}

fn count<T: Eq + Hash>(all: impl Iterator<Item = T>) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    for one in all {
        *counts.entry(one).or_insert(0) += 1;
    }
    counts
}

/// One connection's place, given back when dropped.
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
