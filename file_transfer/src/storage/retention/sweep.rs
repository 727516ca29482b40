//! The sweep: every ten minutes, it visits all files, deletes those that have expired, counts the
//! others, removes empty directories that uploads created, and compares the clocks.

#[cfg(test)]
mod tests;

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use async_io::Timer;
use async_lock::MutexGuardArc;
use common::storage::JobKind;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::super::{Inner, Storage};
use super::counted::VisitedDirectories;
use super::eviction::Candidates;
use super::quota::Quota;
use super::sum::Sum;
use super::traversal::{Traversal, Visit};
use super::{Outcome, Retention};

/// The time from the start of one sweep to the start of the next.
const PERIOD: Duration = Duration::from_secs(600);
/// The time until the next attempt, if the directory does not exist or the first count is not exact.
const RETRY: Duration = Duration::from_secs(5);
/// More than two ticks of the kernel's clock: see [`super::counted`].
const TICKS: Duration = Duration::from_millis(25);
/// The maximum time of the work in one part.
const PART: Duration = Duration::from_millis(1);
/// The pause after a part, as a multiple of its processor time. With all overhead, a sweep takes
/// half a percent of a processor, and the 99th percentile of other requests is the same as without
/// a sweep, even with one processor. 100,000 files take two or three minutes.
const PAUSE: u32 = 240;
/// The pause, as a multiple of its elapsed time, most of which may be the disk's.
const PAUSE_OF_DISK: u32 = 9;

struct Sweep {
    inner: Arc<Inner>,
    retention: Arc<Retention>,
    /// No other sweep begins before this one is dropped: a part can still run after the upload that
    /// waited for it was given up.
    ended: MutexGuardArc<u64>,
    number: u64,
    /// `None` before the first part.
    traversal: Option<Traversal>,
    tally: Tally,
    /// How long the parts took so far.
    work: Duration,
}

/// The result of a part.
enum Next {
    /// Another part follows, after a pause of this length.
    Part(Box<Sweep>, Duration),
    /// All files were visited. This error kept some from being deleted.
    End(Option<Errno>),
    /// The directory does not exist.
    Nothing,
}

/// The findings of a sweep.
struct Tally {
    kept: Sum,
    deleted: Sum,
    /// The directories whose files were visited.
    directories: VisitedDirectories,
    failed: Option<Errno>,
    /// Only if room may have to be made.
    candidates: Option<Candidates>,
}

impl Storage {
    /// Sweeps as long as the service runs, if there are limits.
    pub async fn sweep_regularly(self) {
        let Some(retention) = self.0.retention.clone() else { return };
        let mut last_failure = None;
        loop {
            let mut next = Instant::now() + PERIOD;
            let is_first = !retention.is_counted();
            match self.0.sweep(&retention).await {
                None => next = Instant::now() + RETRY,
                Some(failure) => {
                    if let (Some(errno), true) = (failure, failure != last_failure) {
                        log::warn!("cannot delete files that have expired: {errno}");
                    }
                    last_failure = failure;
                }
            }
            // It may have counted files that are deleted now.
            if is_first && retention.quota.has_removed() {
                next = Instant::now() + RETRY;
            }
            Timer::at(next).await;
        }
    }

    /// One sweep without pauses.
    #[cfg(test)]
    pub(crate) async fn sweep_now(&self) {
        let retention = self.0.retention.clone().unwrap();
        retention.is_hurried.store(true, Ordering::Relaxed);
        let ended = retention.sweeps.ended.lock_arc().await;
        self.0.sweep_locked(&retention, ended).await.unwrap();
    }

