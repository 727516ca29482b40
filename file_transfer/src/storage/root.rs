//! The directory of the files. It is opened again if it was removed or replaced.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::storage::is_same_file;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, stat};

use super::directory::Directories;
use super::lookup::Lookup;
use super::start;
use crate::error::Error;

/// How long a directory may be used without another check of its path.
const CHECKED: Duration = Duration::from_secs(1);

/// The directory that was last opened.
pub(super) struct Root {
    path: PathBuf,
    sync: bool,
    opened: Mutex<(Arc<OpenRoot>, Instant)>,
    /// Held while the directory is opened again.
    opening: Mutex<()>,
}

/// One directory: finds files and creates directories in it.
pub(super) struct OpenRoot {
    pub(super) lookup: Lookup,
    pub(super) directories: Directories,
    directory: Arc<OwnedFd>,
}

impl OpenRoot {
    fn is(&self, there: &Stat) -> bool {
        fstat(&*self.directory).is_ok_and(|known| is_same_file(&known, there))
    }

    /// Whether it still has this path, as far as is known without waiting for the disk.
    fn is_certainly_at(&self, path: &Path) -> bool {
        let look = OFlags::PATH | OFlags::CLOEXEC;
        let there = openat2(CWD, path, look, Mode::empty(), ResolveFlags::CACHED).and_then(fstat);
        there.is_ok_and(|there| self.is(&there))
    }

    /// Whether the directory was removed. Does not wait: an open directory is in memory.
    fn is_removed(&self) -> bool {
        fstat(&*self.directory).is_ok_and(|stat| stat.st_nlink == 0)
    }
}

impl Root {
    /// # Errors
    /// If the directory cannot be made or used. The message says what to change.
    pub(super) fn open(path: PathBuf, sync: bool) -> Result<Self, common::error::Error> {
        let opened = Self::open_now(&path, sync)?;
        let opened = Mutex::new((Arc::new(opened), Instant::now()));
        Ok(Self { path, sync, opened, opening: Mutex::default() })
    }

    fn open_now(path: &Path, sync: bool) -> Result<OpenRoot, common::error::Error> {
        let directory = start::open(path, sync)?;
        Ok(OpenRoot {
            lookup: Lookup::new(directory.clone(), path),
            directories: Directories::new(directory.clone(), sync),
            directory,
        })
    }

    /// The directory, without waiting for the disk. `None` if [`Root::check`] is due.
    pub(super) fn current(&self, now: Instant) -> Option<Arc<OpenRoot>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(opened.1) >= CHECKED {
            opened.0.is_certainly_at(&self.path).then_some(())?;
            opened.1 = now;
        }
        Some(opened.0.clone())
    }

    /// Whether the directory certainly does not exist. Does not wait.
    pub(super) fn is_removed(&self) -> bool {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).0.is_removed()
    }

    /// The directory that has the path now. If it is another one, or was removed, it is opened
    /// again, and created if it is missing.
    pub(super) fn check(&self) -> Result<Arc<OpenRoot>, Error> {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = || self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let mut opened = lock().0.clone();
        if !stat(&self.path).is_ok_and(|there| opened.is(&there)) {
            opened = Arc::new(Self::open_now(&self.path, self.sync).map_err(Error::NoDirectory)?);
            let shown = self.path.display();
            log::warn!("{shown} was removed or replaced: it was opened again");
        }
        *lock() = (opened.clone(), Instant::now());
        Ok(opened)
    }

    #[cfg(test)]
    pub(super) fn without_openat2(&mut self) {
        let opened = self.opened.get_mut().unwrap();
        Arc::get_mut(&mut opened.0).unwrap().lookup.walk_only();
    }
}
