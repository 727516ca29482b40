//! The threads for work that blocks. Each is started when there is work and no thread waits for it,
//! and ends after half a second without work.
//!
//! The `blocking` crate makes four futex calls for each piece of work, since it wakes a thread while
//! it holds the lock that this thread takes next. These are two: one to sleep, one to wake.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use async_task::{Builder, Runnable, Task};

/// How long a thread waits for work.
const IDLE: Duration = Duration::from_millis(500);

pub(super) static THREADS: Threads = Threads::new();

pub(super) struct Threads(Mutex<State>);

struct State {
    /// Work that no thread has begun.
    work: VecDeque<Runnable>,
    /// The threads that wait for work. The last to come is woken first, so that the others end.
    idle: Vec<Thread>,
    count: usize,
    most: usize,
}

impl Threads {
    const fn new() -> Self {
        Self(Mutex::new(State {
            work: VecDeque::new(),
            idle: Vec::new(),
            count: 0,
            most: usize::MAX,
        }))
    }

    /// Sets how many threads there are at most.
    pub(super) fn limit(&self, most: usize) {
        self.lock().most = most;
    }

    /// Runs work on one of the threads. A panic of the work is passed to the task that awaits it.
    pub(super) fn start<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Task<T> {
        let schedule = |work| self.schedule(work);
        let (runnable, task) =
            Builder::new().propagate_panic(true).spawn(|()| async move { work() }, schedule);
        runnable.schedule();
        task
    }

    fn schedule(&'static self, work: Runnable) {
        let mut state = self.lock();
        state.work.push_back(work);
        if let Some(thread) = state.idle.pop() {
            drop(state);
            thread.unpark();
        } else if state.count < state.most {
            state.count += 1;
            drop(state);
            let thread = thread::Builder::new().name("blocking".to_owned());
            if let Err(error) = thread.spawn(|| self.run()) {
                // The work is left to the other threads, or to the one that is started next.
                log::warn!("cannot start a thread: {error}");
                self.lock().count -= 1;
            }
        }
    }

    /// What a thread does.
    fn run(&self) {
        let this = thread::current();
        let mut state = self.lock();
        loop {
            while let Some(work) = state.work.pop_front() {
                drop(state);
                // It does not panic: a panic of the work is the task's.
                work.run();
                state = self.lock();
            }
            state.idle.push(this.clone());
            drop(state);
            thread::park_timeout(IDLE);
            state = self.lock();
            // If it is still there, nobody has woken this thread.
            if let Some(at) = state.idle.iter().position(|idle| idle.id() == this.id()) {
                state.idle.remove(at);
                if state.work.is_empty() {
                    state.count -= 1;
                    return;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::panic;
    use std::sync::mpsc;
    use std::time::Instant;

    use futures_lite::future::block_on;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    static FEW: Threads = Threads::new();

    #[test]
    fn there_are_no_more_threads_than_allowed_and_none_without_work() {
        FEW.limit(2);
        let (began, begun) = mpsc::channel();
        let hold = || {
            let (release, released) = mpsc::channel::<()>();
            let began = began.clone();
            let task = FEW.start(move || {
                began.send(()).unwrap();
                let _ = released.recv_timeout(LIMIT);
            });
            (release, task)
        };
        let held = [hold(), hold(), hold()];
        begun.recv_timeout(LIMIT).unwrap();
        begun.recv_timeout(LIMIT).unwrap();
        assert_eq!(FEW.lock().count, 2);
        assert!(begun.try_recv().is_err());
        for (release, task) in held {
            drop(release);
            block_on(task);
        }
        let late = Instant::now() + LIMIT;
        while FEW.lock().count > 0 {
            assert!(Instant::now() < late, "threads wait for work for ever");
            thread::yield_now();
        }
        assert!(FEW.lock().idle.is_empty());
    }

    static ONE: Threads = Threads::new();

    #[test]
    fn a_thread_outlives_a_panic_and_does_not_begin_what_was_dropped() {
        ONE.limit(1);
        let (release, released) = mpsc::channel::<()>();
        let first = ONE.start(move || released.recv_timeout(LIMIT).is_err());
        let dropped = ONE.start(|| unreachable!("it was dropped before it began"));
        let failing = ONE.start(|| panic!("of the work"));
        drop(dropped);
        drop(release);
        assert!(block_on(first));
        assert!(panic::catch_unwind(|| block_on(failing)).is_err());
        assert_eq!(block_on(ONE.start(|| 7)), 7);
    }
}
