//! A file that has no name a request could say, until it is whole.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::disk_pool::Lanes;
use crate::path::RESERVED;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removed when it is dropped before it has a name.
pub(super) struct Temporary {
    file: Arc<OwnedFd>,
    /// Where it is and what it is called there, until it has a name of its own.
    place: Option<(OwnedFd, String)>,
    lanes: Arc<Lanes>,
}

impl Temporary {
    /// Makes one on the file system of `base`, in a reserved directory there.
    pub(super) fn create(base: BorrowedFd<'_>, lanes: Arc<Lanes>) -> Result<Self, Errno> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let directory = reserve(base)?;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}", std::process::id());
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            match openat(&directory, name.as_str(), flags, Mode::from_raw_mode(0o600)) {
                Ok(file) => {
                    let place = Some((directory, name));
                    return Ok(Self { file: Arc::new(file), place, lanes });
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    pub(super) fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    /// Gives it a name, in place of what has it.
    pub(super) fn name(&mut self, directory: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        let Some((from, temporary)) = &self.place else { return Err(Errno::NOENT) };
        renameat(from, temporary.as_str(), directory, name)?;
        self.place = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let Some((directory, name)) = self.place.take() else { return };
        // Giving back the blocks of a large file takes a while, and is done when the last
        // descriptor is closed.
        let file = self.file.clone();
        self.lanes.leave(move || {
            if let Err(errno) = unlinkat(directory, name.as_str(), AtFlags::empty()) {
                log::warn!("cannot remove the unfinished upload {RESERVED}/{name}: {errno}");
            }
            drop(file);
        });
    }
}

/// Removes what uploads have left on the file system of `base` when the process was killed.
pub(super) fn sweep(base: BorrowedFd<'_>) -> Result<(), Errno> {
    let directory = match openat(base, RESERVED, DIRECTORY, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            unlinkat(&directory, entry.file_name(), AtFlags::empty())?;
        }
    }
    Ok(())
}

fn reserve(base: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let open = || openat(base, RESERVED, DIRECTORY, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    match mkdirat(base.as_fd(), RESERVED, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => open(),
        Err(errno) => Err(errno),
    }
}
