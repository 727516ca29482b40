//! Removing a file for good.

use std::os::fd::AsFd;
use std::sync::PoisonError;

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

use super::directory::{Obstacle, Seen, look, sync};
use super::disk_pool::Lane;
use super::{Guard, Inner, Storage};
use crate::error::Error;
use crate::path::FilePath;

impl Storage {
    /// Removes a file, if there is one, and returns when it stays removed. Directories stay.
    ///
    /// `guard` is asked about the file that is there as it is removed.
    ///
    /// # Errors
    /// Where there is something else, or the conditions or the disk say no.
    pub(crate) async fn remove(
        &self,
        path: FilePath,
        guard: impl Guard + 'static,
    ) -> Result<(), Error> {
        let inner = self.0.clone();
        let lane = if inner.sync { Lane::Sync } else { Lane::Write };
        self.0.lanes.run(lane, move || inner.remove(path, guard)).await
    }
}

impl Inner {
    fn remove(&self, path: FilePath, guard: impl Guard) -> Result<(), Error> {
        let failed = |errno: Errno| Error::disk("delete", &path, errno);
        let special = |special: String| Error::DeleteSpecial { path: path.clone(), special };
        let directory = match self.directories.survey(&path) {
            Ok(survey) => survey.directory,
            Err(Obstacle::File(_)) => None,
            Err(Obstacle::Special(prefix)) => return Err(special(prefix)),
            Err(Obstacle::Disk(errno)) => return Err(failed(errno)),
        };
        let Some(directory) = directory else {
            return if guard.admits(None) { Ok(()) } else { Err(Error::Precondition(path)) };
        };

        let lock = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, name) = path.split();
        let file = match look(directory.as_fd(), name).map_err(failed)? {
            Seen::Nothing => None,
            Seen::File(file, version) => Some((file, version)),
            Seen::Directory => return Err(Error::DeleteDirectory(path)),
            Seen::Special => return Err(special(path.as_str().to_owned())),
        };
        if !guard.admits(file.as_ref().map(|(_, version)| version)) {
            return Err(Error::Precondition(path));
        }
        if file.is_some() {
            unlinkat(&directory, name, AtFlags::empty()).map_err(failed)?;
        }
        drop(lock);

        // Also where nothing was there: who asks again after a broken connection has to be able
        // to rely on the answer.
        if self.sync {
            sync(directory.as_fd()).map_err(failed)?;
        }
        Ok(())
    }
}
