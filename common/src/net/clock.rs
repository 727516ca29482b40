//! The clock for connections: microseconds since the process first read it.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_io::Timer;

/// Microseconds on the process's clock.
pub(crate) fn now() -> u64 {
    micros(epoch().elapsed())
}

thread_local! {
    /// When this thread last began to poll tasks; 0 if it does not.
    static POLLING: Cell<u64> = const { Cell::new(0) };
}

/// The time at which this thread last began to poll tasks. Reading it is cheaper than [`now`], and
/// exact enough to note when something happened.
pub(crate) fn coarse_now() -> u64 {
    match POLLING.get() {
        0 => now(),
        began => began,
    }
}

pub(super) fn begin_polling() {
    POLLING.set(now());
}

pub(super) fn end_polling() {
    POLLING.set(0);
}

pub(crate) fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// The timer of a task whose deadline moves often. It is rarely set again, since most deadlines
/// move before they are reached.
pub(crate) struct DeadlineTimer {
    timer: Timer,
    /// When the timer fires; `u64::MAX` if it is not set.
    at: u64,
}

impl DeadlineTimer {
    pub(crate) fn new() -> Self {
        Self { timer: Timer::never(), at: u64::MAX }
    }

    /// Whether it will wake the task that polled it last.
    pub(crate) fn is_set(&self) -> bool {
        self.at != u64::MAX
    }

    /// Ready when `deadline`, a time on the process's clock, has passed; `u64::MAX` means never.
    /// The task may be woken earlier, so each poll must pass the current deadline.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: u64) -> Poll<()> {
        loop {
            if deadline < self.at {
                self.at = deadline;
                self.timer.set_at(epoch() + Duration::from_micros(deadline));
            }
            if self.at == u64::MAX || Pin::new(&mut self.timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.at = u64::MAX;
            if now() >= deadline {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn a_deadline_that_has_moved_is_waited_for() {
        let begin = now();
        let mut deadline = begin + 10_000;
        let mut timer = DeadlineTimer::new();
        async_io::block_on(poll_fn(|cx| {
            let polled = timer.poll(cx, deadline);
            if now() < begin + 10_000 {
                deadline = begin + 50_000;
            }
            polled
        }));
        assert!(now() >= begin + 50_000);
    }

    #[test]
    fn no_deadline_never_comes() {
        let mut timer = DeadlineTimer::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(timer.poll(&mut cx, u64::MAX).is_pending());
        assert!(timer.poll(&mut cx, now()).is_ready());
        assert!(timer.poll(&mut cx, u64::MAX).is_pending());
    }
}
