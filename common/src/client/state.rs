//! The state of a connection upstream, shared between its task, its socket and its user.
//!
//! The task reads its only deadline from it. An exchange has a time limit only while upstream does
//! not accept the data of the request. For its answer, and for each next byte of it, upstream may
//! take as long as the kernel finds it alive (see [`super::dial`]), since long polling is silent
//! for minutes. Each transferred byte restarts the limit, so a long upload over a slow line is not
//! cut.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::net::Observer;
use crate::net::clock::{coarse_now, micros, now};

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimits {
    /// Connecting, a proxy's answer and a handshake, each.
    pub(super) opening: Duration,
    /// How long upstream may accept no data of a request.
    pub(super) progress: Duration,
    /// How long an exchange may go without a byte while we wait for upstream; `None` for no limit.
    pub(super) silence: Option<Duration>,
    /// How long a connection is kept idle: a bit less than the 60 s after which load balancers
    /// close it.
    pub(super) idle: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            opening: Duration::from_secs(10),
            progress: Duration::from_secs(60),
            silence: None,
            idle: Duration::from_secs(55),
        }
    }
}

pub(super) struct ConnectionState {
    limits: TimeLimits,
    /// When the last byte was transferred, or the last exchange began or ended.
    moved: AtomicU64,
    in_exchange: AtomicBool,
    /// The exchange has begun, and is to look whether the connection was closed before.
    looks: AtomicBool,
    writing: AtomicBool,
    drained: AtomicBool,
    answered: AtomicBool,
    switching: AtomicBool,
    body_failed: AtomicBool,
    timed_out: AtomicBool,
    /// Bytes that may still come before the head of the answer.
    allowed: AtomicUsize,
}

/// What upstream may send before the head of its answer and with it, interim responses among it: a
/// multiple of the longest head, so that it does not keep us busy with interim responses.
const BEFORE_HEAD: usize = 256 * 1024;

impl ConnectionState {
    pub(super) fn new(limits: TimeLimits) -> Self {
        Self {
            limits,
            moved: AtomicU64::new(now()),
            in_exchange: AtomicBool::new(false),
            looks: AtomicBool::new(false),
            writing: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            switching: AtomicBool::new(false),
            body_failed: AtomicBool::new(false),
            timed_out: AtomicBool::new(false),
            allowed: AtomicUsize::new(usize::MAX),
        }
    }

    /// An exchange begins; with `switching`, the answer may switch to another protocol; with `looks`,
    /// it matters whether the connection was closed before.
    pub(super) fn begin(&self, switching: bool, looks: bool) {
        self.moved(0);
        self.answered.store(false, Relaxed);
        self.switching.store(switching, Relaxed);
        self.in_exchange.store(true, Relaxed);
        self.looks.store(looks, Relaxed);
        self.allowed.store(BEFORE_HEAD, Relaxed);
    }

    /// The head of the answer has arrived.
    pub(super) fn has_head(&self) {
        self.allowed.store(usize::MAX, Relaxed);
    }

    /// So many bytes were read. False: there were too many before the head of the answer.
    pub(super) fn allows(&self, bytes: usize) -> bool {
        let allowed = self.allowed.load(Relaxed);
        if allowed != usize::MAX {
            self.allowed.store(allowed.saturating_sub(bytes), Relaxed);
        }
        allowed > bytes
    }

    /// True once per exchange that looks, before its first byte is read or sent.
    pub(super) fn must_look(&self) -> bool {
        self.looks.load(Relaxed) && self.looks.swap(false, Relaxed)
    }

    /// The exchange is over, and another may follow.
    pub(super) fn rest(&self) {
        self.moved(0);
        self.in_exchange.store(false, Relaxed);
    }

    /// The connection's task is polled, and will check again whether the socket is ready.
    pub(super) fn begin_turn(&self) {
        self.drained.store(false, Relaxed);
        self.writing.store(false, Relaxed);
    }

    /// Everything that arrived was read; the connection's task is woken when more arrives.
    pub(super) fn drain(&self) {
        self.drained.store(true, Relaxed);
    }

    pub(super) fn is_drained(&self) -> bool {
        self.drained.load(Relaxed)
    }

    /// Whether a byte was received since the exchange began.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Relaxed)
    }

    pub(super) fn is_switching(&self) -> bool {
        self.switching.load(Relaxed)
    }

    /// The body of the request could not be read to its end.
    pub(super) fn fail_body(&self) {
        self.body_failed.store(true, Relaxed);
    }

    pub(super) fn has_body_failed(&self) -> bool {
        self.body_failed.load(Relaxed)
    }

    /// A time limit, ours or the kernel's, ended the connection.
    pub(super) fn time_out(&self) {
        self.timed_out.store(true, Relaxed);
    }

    pub(super) fn has_timed_out(&self) -> bool {
        self.timed_out.load(Relaxed)
    }

    /// The time, on the process's clock, at which upstream has kept us waiting too long.
    pub(super) fn deadline(&self) -> u64 {
        let moved = self.moved.load(Relaxed);
        if self.writing.load(Relaxed) {
            moved + micros(self.limits.progress)
        } else if self.in_exchange.load(Relaxed) {
            // Unread data waits for our own reader.
            let silence = self.limits.silence.filter(|_| self.is_drained());
            silence.map_or(u64::MAX, |silence| moved + micros(silence))
        } else {
            moved + micros(self.limits.idle)
        }
    }
}

impl Observer for ConnectionState {
    fn moved(&self, _: usize) {
        self.moved.store(coarse_now(), Relaxed);
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
    fn an_exchange_has_a_time_limit_only_while_upstream_takes_none_of_it() {
        let state = ConnectionState::new(TimeLimits::default());
        assert_ne!(state.deadline(), u64::MAX, "an idle connection is closed");
        state.begin(false, false);
        assert_eq!(state.deadline(), u64::MAX, "an answer is waited for");
        state.waits_to_write(true);
        assert_ne!(state.deadline(), u64::MAX, "what there is of the request is not taken");
        state.begin_turn();
        assert_eq!(state.deadline(), u64::MAX, "it may be taken now");
        state.rest();
        assert_ne!(state.deadline(), u64::MAX, "it is idle again");
    }

    #[test]
    fn silence_has_a_limit_if_one_is_set_and_all_is_read() {
        let silence = Some(Duration::from_secs(60));
        let state = ConnectionState::new(TimeLimits { silence, ..TimeLimits::default() });
        state.begin(false, false);
        assert_eq!(state.deadline(), u64::MAX, "there may be more to read");
        state.drain();
        assert_ne!(state.deadline(), u64::MAX, "nothing comes");
    }
}
