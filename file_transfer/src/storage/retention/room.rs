//! Deletes the least recently used files for an upload that needs room.
//!
//! Each upload deletes files for itself, and takes the room of each file immediately. It does this
//! in short jobs, in turn with other uploads, and holds no lock between them: other requests, and
//! smaller uploads that make room too, wait for at most one job. Nothing is synced: after a power
//! cut, files that exist again are counted at the next start.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_lock::MutexGuardArc;
use common::storage::JobKind;
use rustix::fs::Stat;

use super::super::Inner;
use super::eviction::Oldest;
use super::quota::{NoRoom, Reservation};
use super::recount::Otherwise;
use super::sum::Sum;
use super::traversal::Traversal;
use super::{Outcome, Retention};
use crate::path::FilePath;

/// The limits of one job: the number of deleted files, and its time.
const MOST: usize = 64;
const LONGEST: Duration = Duration::from_millis(10);

struct MakingRoom {
    inner: Arc<Inner>,
    retention: Arc<Retention>,
    reservation: Arc<Reservation>,
    /// How many bytes need room.
    total: u64,
    path: FilePath,
    /// How many listings had begun before.
    listings: Option<u64>,
    deleted: Sum,
    /// Whether a deleted file was not counted, so that the total is too high.
    must_count: bool,
    /// The directory of the last file that this job has deleted.
    directory: Box<[u8]>,
}

impl Inner {
    /// Takes room for the received bytes of an upload before they are written. Deletes no file for
    /// it before `makes_room`.
    pub(in crate::storage) async fn receive(
        self: &Arc<Self>,
        reservation: &Arc<Reservation>,
        total: u64,
        makes_room: bool,
        path: &FilePath,
    ) -> Result<(), NoRoom> {
        let Some(retention) = &self.retention else { return Ok(()) };
        if !makes_room && retention.quota.makes_room() {
            return reservation.expect(total);
        }
        let mut lacking = reservation.receive(total);
        let otherwise = if lacking.is_ok() { Otherwise::MakeRoom } else { Otherwise::Refuse };
        if lacking != Ok(0) && self.recount(otherwise).await {
            lacking = reservation.receive(total);
        }
        if lacking? == 0 {
            return Ok(());
        }
        let mut making = MakingRoom {
            inner: self.clone(),
            retention: retention.clone(),
            reservation: reservation.clone(),
            total,
            path: path.clone(),
            listings: None,
            deleted: Sum::default(),
            must_count: false,
            directory: Box::default(),
        };
        loop {
            if std::mem::take(&mut making.must_count) && !self.recount(Otherwise::Refuse).await {
                return Err(NoRoom { limit: retention.quota.limit().unwrap_or(u64::MAX) });
            }
            let oldest = retention.oldest.lock_arc().await;
            match self.pool.run(JobKind::Write, move || making.part(oldest)).await? {
                Some(next) => making = next,
                None => return Ok(()),
            }
        }
    }
}

impl MakingRoom {
    /// Deletes some files. Returns `None` once there is room. Fails before the first file is deleted
    /// if there can be no room beside the files that are being sent.
    fn part(mut self, mut oldest: MutexGuardArc<Oldest>) -> Result<Option<Self>, NoRoom> {
        if self.deleted == Sum::default() {
            self.reservation.check_beside(&self.inner.sent(&self.retention))?;
        }
        self.inner.compare_clocks(&self.retention);
        let begin = Instant::now();
        let mut looked_at = 0;
        while self.reservation.receive(self.total)? > 0 {
            if self.must_count || looked_at == MOST || begin.elapsed() >= LONGEST {
                self.prune();
                return Ok(Some(self));
            }
            let Some(candidate) = oldest.pop() else {
                self.list(&mut oldest)?;
                continue;
            };
            looked_at += 1;
            let outcome = self.inner.evict(&self.retention, &candidate, oldest.sweep);
            if let Outcome::Deleted { bytes, was_counted } = outcome {
                self.deleted.add(bytes);
                self.must_count = !was_counted;
                oldest.has_deleted = true;
                // Tried only after the last file, since many files of one directory can follow each
                // other.
                if self.directory != candidate.path {
                    self.prune();
                    self.directory = candidate.path;
                }
            }
        }
        Ok(None)
    }

    /// Removes the directory of the last file if it is empty.
    fn prune(&mut self) {
        self.inner.prune(&std::mem::take(&mut self.directory));
    }

    /// Lists files, or continues a listing. Fails if all files were listed since this upload began
    /// to make room, and none of them could be deleted.
    fn list(&mut self, oldest: &mut Oldest) -> Result<(), NoRoom> {
        if !oldest.is_listing() {
            let before = *self.listings.get_or_insert(oldest.listings);
            let full = NoRoom { limit: self.retention.quota.limit().unwrap_or(u64::MAX) };
            if oldest.listings > before && !oldest.has_deleted {
                return Err(full);
            }
            let Ok(root) = self.inner.root.check() else { return Err(full) };
            oldest.list(Traversal::new(root.directories.root().as_fd()).map_err(|_| full)?);
        }
        oldest.list_more(|stat: &Stat| self.retention.last_use(stat));
        Ok(())
    }
}

impl Drop for MakingRoom {
    fn drop(&mut self) {
        self.prune();
        if self.deleted != Sum::default() {
            let Self { path, deleted: Sum { files, bytes }, .. } = self;
            log::info!("deleted to make room for {path}: files {files}, bytes {bytes}");
        }
    }
}
