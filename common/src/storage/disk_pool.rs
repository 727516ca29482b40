//! Runs disk work on the threads for blocking jobs, a few jobs at a time.
//!
//! A stalled disk delays only the jobs that need it. Writers cannot take all threads, so a file can
//! be read while all uploads wait for a write or a sync.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_lock::{Semaphore, SemaphoreGuardArc};

use crate::tasks::{Returned, Work, unblock};

/// Jobs of any kind at a time, which is also the number of threads.
pub const JOBS: usize = 4;
/// Of these, jobs that change something.
const WRITERS: usize = 3;
/// Of these, jobs that wait until the disk has the change.
const SYNCS: usize = 2;

/// What a job does to the disk.
#[derive(Clone, Copy)]
pub enum JobKind {
    /// Reads.
    Read,
    /// Changes something.
    Write,
    /// Changes something, and waits until the disk has it.
    Sync,
    /// Creates and syncs directories, which takes many syncs. Only one such job runs at a time, so
    /// that other jobs can sync.
    MakeDirectories,
}

/// The permits for disk work. Each job takes those of its kind.
pub struct DiskPool {
    jobs: Arc<Semaphore>,
    writers: Arc<Semaphore>,
    syncs: Arc<Semaphore>,
    makers: Arc<Semaphore>,
    /// Deferred jobs, whose results are not needed.
    deferred: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl Default for DiskPool {
    fn default() -> Self {
        Self {
            jobs: Arc::new(Semaphore::new(JOBS)),
            writers: Arc::new(Semaphore::new(WRITERS)),
            syncs: Arc::new(Semaphore::new(SYNCS)),
            makers: Arc::new(Semaphore::new(1)),
            deferred: Mutex::default(),
        }
    }
}

impl DiskPool {
    /// Runs a job and returns its result.
    ///
    /// If this future is dropped, a job that has not started does not start; one that has runs to
    /// its end.
    pub fn run<T: Send + 'static>(
        self: &Arc<Self>,
        kind: JobKind,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Returned<T> {
        let (pool, work) = (self.clone(), Work::new(job));
        Returned::of(async move { pool.permit(kind, work).await.start().await })
    }

    /// Waits for a permit. The work returns it. Compiled once for all types of jobs.
    async fn permit(self: &Arc<Self>, kind: JobKind, work: Work) -> Work {
        let permits = self.permits(kind).await;
        let pool = self.clone();
        work.then(move || {
            drop(permits);
            pool.start_deferred();
        })
    }

    /// Runs a job as soon as a permit is free. Never waits.
    pub fn defer(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        self.deferred().push(Box::new(job));
        self.start_deferred();
    }

    /// Permits are always taken in the same order, which rules out a deadlock.
    async fn permits(&self, kind: JobKind) -> [Option<SemaphoreGuardArc>; 4] {
        let (writes, syncs, makes) = match kind {
            JobKind::Read => (false, false, false),
            JobKind::Write => (true, false, false),
            JobKind::Sync => (true, true, false),
            JobKind::MakeDirectories => (true, true, true),
        };
        let maker = if makes { Some(self.makers.acquire_arc().await) } else { None };
        let sync = if syncs { Some(self.syncs.acquire_arc().await) } else { None };
        let writer = if writes { Some(self.writers.acquire_arc().await) } else { None };
        [Some(self.jobs.acquire_arc().await), writer, sync, maker]
    }

    /// Starts the next deferred job if there are permits. If not, each job calls this at its end.
    fn start_deferred(self: &Arc<Self>) {
        while !self.deferred().is_empty() {
            let Some(writer) = self.writers.try_acquire_arc() else { return };
            let Some(permit) = self.jobs.try_acquire_arc() else { return };
            let Some(job) = self.deferred().pop() else { continue };
            let pool = self.clone();
            return unblock(move || {
                job();
                drop((permit, writer));
                pool.start_deferred();
            })
            .detach();
        }
    }

    fn deferred(&self) -> MutexGuard<'_, Vec<Box<dyn FnOnce() + Send>>> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use futures_lite::future;

    use super::*;
    use crate::tasks::Job;

    const LIMIT: Duration = Duration::from_secs(10);

    impl DiskPool {
        /// Waits for a permit and starts a job.
        async fn start(
            self: &Arc<Self>,
            kind: JobKind,
            job: impl FnOnce() -> bool + Send + 'static,
        ) -> Job<bool> {
            self.permit(kind, Work::new(job)).await.into_job()
        }
    }

    /// Starts jobs of these kinds that wait until the sender is dropped.
    fn stall(pool: &Arc<DiskPool>, kinds: &[JobKind]) -> (mpsc::Sender<()>, Vec<Job<bool>>) {
        let (sender, receiver) = mpsc::channel::<()>();
        let receiver = Arc::new(Mutex::new(receiver));
        let start = |kind: &JobKind| {
            let receiver = receiver.clone();
            future::block_on(pool.start(*kind, move || receiver.lock().unwrap().recv().is_err()))
        };
        (sender, kinds.iter().map(start).collect())
    }

    #[test]
    fn stalled_uploads_leave_room_for_a_download() {
        let pool = Arc::new(DiskPool::default());
        let (sender, stalled) = stall(&pool, &[JobKind::Sync, JobKind::Sync, JobKind::Write]);
        let mut fourth = Box::pin(pool.start(JobKind::Write, || true));
        assert!(future::block_on(future::poll_once(&mut fourth)).is_none());

        let (done, read) = mpsc::channel();
        let reader = pool.clone();
        std::thread::spawn(move || {
            done.send(future::block_on(reader.run(JobKind::Read, || 7))).unwrap();
        });
        assert_eq!(read.recv_timeout(LIMIT), Ok(7));

        drop(sender);
        for job in stalled {
            assert!(future::block_on(job));
        }
        assert!(future::block_on(async { fourth.await.await }));
    }

    #[test]
    fn jobs_that_make_directories_leave_room_for_a_sync() {
        let pool = Arc::new(DiskPool::default());
        let (sender, stalled) = stall(&pool, &[JobKind::MakeDirectories]);
        let mut second = Box::pin(pool.start(JobKind::MakeDirectories, || true));
        assert!(future::block_on(future::poll_once(&mut second)).is_none());
        assert!(future::block_on(pool.run(JobKind::Sync, || true)));
        drop(sender);
        assert!(future::block_on(async { second.await.await }));
        drop(stalled);
    }

    #[test]
    fn a_deferred_job_waits_for_a_permit_and_is_run() {
        let pool = Arc::new(DiskPool::default());
        let (sender, stalled) = stall(&pool, &[JobKind::Write; WRITERS]);
        let (done, seen) = mpsc::channel();
        pool.defer(move || done.send(()).unwrap());
        assert_eq!(pool.deferred().len(), 1);
        drop(sender);
        assert_eq!(seen.recv_timeout(LIMIT), Ok(()));
        drop(stalled);
    }
}
