//! Where work waits that may wait for a disk: the `blocking` pool, behind a few permits.
//!
//! A disk that stalls takes permits away and nothing else. Writers cannot take all of them, so
//! that a file can be read while every upload hangs in a write or a sync.

use std::sync::{Arc, Mutex, PoisonError};

use async_lock::{Semaphore, SemaphoreGuardArc};
use blocking::{Task, unblock};

/// Jobs of any kind at a time, which is also the number of threads.
pub const JOBS: usize = 4;
/// Of these, jobs that change something.
const WRITERS: usize = 3;
/// Of these, jobs that wait until the disk has it.
const SYNCS: usize = 2;

/// What a job waits for.
#[derive(Clone, Copy)]
pub(super) enum Lane {
    Read,
    Write,
    Sync,
}

pub(super) struct Lanes {
    jobs: Arc<Semaphore>,
    writers: Arc<Semaphore>,
    syncs: Arc<Semaphore>,
    chores: Mutex<Vec<Chore>>,
}

/// Something to be done for nobody in particular.
type Chore = Box<dyn FnOnce() + Send>;

impl Default for Lanes {
    fn default() -> Self {
        Self {
            jobs: Arc::new(Semaphore::new(JOBS)),
            writers: Arc::new(Semaphore::new(WRITERS)),
            syncs: Arc::new(Semaphore::new(SYNCS)),
            chores: Mutex::default(),
        }
    }
}

impl Lanes {
    /// Does a job and waits for what it returns.
    ///
    /// Dropped before, it does not begin, or comes to its end unobserved.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        lane: Lane,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        self.begin(lane, job).await.await
    }

    /// Waits for a permit and begins a job.
    pub(super) async fn begin<T: Send + 'static>(
        self: &Arc<Self>,
        lane: Lane,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Task<T> {
        let permit = self.permit(lane).await;
        let lanes = self.clone();
        unblock(move || {
            let outcome = job();
            drop(permit);
            lanes.tidy();
            outcome
        })
    }

    /// Leaves something to be done as soon as there is a permit for it. Never waits.
    pub(super) fn leave(self: &Arc<Self>, chore: impl FnOnce() + Send + 'static) {
        self.chores().push(Box::new(chore));
        self.tidy();
    }

    /// Permits are taken in one order, so that nobody waits in a circle.
    async fn permit(&self, lane: Lane) -> [Option<SemaphoreGuardArc>; 3] {
        let sync = match lane {
            Lane::Sync => Some(self.syncs.acquire_arc().await),
            Lane::Read | Lane::Write => None,
        };
        let writer = match lane {
            Lane::Sync | Lane::Write => Some(self.writers.acquire_arc().await),
            Lane::Read => None,
        };
        [Some(self.jobs.acquire_arc().await), writer, sync]
    }

    /// Begins the next chore. Without a permit it does nothing: who holds one comes by here later.
    fn tidy(self: &Arc<Self>) {
        while !self.chores().is_empty() {
            let Some(writer) = self.writers.try_acquire_arc() else { return };
            let Some(job) = self.jobs.try_acquire_arc() else { return };
            let Some(chore) = self.chores().pop() else { continue };
            let lanes = self.clone();
            return unblock(move || {
                chore();
                drop((job, writer));
                lanes.tidy();
            })
            .detach();
        }
    }

    fn chores(&self) -> std::sync::MutexGuard<'_, Vec<Chore>> {
        self.chores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use futures_lite::future;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn stalled_uploads_leave_room_for_a_download() {
        let lanes = Arc::new(Lanes::default());
        let (stall, stalled) = mpsc::channel::<()>();
        let stalled = Arc::new(Mutex::new(stalled));
        let mut hanging = Vec::new();
        for lane in [Lane::Sync, Lane::Sync, Lane::Write] {
            let stalled = stalled.clone();
            let hang = lanes.begin(lane, move || stalled.lock().unwrap().recv().is_err());
            hanging.push(future::block_on(hang));
        }
        let mut fourth = Box::pin(lanes.begin(Lane::Write, || true));
        assert!(future::block_on(future::poll_once(&mut fourth)).is_none());

        let (done, read) = mpsc::channel();
        let reader = lanes.clone();
        std::thread::spawn(move || {
            done.send(future::block_on(reader.run(Lane::Read, || 7))).unwrap();
        });
        assert_eq!(read.recv_timeout(LIMIT), Ok(7));

        drop(stall);
        for hanging in hanging {
            assert!(future::block_on(hanging));
        }
        assert!(future::block_on(async { fourth.await.await }));
    }

    #[test]
    fn a_chore_waits_for_a_permit_and_is_done() {
        let lanes = Arc::new(Lanes::default());
        let (stall, stalled) = mpsc::channel::<()>();
        let stalled = Arc::new(Mutex::new(stalled));
        let hanging: Vec<_> = (0..WRITERS)
            .map(|_| {
                let stalled = stalled.clone();
                let hang = move || stalled.lock().unwrap().recv().is_err();
                future::block_on(lanes.begin(Lane::Write, hang))
            })
            .collect();

        let (done, seen) = mpsc::channel();
        lanes.leave(move || done.send(()).unwrap());
        assert_eq!(lanes.chores().len(), 1);
        drop(stall);
        assert_eq!(seen.recv_timeout(LIMIT), Ok(()));
        drop(hanging);
    }
}