    /// For tests: lets so many milliseconds pass.
    #[cfg(test)]
    pub(crate) fn pass(&self, milliseconds: i64) {
        let passed = &self.0.retention.as_ref().unwrap().clocks.passed;
        passed.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

impl Inner {
    async fn sweep(self: &Arc<Self>, retention: &Arc<Retention>) -> Option<Option<Errno>> {
        let ended = retention.sweeps.ended.lock_arc().await;
        // An upload that was in a hurry may have ended before its sweep.
        retention.is_hurried.store(false, Ordering::Relaxed);
        self.sweep_locked(retention, ended).await
    }

    /// Sweeps once, and sets the number of the sweep that has `ended`. Returns the error that kept
    /// files from being deleted; `None` if there is no directory.
    pub(super) async fn sweep_locked(
        self: &Arc<Self>,
        retention: &Arc<Retention>,
        ended: MutexGuardArc<u64>,
    ) -> Option<Option<Errno>> {
        let (inner, limits) = (self.clone(), retention.clone());
        let begin = move || Sweep::begin(inner, limits, ended);
        let mut sweep = self.pool.run(JobKind::Write, begin).await;
        Timer::after(TICKS).await;
        loop {
            match self.pool.run(JobKind::Write, move || sweep.part()).await {
                Next::Part(next, pause) => {
                    sweep = next;
                    if !retention.is_hurried.load(Ordering::Relaxed) {
                        Timer::after(pause).await;
                    }
                }
                Next::End(failure) => return Some(failure),
                Next::Nothing => return None,
            }
        }
    }
}

impl Sweep {
    /// Begins while no file is being changed: see [`super::quota`].
    fn begin(inner: Arc<Inner>, retention: Arc<Retention>, ended: MutexGuardArc<u64>) -> Box<Self> {
        let candidates = retention.quota.makes_room().then(Candidates::new);
        let (kept, deleted) = (Sum::default(), Sum::default());
        let directories = VisitedDirectories::default();
        let tally = Tally { kept, deleted, directories, failed: None, candidates };
        let commit = inner.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let number = retention.sweeps.begin();
        retention.quota.begin_sweep();
        drop(commit);
        let (traversal, work) = (None, Duration::ZERO);
        Box::new(Self { inner, retention, ended, number, traversal, tally, work })
    }

    /// Visits some files.
    fn part(mut self: Box<Self>) -> Next {
        let Self { inner, retention, traversal, tally, work, .. } = &mut *self;
        inner.compare_clocks(retention);
        let (processor, whole) = (processor_time(), Instant::now());
        let traversal = match traversal {
            Some(traversal) => traversal,
            None => {
                let Ok(root) = inner.root.check() else { return Next::Nothing };
                let Ok(new) = Traversal::new(root.directories.root().as_fd()) else {
                    return Next::Nothing;
                };
                traversal.insert(new)
            }
        };
        while whole.elapsed() < PART {
            if !traversal.step(&mut |visit| tally.visit(visit, inner, retention)) {
                let is_complete = traversal.is_complete();
                retention.sweeps.note(*work + whole.elapsed(), true);
                return Next::End(self.end(is_complete));
            }
        }
        let (processor, whole) = (processor_time().saturating_sub(processor), whole.elapsed());
        *work += whole;
        retention.sweeps.note(*work, false);
        let pause = (processor * PAUSE).max(whole * PAUSE_OF_DISK);
        Next::Part(self, pause)
    }

    fn end(self, is_complete: bool) -> Option<Errno> {
        let Self { inner, retention, mut ended, number, tally, .. } = self;
        let Tally { kept, deleted, directories, failed, candidates } = tally;
        let is_first = !retention.is_counted();
        let commit = inner.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let sweep = retention.quota.end_sweep(kept, directories, is_first, is_complete);
        drop(commit);
        if let Some(candidates) = candidates {
            // A directory in use is about as new as now.
            if let Some(mut oldest) = retention.oldest.try_lock() {
                oldest.renew(candidates, sweep);
            }
        }
        log::debug!("swept: files {}, bytes {}", kept.files, kept.bytes);
        if deleted != Sum::default() {
            let Sum { files, bytes } = deleted;
            log::info!("deleted because they have expired: files {files}, bytes {bytes}");
        }
        if !is_complete {
            log::warn!("some directories of the files cannot be read: their files do not expire");
        }
        *ended = number;
        retention.is_hurried.store(false, Ordering::Relaxed);
        retention.is_counted.store(true, Ordering::Relaxed);
        failed
    }
}

impl Tally {
    /// Returns whether a file was deleted.
    fn visit(&mut self, visit: Visit<'_>, inner: &Inner, retention: &Retention) -> bool {
        let file = match visit {
            Visit::File(file) => file,
            Visit::Directory(directory) => {
                self.directories.add(directory);
                return false;
            }
            Visit::Emptied(directory) => {
                inner.prune(directory);
                return false;
            }
        };
        if retention.is_expired(file) {
            let (directory, name) = (file.directory, file.name);
            match inner.delete(retention, directory, name, file.stat, Quota::swept) {
                Outcome::Deleted { bytes, .. } => {
                    self.deleted.add(bytes);
                    return true;
                }
                Outcome::Kept => {}
                Outcome::Failed(errno) => self.failed = Some(errno),
            }
        }
        self.kept.add(file.stat.st_size as u64);
        if let Some(candidates) = &mut self.candidates {
            candidates.add(file, retention.last_use(file.stat));
        }
        false
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
