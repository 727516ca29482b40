//! Whether a connection upstream still gets on, and for whom it waits.
//!
//! The socket and the bodies note each change here; the connection's task reads its one time
//! limit from it. The limit runs while upstream is waited for, not while the sender of the
//! request's body or the reader of the answer takes its time: those have limits of their own.
//! Every byte in either direction begins it anew, so that a long upload over a thin line is as
//! welcome as a short one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::net::Observer;
use crate::net::clock::{micros, now};

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connecting, a proxy's answer and a handshake, each.
    pub(super) opening: Duration,
    /// How long upstream may keep an exchange waiting without a byte.
    pub(super) progress: Duration,
    /// How long a connection may wait for its next request: a bit less than the 60 s at which
    /// load balancers like to close.
    pub(super) idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            opening: Duration::from_secs(10),
            progress: Duration::from_secs(60),
            idle: Duration::from_secs(55),
        }
    }
}

/// The state of one connection, shared between its task, its socket and its user.
pub(super) struct Pulse {
    limits: Limits,
    moved: AtomicU64,
    busy: AtomicBool,
    begun: AtomicBool,
    reading: AtomicBool,
    writing: AtomicBool,
    dry: AtomicBool,
    producing: AtomicBool,
    answered: AtomicBool,
    switching: AtomicBool,
    body_failed: AtomicBool,
    overdue: AtomicBool,
}

impl Pulse {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            moved: AtomicU64::new(now()),
            busy: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            reading: AtomicBool::new(false),
            writing: AtomicBool::new(false),
            dry: AtomicBool::new(false),
            producing: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            switching: AtomicBool::new(false),
            body_failed: AtomicBool::new(false),
            overdue: AtomicBool::new(false),
        }
    }

    /// An exchange begins; with `switching` it may end as another protocol.
    pub(super) fn begin(&self, switching: bool) {
        self.moved(0);
        self.answered.store(false, Relaxed);
        self.switching.store(switching, Relaxed);
        self.busy.store(true, Relaxed);
        self.begun.store(true, Relaxed);
    }

    /// Once for each exchange: true before its first byte is read or sent.
    pub(super) fn has_just_begun(&self) -> bool {
        self.begun.load(Relaxed) && self.begun.swap(false, Relaxed)
    }

    /// The exchange is over, and another may follow.
    pub(super) fn rest(&self) {
        self.moved(0);
        self.busy.store(false, Relaxed);
    }

    /// All that came is read, and the connection's task is woken when there is more.
    pub(super) fn run_dry(&self) {
        self.dry.store(true, Relaxed);
    }

    pub(super) fn is_dry(&self) -> bool {
        self.dry.load(Relaxed)
    }

    /// The sender of the request's body has nothing to send yet.
    pub(super) fn waits_for_producer(&self) {
        self.producing.store(true, Relaxed);
    }

    /// Whether HTTP has come back since the exchange began.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Relaxed)
    }

    pub(super) fn is_switching(&self) -> bool {
        self.switching.load(Relaxed)
    }

    /// The sender of the request's body gave up.
    pub(super) fn fail_body(&self) {
        self.body_failed.store(true, Relaxed);
    }

    pub(super) fn is_body_failed(&self) -> bool {
        self.body_failed.load(Relaxed)
    }

    /// The connection is ended by its time limit.
    pub(super) fn overrun(&self) {
        self.overdue.store(true, Relaxed);
    }

    /// Whether the connection was ended by its time limit.
    pub(super) fn is_overdue(&self) -> bool {
        self.overdue.load(Relaxed)
    }

    /// Forgets what was found out: to be called before the connection is polled, which finds it
    /// out anew.
    pub(super) fn forget(&self) {
        self.dry.store(false, Relaxed);
        self.reading.store(false, Relaxed);
        self.writing.store(false, Relaxed);
        self.producing.store(false, Relaxed);
    }

    /// When upstream has kept us waiting too long, on the process's clock.
    pub(super) fn deadline(&self) -> u64 {
        let Limits { progress, idle, .. } = self.limits;
        let limit = if self.busy.load(Relaxed) { progress } else { idle };
        let reading = self.reading.load(Relaxed) && !self.producing.load(Relaxed);
        if self.writing.load(Relaxed) || reading {
            self.moved.load(Relaxed) + micros(limit)
        } else {
            u64::MAX
        }
    }
}

impl Observer for Pulse {
    fn moved(&self, _: usize) {
        self.moved.store(now(), Relaxed);
    }

    fn waits_to_read(&self) {
        self.reading.store(true, Relaxed);
    }

    fn waits_to_write(&self, waits: bool) {
        self.writing.store(waits, Relaxed);
    }

    fn received(&self) {
        self.answered.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_upstream_is_under_a_time_limit() {
        let pulse = Pulse::new(Limits::default());
        pulse.begin(false);
        assert_eq!(pulse.deadline(), u64::MAX, "nobody is waited for");
        pulse.waits_to_read();
        assert_ne!(pulse.deadline(), u64::MAX, "an answer is waited for");
        pulse.waits_for_producer();
        assert_eq!(pulse.deadline(), u64::MAX, "the request is not complete");
        pulse.waits_to_write(true);
        assert_ne!(pulse.deadline(), u64::MAX, "what there is of the request is not taken");
        pulse.forget();
        assert_eq!(pulse.deadline(), u64::MAX, "whoever it was, nobody is waited for now");
    }
}
