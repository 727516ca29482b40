//! From a path to an open regular file, without following a symbolic link, without opening
//! anything else, and without leaving the directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, fstat, openat, openat2, statat};
use rustix::io::{Errno, Result};

use super::Version;
use crate::path::FilePath;

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// To look at what is there without opening it: a FIFO or a device would notice.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `NONBLOCK` is for the moment in which the file becomes a FIFO after the look.
const READ: OFlags =
    OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

pub(super) struct Resolver {
    root: Arc<OwnedFd>,
    kernel: Kernel,
}

/// How much of openat2 there is.
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
pub(super) enum Haste {
    /// Only what is in memory; `EAGAIN` where it is not.
    Cached,
    /// However long it takes.
    Patient,
}

impl Resolver {
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

    /// Opens a regular file for reading; anything else is `ENOENT`.
    pub(super) fn open(&self, path: &FilePath, haste: Haste) -> Result<(OwnedFd, Version)> {
        let seen = self.resolve(path, LOOK, haste)?;
        Version::of(&fstat(seen)?).ok_or(Errno::NOENT)?;
        let file = self.resolve(path, READ, haste)?;
        let version = Version::of(&fstat(&file)?).ok_or(Errno::NOENT)?;
        Ok((file, version))
    }

    /// What a name leads to, where that can be seen without waiting. One call where no directory
    /// is on the way, since the last part of a path is never followed.
    pub(super) fn look_cached(&self, path: &FilePath) -> Result<Version> {
        let stat = match path.split() {
            (None, name) => statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW)?,
            _ => fstat(self.resolve(path, LOOK, Haste::Cached)?)?,
        };
        Version::of(&stat).ok_or(Errno::NOENT)
    }

    fn resolve(&self, path: &FilePath, flags: OFlags, haste: Haste) -> Result<OwnedFd> {
        let resolve = match haste {
            Haste::Cached if self.kernel < Kernel::Cached => return Err(Errno::AGAIN),
            Haste::Cached => BENEATH | ResolveFlags::CACHED,
            Haste::Patient if self.kernel == Kernel::Walk => return self.walk(path, flags),
            Haste::Patient => BENEATH,
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
