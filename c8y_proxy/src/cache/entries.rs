//! The entries on the disk: finds, confirms and removes them.

use std::fmt::Display;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use async_io::Timer;
use common::storage::space::{Need, shortage};
use common::storage::{JobKind, Temporary, is_same_file, sync_names};
use futures_lite::FutureExt;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, fstat, futimens, stat};
use rustix::io::Errno;

use super::entry::Entry;
use super::files::download_tag;
use super::fill::Fill;
use super::index::{self, FoundEntry, Reservation};
use super::key::EntryKey;
use super::start;
use super::{Cache, Shared};

/// How long a download waits while other downloads are stored.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the body of an answer comes from.
pub(super) enum BodySource {
    /// From the file of an entry of this version.
    Entry(Arc<OwnedFd>, u64),
    /// From a download in progress.
    Fill(Arc<Fill>),
}

impl Cache {
    /// Whether the last download could not be written, or none could at the start.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.has_failed.load(Relaxed)
    }
}

impl Shared {
    /// Logs why a download cannot be cached, and keeps that it failed.
    pub(super) fn fail(&self, path: &str, error: &dyn Display) {
        log::warn!("cannot cache {path}: {error}");
        self.has_failed.store(true, Relaxed);
    }

    /// The key of this path for the current user.
    pub(super) fn key(&self, path: &str) -> EntryKey {
        let credentials = self.upstream.credentials();
        // Before the name, so that a change in between is noticed.
        let changes = credentials.user_changes();
        let user = credentials.user();
        EntryKey::new(self.upstream.host(), user.as_deref(), changes, path)
    }

    /// Whether the user is still that of the key. If not, upstream's last answer may be for the
    /// other user.
    pub(super) fn is_of_user(&self, key: &EntryKey) -> bool {
        self.upstream.credentials().user_changes() == key.user_changes
    }

    /// The entry, its open file, and the time since upstream was last asked.
    pub(super) async fn find(
        self: &Arc<Self>,
        key: &EntryKey,
    ) -> Option<(Arc<Entry>, Arc<OwnedFd>, FoundEntry)> {
        let mut found = self.index.find(key.name)?;
        let file = found.file.take();
        let (shared, url, name) = (self.clone(), key.url.clone(), key.name);
        let read = move || {
            let (file, is_open) = match file {
                Some(file) => (file, true),
                None => (Arc::new(index::open(shared.directory(), name)?), false),
            };
            let stat = fstat(&file)?;
            if !is_open && !index::is_own(&stat) {
                return Ok(None);
            }
            let entry = Entry::read(&file, &stat)?.filter(|entry| entry.url == url);
            Ok::<_, std::io::Error>(entry.map(|entry| (Arc::new(entry), file)))
        };
        match self.pool.run(JobKind::Read, read).await {
            Ok(Some((entry, file))) => {
                self.index.open(key.name, found.version, &file);
                Some((entry, file, found))
            }
            outcome => {
                let error = outcome.err().filter(|error| error.kind() != ErrorKind::NotFound);
                if let Some(error) = error {
                    log::warn!("cannot read an entry of the cache: {error}");
                }
                self.remove(key.name, Some(found.version)).await;
                None
            }
        }
    }

    /// The directory of the entries. Waits for [`Shared::reopen`].
    pub(super) fn directory(&self) -> Arc<OwnedFd> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Opens the directory again if its path leads to another, or to none: it was removed. Waits for
    /// the disk.
    pub(super) fn reopen(&self) {
        let mut directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        let (opened, there) = (fstat(&*directory.0), stat(&self.options.directory));
        let is_there = match (opened, there) {
            (Ok(opened), Ok(there)) => is_same_file(&opened, &there),
            (_, there) => !matches!(there, Err(Errno::NOENT)),
        };
        if is_there {
            return;
        }
        match start::open(&self.options) {
            Ok((opened, lock, index)) => {
                self.index.replace(index);
                *directory = (Arc::new(opened), lock);
            }
            Err(error) => log::warn!("nothing is cached: {error}"),
        }
    }

