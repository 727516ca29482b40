//! The sweep: visits all files every ten minutes, deletes those that have expired, counts the
//! others, and compares the clocks.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use async_io::Timer;
use common::storage::Kind;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::super::{Inner, Storage};
use super::eviction::Candidates;
use super::quota::Sum;
use super::walk::{Visited, Walk};
use super::{Outcome, Retention};

/// From the start of one sweep to the start of the next.
const PERIOD: Duration = Duration::from_secs(600);
/// Until the next attempt, if the directory is not there.
const RETRY: Duration = Duration::from_secs(5);
/// How long the work of a part takes.
const PART: Duration = Duration::from_millis(1);
/// The pause after a part is so many times the processor time that it took: with what surrounds it,
/// that makes less than one percent.
const PAUSE: u32 = 120;
/// And so many times the time that it took, most of which may be the disk's.
const PAUSE_OF_DISK: u32 = 9;

/// A sweep that is under way.
struct Sweep {
    inner: Arc<Inner>,
    retention: Arc<Retention>,
    walk: Walk,
    tally: Tally,
}

/// What a sweep has found.
struct Tally {
    kept: Sum,
    deleted: Sum,
    failed: Option<Errno>,
    /// Only if room may have to be made.
    candidates: Option<Candidates>,
}

/// What a part has taken.
struct Cost {
    processor: Duration,
    whole: Duration,
}

impl Storage {
    /// Sweeps as long as the service runs, if there are limits.
    pub async fn sweep_regularly(self) {
        let Some(retention) = self.0.retention.clone() else { return };
        let mut last_failure = None;
        loop {
            let begin = Instant::now();
            let swept = self.sweep(&retention).await;
            let Some(failure) = swept else {
                Timer::after(RETRY).await;
                continue;
            };
            if let (Some(errno), true) = (failure, failure != last_failure) {
                log::warn!("cannot delete files that have expired: {errno}");
            }
            last_failure = failure;
            Timer::at(begin + PERIOD).await;
        }
    }

    /// Sweeps once. Returns what kept files from being deleted; `None` if there is no directory.
    async fn sweep(&self, retention: &Arc<Retention>) -> Option<Option<Errno>> {
        let (inner, shared) = (self.0.clone(), retention.clone());
        let mut sweep = self.0.pool.run(Kind::Write, move || Sweep::begin(inner, shared)).await?;
        loop {
            let part = move || {
                let (is_last, cost) = sweep.part();
                (sweep, is_last, cost)
            };
            let (next, is_last, cost) = self.0.pool.run(Kind::Write, part).await;
            sweep = next;
            if is_last {
                break;
            }
            if !retention.is_hurried.load(Ordering::Relaxed) {
                let pause = (cost.processor * PAUSE).max(cost.whole * PAUSE_OF_DISK);
                Timer::after(pause).await;
            }
        }
        let failure = self.0.pool.run(Kind::Write, move || sweep.end()).await;
        retention.is_hurried.store(false, Ordering::Relaxed);
        // Fails only if it is set.
        let _ = retention.counted.set(()).await;
        Some(failure)
    }

    /// One sweep without pauses.
    #[cfg(test)]
    pub(crate) async fn sweep_now(&self) {
        let retention = self.0.retention.clone().unwrap();
        retention.is_hurried.store(true, Ordering::Relaxed);
        self.sweep(&retention).await.unwrap();
    }

    /// Sets the clock of the device by so many milliseconds, and lets so many pass.
    #[cfg(test)]
    pub(crate) fn move_clocks(&self, set: i64, passed: i64) {
        let clocks = &self.0.retention.as_ref().unwrap().clocks.moved;
        clocks.0.fetch_add(set, Ordering::Relaxed);
        clocks.1.fetch_add(passed, Ordering::Relaxed);
    }
}

impl Sweep {
    fn begin(inner: Arc<Inner>, retention: Arc<Retention>) -> Option<Self> {
        let root = inner.root.check().ok()?;
        let walk = Walk::new(root.directories.root().as_fd()).ok()?;
        let candidates = retention.quota.makes_room().then(Candidates::new);
        retention.quota.begin_sweep();
        let (kept, deleted) = (Sum::default(), Sum::default());
        let tally = Tally { kept, deleted, failed: None, candidates };
        Some(Self { inner, retention, walk, tally })
    }

    /// Visits some files. Returns whether they were the last ones, and what it has taken.
    fn part(&mut self) -> (bool, Cost) {
        let Self { inner, retention, walk, tally } = self;
        inner.compare_clocks(retention);
        let (processor, whole) = (processor_time(), Instant::now());
        let mut is_last = false;
        while !is_last && whole.elapsed() < PART {
            is_last = !walk.step(|file| tally.visit(file, inner, retention));
        }
        let processor = processor_time().saturating_sub(processor);
        (is_last, Cost { processor, whole: whole.elapsed() })
    }

    fn end(self) -> Option<Errno> {
        let Self { inner, retention, walk, tally } = self;
        let Tally { kept, deleted, failed, candidates } = tally;
        let is_first = !retention.counted.is_initialized();
        retention.quota.end_sweep(kept, is_first, walk.is_complete());
        if let Some(candidates) = candidates {
            *retention.candidates.lock().unwrap_or_else(PoisonError::into_inner) =
                candidates.sorted();
        }
        log::debug!("swept: files {}, bytes {}", kept.files, kept.bytes);
        if deleted != Sum::default() {
            let Sum { files, bytes } = deleted;
            log::info!("deleted because they have expired: files {files}, bytes {bytes}");
        }
        if !walk.is_complete() {
            log::warn!("some directories of the files cannot be read: their files do not expire");
        }
        inner.compare_clocks(&retention);
        failed
    }
}

impl Tally {
    fn visit(&mut self, file: &Visited<'_>, inner: &Inner, retention: &Retention) {
        if retention.is_expired(file) {
            match inner.delete(retention, file.directory, file.name, file.stat) {
                Outcome::Deleted(bytes) => {
                    retention.quota.swept(bytes);
                    return self.deleted.add(bytes);
                }
                Outcome::Kept => {}
                Outcome::Failed(errno) => self.failed = Some(errno),
            }
        }
        self.kept.add(file.stat.st_size as u64);
        if let Some(candidates) = &mut self.candidates {
            candidates.add(file, retention.last_use(file.stat));
        }
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
