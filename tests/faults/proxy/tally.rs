//! What was asked and what came of it, counted by all who ask; the violations in words.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// An answer that takes longer is looked at: 20 s for a token, 10 s each for connecting and the
/// handshake, 60 s for the first byte, and 5 s for a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(105);

/// More violations than these are only counted.
const KEPT: usize = 50;

/// The counts.
#[derive(Default)]
pub(crate) struct Tally {
    /// Requests sent.
    pub(crate) sent: AtomicU64,
    /// Answered by the cloud, whole and right.
    pub(crate) answered: AtomicU64,
    /// Refused by the cloud: the device had no good token twice in a row.
    pub(crate) refused: AtomicU64,
    /// Answered by the proxy with an honest 502 or 504.
    honest: AtomicU64,
    /// The reasons that the proxy has given since they were last taken, and how often.
    reasons: Mutex<BTreeMap<String, u64>>,
    /// Broken off in the middle, or before the head, to be seen as such.
    pub(crate) torn: AtomicU64,
    /// Left by the client in the middle.
    pub(crate) left: AtomicU64,
    /// Messages of WebSockets that came back.
    pub(crate) echoed: AtomicU64,
    slowest: Mutex<Duration>,
    late: Mutex<HashMap<u64, Duration>>,
    violations: Mutex<Vec<String>>,
}

/// The reason of an answer that is the cloud's 401.
pub(crate) const REFUSED: &str = "401 of the cloud";

impl Tally {
    /// One more of these.
    pub(crate) fn count(&self, what: &AtomicU64) {
        what.fetch_add(1, Relaxed);
    }

    /// The proxy gave this reason for an answer of its own.
    pub(crate) fn honest(&self, reason: &str) {
        self.count(&self.honest);
        *lock(&self.reasons).entry(reason.trim().to_owned()).or_default() += 1;
    }

    /// The cloud refused the token, and the proxy passed it on.
    pub(crate) fn refused(&self) {
        self.count(&self.refused);
        *lock(&self.reasons).entry(REFUSED.to_owned()).or_default() += 1;
    }

    /// The reasons since the last time.
    pub(crate) fn forget_reasons(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *lock(&self.reasons))
    }

    /// Whether one of the reasons since then has these words.
    pub(crate) fn is_told(&self, words: &str) -> bool {
        lock(&self.reasons).keys().any(|reason| reason.contains(words))
    }

    /// The head of the answer to this number took so long.
    pub(crate) fn took(&self, number: u64, time: Duration) {
        let mut slowest = lock(&self.slowest);
        *slowest = time.max(*slowest);
        if time > LIMIT {
            lock(&self.late).insert(number, time);
        }
    }

    /// A promise was broken.
    pub(crate) fn violation(&self, what: String) {
        eprintln!("VIOLATION: {what}");
        lock(&self.violations).push(what);
    }

    /// Those that took longer than one sending may.
    pub(crate) fn late(&self) -> HashMap<u64, Duration> {
        lock(&self.late).clone()
    }

    /// Panics with what was broken.
    pub(crate) fn check(&self) {
        let violations = lock(&self.violations);
        let shown = &violations[..violations.len().min(KEPT)];
        assert!(shown.is_empty(), "{} promises broken: {shown:#?}", violations.len());
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [sent, answered, refused, honest, torn, left, echoed] = [
            &self.sent,
            &self.answered,
            &self.refused,
            &self.honest,
            &self.torn,
            &self.left,
            &self.echoed,
        ]
        .map(|count| count.load(Relaxed));
        write!(
            f,
            "{sent} requests: {answered} answered by the cloud, {refused} refused by it, {honest} \
             answered by the proxy with 502 or 504, {torn} seen to be torn, {left} left by the \
             client; {echoed} messages echoed; slowest answer {:.1?}",
            *lock(&self.slowest)
        )
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
