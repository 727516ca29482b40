//! Counts all files again before an upload is refused for lack of room, or deletes files for room:
//! other programs may have deleted files since the last sweep.
//!
//! The upload itself drives this sweep, without pauses. All uploads together spend at most a
//! fiftieth of the time on it, so that no client can make the service sweep continuously.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future;

use super::super::Inner;

/// How long an upload waits at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time from the end of a sweep until the next one for an upload may begin, as a multiple of the
/// time that its work took.
const PAUSE: u32 = 50;

/// The sweeps since the start.
pub(super) struct Sweeps {
    pub(super) begun: AtomicU64,
    /// The number of the last complete one. Locked during a sweep.
    pub(super) ended: Arc<async_lock::Mutex<u64>>,
    budget: Mutex<Budget>,
}

struct Budget {
    /// When the next sweep for an upload may begin.
    earliest: Instant,
    /// How long the work of the last complete sweep took, or of a longer one that was given up.
    work: Duration,
}

/// What an upload does without a new count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::storage) enum Otherwise {
    /// It is refused. So it waits until a sweep may begin.
    Refuse,
    /// It deletes files. Many uploads do, and none of them waits for permission.
    MakeRoom,
}

impl Default for Sweeps {
    fn default() -> Self {
        let budget = Budget { earliest: Instant::now(), work: Duration::ZERO };
        Self { begun: AtomicU64::new(0), ended: Default::default(), budget: Mutex::new(budget) }
    }
}

impl Sweeps {
    /// The number of a sweep that begins.
    pub(super) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Relaxed) + 1
    }

    /// Notes how long the work of a sweep took, or took so far.
    pub(super) fn note(&self, work: Duration, is_complete: bool) {
        let mut budget = self.budget();
        budget.work = if is_complete { work } else { work.max(budget.work) };
    }

    /// A sweep for an upload begins or has ended.
    fn charge(&self) {
        let mut budget = self.budget();
        budget.earliest = Instant::now() + budget.work * PAUSE;
    }

    /// How long an upload waits for the begin of a sweep: not for one that it could not see end.
    fn patience(&self, otherwise: Otherwise) -> Duration {
        match otherwise {
            Otherwise::Refuse => PATIENCE.saturating_sub(self.budget().work * 2),
            Otherwise::MakeRoom => Duration::ZERO,
        }
    }

    fn earliest(&self) -> Instant {
        self.budget().earliest
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Counts all files, unless this was done too recently or takes too long. Returns whether a
    /// sweep that began after this call has ended.
    pub(in crate::storage) async fn recount(self: &Arc<Self>, otherwise: Otherwise) -> bool {
        let Some(retention) = &self.retention else { return false };
        let sweeps = &retention.sweeps;
        let latest = Instant::now() + sweeps.patience(otherwise);
        if sweeps.earliest() > latest {
            return false;
        }
        let next = sweeps.begun.load(Relaxed) + 1;
        let count = async {
            retention.is_hurried.store(true, Relaxed);
            let ended = sweeps.ended.lock_arc().await;
            if *ended >= next {
                return true;
            }
            let earliest = sweeps.earliest();
            if earliest > latest.max(Instant::now()) {
                return false;
            }
            Timer::at(earliest).await;
            // Already now, since the upload may end before the sweep does.
            sweeps.charge();
            retention.is_hurried.store(true, Relaxed);
            let is_done = self.sweep_locked(retention, ended).await.is_some();
            sweeps.charge();
            is_done
        };
        let give_up = async {
            Timer::after(PATIENCE).await;
            false
        };
        future::or(count, give_up).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_for_uploads_take_at_most_a_fiftieth_of_the_time() {
        let sweeps = Sweeps::default();
        let pause = || sweeps.earliest().saturating_duration_since(Instant::now()).as_secs();
        sweeps.note(Duration::from_secs(2), true);
        assert_eq!(pause(), 0);
        sweeps.charge();
        assert!((90..=100).contains(&pause()));
        // One was given up before its end.
        sweeps.note(Duration::from_secs(4), false);
        sweeps.charge();
        assert!((190..=200).contains(&pause()));
    }
}
