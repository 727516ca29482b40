//! Whose turn it is to receive a body that is stored.
//!
//! Between TLS and the disk an upload has up to 64 KiB in memory, and the disk takes few at a time.
//! So only some uploads receive at a time, in the order in which they ask. A turn ends when what was
//! read is written, or when the client has sent no more: slow clients hold up nobody.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// How many receive at a time. It is enough to keep the disk busy.
pub(super) const TURNS: usize = 16;

static LIST: Mutex<List> = Mutex::new(List::new());

/// The turn of one connection. It stays where it is while it is taken or waited for.
#[derive(Default)]
pub(super) struct Turn(AtomicU8);

/// No turn is needed.
const NONE: u8 = 0;
const WANTED: u8 = 1;
const WAITS: u8 = 2;
const TAKEN: u8 = 3;

impl Turn {
    /// A body follows that is received in turns.
    pub(super) fn begin(&self) {
        self.0.store(WANTED, Relaxed);
    }

    /// Ends the turn, if it is taken, and takes the next one. If it is not free, the task is woken
    /// when it should ask again.
    pub(super) fn take(&self, waker: &Waker) -> bool {
        if self.0.load(Relaxed) == NONE {
            return true;
        }
        let is_taken = list().take(self.number(), waker);
        self.0.store(if is_taken { TAKEN } else { WAITS }, Relaxed);
        is_taken
    }

    /// Ends the turn, if it is taken. The next one may be taken.
    pub(super) fn pause(&self) {
        if self.0.load(Relaxed) == TAKEN {
            self.0.store(WANTED, Relaxed);
            list().end(self.number());
        }
    }

    /// No turn is needed any more.
    pub(super) fn end(&self) {
        if matches!(self.0.swap(NONE, Relaxed), WAITS | TAKEN) {
            list().end(self.number());
        }
    }

    pub(super) fn is_waited_for(&self) -> bool {
        self.0.load(Relaxed) == WAITS
    }

    fn number(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end();
    }
}

/// The numbers of the connections that have a turn, and those that wait for one.
struct List {
    taken: Vec<usize>,
    waiting: VecDeque<(usize, Waker)>,
}

fn list() -> MutexGuard<'static, List> {
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

impl List {
    const fn new() -> Self {
        Self { taken: Vec::new(), waiting: VecDeque::new() }
    }

    fn take(&mut self, number: usize, waker: &Waker) -> bool {
        self.taken.retain(|other| *other != number);
        let place = self.waiting.iter().position(|(other, _)| *other == number);
        let place = place.unwrap_or_else(|| {
            self.waiting.push_back((number, waker.clone()));
            self.waiting.len() - 1
        });
        let is_free = self.taken.len() + place < TURNS;
        if is_free {
            self.waiting.remove(place);
            self.taken.push(number);
        }
        self.wake();
        is_free
    }

    fn end(&mut self, number: usize) {
        self.taken.retain(|other| *other != number);
        self.waiting.retain(|(other, _)| *other != number);
        self.wake();
    }

    /// Wakes as many as turns are free.
    fn wake(&self) {
        let free = TURNS - self.taken.len();
        self.waiting.iter().take(free).for_each(|(_, waker)| waker.wake_by_ref());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Task(AtomicBool);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.store(true, SeqCst);
        }
    }

    /// A list all of whose turns are taken, by connections from 0.
    fn full() -> List {
        let mut list = List::new();
        assert!((0..TURNS).all(|number| list.take(number, Waker::noop())));
        list
    }

    #[test]
    fn each_waits_until_those_before_it_have_had_their_turn() {
        let mut list = full();
        let all = 3 * TURNS;
        assert!((TURNS..all).all(|number| !list.take(number, Waker::noop())));
        for number in 0..all {
            assert!(!list.take(number, Waker::noop()), "{number} asks again, and is the last");
            let next = (number + TURNS) % all;
            assert!(!list.take((next + 1) % all, Waker::noop()), "{next} is before it");
            assert!(list.take(next, Waker::noop()), "it is the turn of {next}");
        }
    }

    #[test]
    fn who_is_next_is_woken_even_if_one_that_was_woken_before_wants_no_turn_any_more() {
        let mut list = full();
        let (first, second) = (Arc::<Task>::default(), Arc::<Task>::default());
        assert!(!list.take(100, &first.clone().into()));
        assert!(!list.take(101, &second.clone().into()));
        list.end(0);
        assert!(first.0.load(SeqCst) && !second.0.load(SeqCst));
        list.end(100);
        assert!(second.0.load(SeqCst));
        assert!(list.take(101, Waker::noop()));
    }
}
