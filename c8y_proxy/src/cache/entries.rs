//! The entries on the disk: found, confirmed and removed.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use common::storage::{Kind, sync_names};
use rustix::fs::{Mode, OFlags, Timespec, Timestamps, UTIME_NOW, futimens, openat};

use super::Shared;
use super::entry::Entry;
use super::index::{self, Found};
use super::key::Key;

impl Shared {
    /// The entry, its open file, and for how long upstream has not been asked.
    pub(super) async fn find(
        self: &Arc<Self>,
        key: &Key,
    ) -> Option<(Entry, Arc<OwnedFd>, Duration)> {
        let Found { file, age } = self.index.find(key.name)?;
        let (shared, url, name) = (self.clone(), key.url.clone(), key.name);
        let read = move || {
            let file = match file {
                Some(file) => file,
                None => {
                    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    Arc::new(openat(
                        &shared.directory,
                        index::file_name(name),
                        flags,
                        Mode::empty(),
                    )?)
                }
            };
            let entry = Entry::read(&file)?.filter(|entry| entry.url == url);
            Ok::<_, std::io::Error>(entry.map(|entry| (entry, file)))
        };
        match self.pool.run(Kind::Read, read).await {
            Ok(Some((entry, file))) => {
                self.index.open(key.name, &file);
                Some((entry, file, age))
            }
            outcome => {
                if let Err(error) = outcome {
                    log::warn!("cannot read an entry of the cache: {error}");
                }
                self.remove(key.name).await;
                None
            }
        }
    }

    /// Notes that the entry is unchanged, and now and then in its file, for after a restart.
    pub(super) fn confirm(&self, name: u128, file: &Arc<OwnedFd>) {
        if !self.index.confirm(name) {
            return;
        }
        let file = file.clone();
        self.pool.defer(move || {
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let times = Timestamps { last_access: now, last_modification: now };
            if let Err(errno) = futimens(&file, &times) {
                log::debug!("cannot note that an entry of the cache is unchanged: {errno}");
            }
        });
    }

    /// Drops an entry, and returns when that is on the disk.
    pub(super) async fn remove(self: &Arc<Self>, name: u128) {
        if !self.index.remove(name) {
            return;
        }
        let shared = self.clone();
        let remove = move || {
            index::unlink(&shared.directory, name)?;
            sync_names(shared.directory.as_fd())
        };
        if let Err(errno) = self.pool.run(Kind::Sync, remove).await {
            log::warn!("cannot remove an entry of the cache: {errno}");
        }
    }
}