    /// Forgets entries that another process has removed, if the directory has changed. Waits for
    /// the disk.
    pub(super) fn look_again(&self) -> Result<(), Errno> {
        let directory = self.directory();
        let stat = fstat(&directory)?;
        let changed = Some((stat.st_mtime, stat.st_mtime_nsec as u64));
        let mut known = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != changed {
            self.index.look_again(&directory)?;
            *known = changed;
        }
        Ok(())
    }

    /// Notes that the entry is unchanged. Writes this to its file at times, for the next start: the
    /// current time, or a time long ago if the entry may not be served without asking again.
    pub(super) fn confirm(&self, name: u128, file: &Arc<OwnedFd>, may_be_stale: bool) {
        if !self.index.confirm(name, may_be_stale) {
            return;
        }
        let file = file.clone();
        self.pool.defer(move || {
            let tv_nsec = if may_be_stale { UTIME_NOW } else { 0 };
            let time = Timespec { tv_sec: 0, tv_nsec };
            let times = Timestamps { last_access: time, last_modification: time };
            if let Err(errno) = futimens(&file, &times) {
                log::debug!("cannot save when a cached binary was checked: {errno}");
            }
        });
    }

    /// Drops an entry, if it is of this version, and returns when this is on the disk.
    pub(super) async fn remove(self: &Arc<Self>, name: u128, version: Option<u64>) {
        if !self.index.remove(name, version) {
            return;
        }
        let shared = self.clone();
        let remove = move || {
            let directory = shared.directory();
            index::unlink(&directory, name)?;
            sync_names(directory.as_fd())
        };
        if let Err(errno) = self.pool.run(JobKind::Sync, remove).await {
            log::warn!("cannot remove an entry of the cache: {errno}");
        }
    }

    /// Drops an entry that upstream has changed: it is not served any more.
    pub(super) async fn drop(self: &Arc<Self>, key: &EntryKey, source: &BodySource) {
        let version = match source {
            BodySource::Entry(_, version) => Some(*version),
            BodySource::Fill(fill) => {
                fill.forget();
                None
            }
        };
        self.remove(key.name, version).await;
    }

    /// Waits a moment if the disk is slower than the download. Returns whether the disk has kept
    /// up.
    pub(super) async fn has_time(&self) -> bool {
        let storing = async {
            drop(self.storing.acquire().await);
            true
        };
        let late = async {
            Timer::after(PATIENCE).await;
            false
        };
        storing.or(late).await
    }

    /// Creates the file of a download of this path. Waits for the disk.
    pub(super) fn temporary(&self, path: &str) -> Result<Temporary, Errno> {
        let directory = self.directory();
        // In a directory of root, only the last step would fail.
        if start::check_writable(&directory) == Err(Errno::ACCESS) {
            return Err(Errno::ACCESS);
        }
        Temporary::create_for(download_tag(path), directory.as_fd(), self.pool.clone())
    }

    /// Takes space until there are `bytes` in all, and checks that enough stays free. Removes
    /// entries to make room. Returns whether there is room. Waits for the disk.
    pub(super) fn make_room(
        &self,
        space: &mut Reservation,
        bytes: u64,
        need: Need,
    ) -> Result<bool, Errno> {
        let (directory, mut gone) = (self.directory(), Vec::new());
        let has_room = space.grow(bytes, &mut gone);
        for name in gone {
            index::unlink(&directory, name)?;
        }
        let is_short = |need| shortage(self.options.min_free, &*directory, need);
        while has_room && is_short(need)?.is_some() {
            // If removing all entries would not be enough, none is removed.
            let (entries, taken) = self.index.totals();
            let bytes = need.bytes.saturating_sub(taken);
            let inodes = need.inodes.saturating_sub(entries as u64);
            if !space.may_evict() || is_short(Need { bytes, inodes })?.is_some() {
                return Ok(false);
            }
            let Some(name) = self.index.evict() else { return Ok(false) };
            index::unlink(&directory, name)?;
        }
        Ok(has_room)
    }
}

/// Writes to the file how long ago upstream was asked.
pub(super) fn date(file: &OwnedFd, ago: Duration) -> Result<(), Errno> {
    let asked = SystemTime::now() - ago;
    let asked = asked.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let time = Timespec { tv_sec: asked.as_secs() as _, tv_nsec: asked.subsec_nanos() as _ };
    futimens(file, &Timestamps { last_access: time, last_modification: time })
}
