//! Who is open, at most so many, and who makes room when somebody new comes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_io::Timer;
use event_listener::{Event, listener};
use futures_lite::FutureExt;

use super::state::{ConnectionState, Order, Phase};

/// The places for connections, and who has them.
pub(crate) struct Places {
    most: usize,
    open: Mutex<Open>,
    closed: Event,
}

#[derive(Default)]
struct Open {
    states: HashMap<u64, Arc<ConnectionState>>,
    last: u64,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, open: Mutex::default(), closed: Event::new() }
    }

    /// Asks all connections to finish what they are doing, or to close.
    pub(crate) fn ask(&self, order: Order) {
        for state in self.lock().states.values() {
            state.ask(order);
        }
    }

    /// Whether no request is under way on any connection.
    pub(crate) fn are_quiet(&self) -> bool {
        let is_busy =
            |state: &Arc<ConnectionState>| matches!(state.phase(), Phase::Head | Phase::Exchange);
        !self.lock().states.values().any(is_busy)
    }

    /// Ready once no connection is open.
    pub(crate) async fn emptied(&self) {
        loop {
            listener!(self.closed => closed);
            if self.lock().states.is_empty() {
                return;
            }
            closed.await;
        }
    }

    /// A place for a new connection, even where all are taken.
    pub(super) fn take(self: &Arc<Self>) -> Place {
        let state = Arc::new(ConnectionState::new());
        let mut open = self.lock();
        open.last += 1;
        let number = open.last;
        open.states.insert(number, Arc::clone(&state));
        Place { state, places: Arc::clone(self), number }
    }

    /// Closes the oldest of those that can best be spared: idle ones first, then those that have
    /// not sent a request yet. Nobody is closed where everybody is at work.
    pub(super) fn make_room(&self) {
        let open = self.lock();
        let spare = |state: &ConnectionState| match state.phase() {
            Phase::Idle if state.is_idle() => Some(0),
            Phase::Linger => Some(0),
            Phase::Silent | Phase::Head => Some(1),
            _ => None,
        };
        let victim = open
            .states
            .iter()
            .filter(|(_, state)| state.order() != Order::Close)
            .filter_map(|(number, state)| Some(((spare(state)?, state.since(), *number), state)))
            .min_by_key(|(rank, _)| *rank);
        if let Some((_, state)) = victim {
            state.ask(Order::Close);
        }
    }

    /// Waits while all places are taken. `somebody_waits` is ready when somebody wants one: only
    /// then is room made.
    pub(super) async fn room<F: Future>(&self, somebody_waits: impl Fn() -> F) {
        /// A connection may become spare without a word; look again after this time.
        const LOOK: Duration = Duration::from_millis(20);
        while self.are_taken() {
            somebody_waits().await;
            listener!(self.closed => closed);
            if self.are_taken() {
                self.make_room();
                let look = async {
                    Timer::after(LOOK).await;
                };
                closed.or(look).await;
            }
        }
    }

    fn are_taken(&self) -> bool {
        self.lock().states.len() >= self.most
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// One connection's place, given back when dropped.
pub(super) struct Place {
    pub(super) state: Arc<ConnectionState>,
    places: Arc<Places>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().states.remove(&self.number);
        self.places.closed.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_connections_make_room_first_then_silent_ones_the_oldest_first() {
        let places = Arc::new(Places::new(4));
        let taken: Vec<_> = (0..4).map(|_| places.take()).collect();
        let [busy, silent, idle, idle_too] = [0, 1, 2, 3].map(|index: usize| &taken[index].state);
        busy.enter(Phase::Exchange);
        idle.enter(Phase::Idle);
        std::thread::sleep(Duration::from_millis(2));
        idle_too.enter(Phase::Idle);
        assert!(places.are_taken());

        let asked = || {
            places.make_room();
            [busy, silent, idle, idle_too].map(|state| state.order() == Order::Close)
        };
        assert_eq!(asked(), [false, false, true, false]);
        assert_eq!(asked(), [false, false, true, true]);
        assert_eq!(asked(), [false, true, true, true]);
        assert_eq!(asked(), [false, true, true, true]);
    }

    #[test]
    fn a_closed_connection_gives_its_place_back() {
        let places = Arc::new(Places::new(1));
        let place = places.take();
        assert!(places.are_taken());
        drop(place);
        assert!(!places.are_taken());
    }
}
