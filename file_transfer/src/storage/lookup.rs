//! Opens the regular file at a path. Follows no symbolic link, opens nothing else, and never leaves
//! the directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, fstat, openat, openat2, statat};
use rustix::io::{Errno, Result};

use super::Version;
use crate::path::FilePath;

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// To look at a name without opening what it leads to: opening a FIFO or a device has effects.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `NONBLOCK` in case a FIFO takes the file's place after the look.
const READ: OFlags =
    OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

pub(super) struct Lookup {
    root: Arc<OwnedFd>,
    kernel: Kernel,
}

/// How much of openat2 the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Kernel {
    /// None: before Linux 5.6, or forbidden by seccomp.
    Walk,
    /// All but `RESOLVE_CACHED`: before Linux 5.12.
    Resolve,
    /// All.
    Cached,
}

/// Whether a call may wait for the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// It fails with `EAGAIN` instead.
    Never,
    Allowed,
}

impl Lookup {
    pub(super) fn new(root: Arc<OwnedFd>) -> Self {
        let probe = |resolve| match openat2(&root, ".", LOOK, Mode::empty(), resolve) {
            Ok(_) | Err(Errno::AGAIN) => true,
            Err(_) => false,
        };
        let kernel = if probe(BENEATH | ResolveFlags::CACHED) {
            Kernel::Cached
        } else if probe(BENEATH) {
            Kernel::Resolve
        } else {
            Kernel::Walk
        };
        Self { root, kernel }
    }

    #[cfg(test)]
    pub(super) fn walk_only(&mut self) {
        self.kernel = Kernel::Walk;
    }

    /// Opens a regular file for reading. For anything else, the error is `ENOENT`.
    pub(super) fn open(&self, path: &FilePath, wait: Wait) -> Result<(OwnedFd, Version)> {
        let seen = self.resolve(path, LOOK, wait)?;
        Version::of(&fstat(seen)?).ok_or(Errno::NOENT)?;
        let file = self.resolve(path, READ, wait)?;
        let version = Version::of(&fstat(&file)?).ok_or(Errno::NOENT)?;
        Ok((file, version))
    }

    /// The version of the file at a path, without waiting. For a path of one part this takes one
    /// call, since `SYMLINK_NOFOLLOW` covers the last part.
    pub(super) fn stat_cached(&self, path: &FilePath) -> Result<Version> {
        let stat = match path.split() {
            (None, name) => statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW)?,
            _ => fstat(self.resolve(path, LOOK, Wait::Never)?)?,
        };
        Version::of(&stat).ok_or(Errno::NOENT)
    }

    fn resolve(&self, path: &FilePath, flags: OFlags, wait: Wait) -> Result<OwnedFd> {
        let resolve = match wait {
            Wait::Never if self.kernel < Kernel::Cached => return Err(Errno::AGAIN),
            Wait::Never => BENEATH | ResolveFlags::CACHED,
            Wait::Allowed if self.kernel == Kernel::Walk => return self.walk(path, flags),
            Wait::Allowed => BENEATH,
        };
        openat2(&self.root, path.as_str(), flags, Mode::empty(), resolve)
    }

    fn walk(&self, path: &FilePath, flags: OFlags) -> Result<OwnedFd> {
        let (directories, name) = path.split();
        let mut below: Option<OwnedFd> = None;
        for part in directories.into_iter().flat_map(|directories| directories.split('/')) {
            let here = below.as_ref().map_or_else(|| self.root.as_fd(), AsFd::as_fd);
            below = Some(step(here, part, LOOK | OFlags::DIRECTORY)?);
        }
        let here = below.as_ref().map_or_else(|| self.root.as_fd(), AsFd::as_fd);
        step(here, name, flags)
    }
}

fn step(directory: BorrowedFd<'_>, part: &str, flags: OFlags) -> Result<OwnedFd> {
    openat(directory, part, flags, Mode::empty())
}
