//! Deletes files.

use std::os::fd::AsFd;
use std::sync::PoisonError;

use common::storage::{JobKind, sync_names};
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

use super::directory::{EntryKind, Obstacle, look};
use super::retention::Seen;
use super::{Condition, Inner, Storage};
use crate::error::Error;
use crate::path::FilePath;

impl Storage {
    /// Deletes a file, or a link to one, and returns when the deletion is on the disk. Then removes
    /// directories that uploads created and that are empty.
    ///
    /// `condition` is checked against the current file.
    ///
    /// # Errors
    /// If there is something other than a file, the condition is false, or the disk fails.
    pub(crate) async fn remove(
        &self,
        path: FilePath,
        condition: impl Condition + 'static,
    ) -> Result<(), Error> {
        let inner = self.0.clone();
        let kind = if inner.sync { JobKind::Sync } else { JobKind::Write };
        self.0.pool.run(kind, move || inner.remove(path, condition)).await
    }
}

impl Inner {
    fn remove(&self, path: FilePath, condition: impl Condition) -> Result<(), Error> {
        let failed = |errno: Errno| Error::not_deleted(&path, errno);
        let special = |special: String| Error::DeleteSpecial { path: path.clone(), special };
        let root = self.root.check()?;
        let (directory, mount) = match root.directories.find(&path) {
            Ok(found) => (found.directory, found.mount),
            Err(Obstacle::File(_)) => (None, None),
            Err(Obstacle::Special(prefix)) => return Err(special(prefix)),
            Err(Obstacle::Denied(above)) => {
                return Err(Error::denied("delete", &path, above.as_deref()));
            }
            Err(Obstacle::Disk(errno)) => return Err(failed(errno)),
        };
        let Some(directory) = directory else {
            if !condition.holds(None) {
                return Err(Error::Precondition(path));
            }
            root.directories.prune(&path);
            return Ok(());
        };

        let lock = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, name) = path.split();
        let file = match look(directory.as_fd(), name).map_err(failed)? {
            EntryKind::Nothing => None,
            EntryKind::File(file, version, stat) => Some((file, version, Some(stat))),
            EntryKind::Link(link) => match root.lookup.stat_target(&path, &link) {
                Ok(version) => Some((link, version, None)),
                Err(_) => return Err(special(path.as_str().to_owned())),
            },
            EntryKind::Directory => return Err(Error::DeleteDirectory(path)),
            EntryKind::Special => return Err(special(path.as_str().to_owned())),
        };
        if !condition.holds(file.as_ref().map(|(_, version, _)| version)) {
            return Err(Error::Precondition(path));
        }
        if let Some((file, _, stat)) = file {
            let limited = self.retention.as_ref().filter(|_| mount.is_none());
            let counted =
                limited.and_then(|retention| Some((retention, Seen::of(&stat?, &directory))));
            match unlinkat(&directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(errno)),
            }
            if let Some((retention, seen)) = counted {
                retention.removed(&seen);
                retention.lost_name(&seen, &file);
            }
        }
        drop(lock);

        // Even if there was nothing: the client may repeat its request because it lost the answer
        // to a deletion that is not on the disk yet.
        if self.sync {
            sync_names(directory.as_fd()).map_err(failed)?;
        }
        root.directories.prune(&path);
        Ok(())
    }
}
