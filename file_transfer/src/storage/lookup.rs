//! Opens the regular file at a path. Opens nothing else and never leaves the directory.
//!
//! The last part of a path may be a symbolic link to a regular file below `data.path`, as
//! thin-edge.io's agents create them. The target of the link is read once, and opened relative to
//! the descriptor of `data.path`, without following another link.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, readlinkat,
    statat,
};
use rustix::io::{Errno, Result};

use super::Version;
use crate::path::{FilePath, is_reserved};

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// Flags to inspect a name without opening the file: opening a FIFO or a device has effects.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `NONBLOCK`, since a FIFO may have replaced the file after the check.
const READ: OFlags =
    OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

pub(super) struct Lookup {
    root: Arc<OwnedFd>,
    kernel: Kernel,
    data: Option<Data>,
}

/// The directory in which links may end: `data.path`.
struct Data {
    directory: OwnedFd,
    /// Its paths, as configured and without links. Absolute targets begin with one of them.
    paths: [PathBuf; 2],
    /// The name of the root in this directory.
    root: PathBuf,
}

/// A directory in the root. While it has its name, the names of open files in it are in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    device: u64,
    inode: u64,
}

impl Parent {
    fn of(stat: &Stat) -> Option<Self> {
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        is_directory.then_some(Self { device: stat.st_dev, inode: stat.st_ino })
    }
}

/// The kernel's support for openat2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Kernel {
    /// None: before Linux 5.6, or forbidden by seccomp.
    Walk,
    /// Without `RESOLVE_CACHED`: before Linux 5.12.
    Resolve,
    /// Complete.
    Cached,
}

/// Whether a call may wait for the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// No: it fails with `EAGAIN` instead.
    Never,
    Allowed,
}

impl Lookup {
    /// For the directory `root`, whose path is `path`.
    pub(super) fn new(root: Arc<OwnedFd>, path: &Path) -> Self {
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
        Self { root, kernel, data: Data::above(path) }
    }

    #[cfg(test)]
    pub(super) fn walk_only(&mut self) {
        self.kernel = Kernel::Walk;
    }

    /// Opens a regular file for reading. For anything else, the error is `ENOENT`.
    pub(super) fn open(&self, path: &FilePath, wait: Wait) -> Result<(OwnedFd, Version)> {
        let seen = self.resolve(&self.root, path.as_str().as_ref(), LOOK, wait)?;
        let stat = fstat(&seen)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return match wait {
                Wait::Never => Err(Errno::AGAIN),
                Wait::Allowed => self.open_target(path, &seen),
            };
        }
        Version::of(&stat).ok_or(Errno::NOENT)?;
        self.open_regular(&self.root, path.as_str().as_ref(), wait)
    }

    /// The directory of a file that is being opened, for [`Lookup::stat_cached`].
    pub(super) fn parent(&self, path: &FilePath) -> Option<Parent> {
        let directory = path.split().0.filter(|directory| !directory.contains('/'))?;
        self.look(directory).ok().and_then(|stat| Parent::of(&stat))
    }

    /// The version of the file at a path, without waiting. A path of one or two parts is not
    /// opened for that, since `SYMLINK_NOFOLLOW` covers the last part of a path.
    pub(super) fn stat_cached(&self, path: &FilePath, parent: Option<Parent>) -> Result<Version> {
        let is_direct = match (path.split().0, parent) {
            (None, _) => true,
            (Some(directory), Some(_)) if Parent::of(&self.look(directory)?) != parent => {
                return Err(Errno::NOENT);
            }
            (Some(_), parent) => parent.is_some(),
        };
        let stat = if is_direct {
            self.look(path.as_str())?
        } else {
            fstat(self.resolve(&self.root, path.as_str().as_ref(), LOOK, Wait::Never)?)?
        };
        Version::of(&stat).ok_or(Errno::NOENT)
    }

    /// What is at a path. Follows links, except the last part.
    fn look(&self, path: &str) -> Result<Stat> {
        statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The version of the regular file that the symbolic link at a path leads to.
    pub(super) fn stat_target(&self, path: &FilePath, link: &OwnedFd) -> Result<Version> {
        let (base, target) = self.target(path, link)?;
        let seen = self.resolve(base, &target, LOOK, Wait::Allowed)?;
        Version::of(&fstat(seen)?).ok_or(Errno::NOENT)
    }

    fn open_target(&self, path: &FilePath, link: &OwnedFd) -> Result<(OwnedFd, Version)> {
        self.stat_target(path, link)?;
        let (base, target) = self.target(path, link)?;
        self.open_regular(base, &target, Wait::Allowed)
    }

    fn open_regular(&self, base: &OwnedFd, path: &Path, wait: Wait) -> Result<(OwnedFd, Version)> {
        let file = self.resolve(base, path, READ, wait)?;
        let version = Version::of(&fstat(&file)?).ok_or(Errno::NOENT)?;
        Ok((file, version))
    }

    /// Where a link leads: a directory of ours, and a path below it without `..`.
    fn target(&self, path: &FilePath, link: &OwnedFd) -> Result<(&OwnedFd, PathBuf)> {
        let target = readlinkat(link, "", Vec::new())?;
        let data = self.data.as_ref().ok_or(Errno::NOENT)?;
        let target = Path::new(OsStr::from_bytes(target.as_bytes()));
        let below = data.below(path, target).ok_or(Errno::NOENT)?;
        Ok(match below.strip_prefix(&data.root) {
            Ok(below) => (&self.root, below.to_owned()),
            Err(_) => (&data.directory, below),
        })
    }

    fn resolve(&self, base: &OwnedFd, path: &Path, flags: OFlags, wait: Wait) -> Result<OwnedFd> {
        let resolve = match wait {
            Wait::Never if self.kernel < Kernel::Cached => return Err(Errno::AGAIN),
            Wait::Never => BENEATH | ResolveFlags::CACHED,
            Wait::Allowed if self.kernel == Kernel::Walk => return walk(base, path, flags),
            Wait::Allowed => BENEATH,
        };
        openat2(base, path, flags, Mode::empty(), resolve)
    }
}

fn walk(base: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let step = |directory: BorrowedFd<'_>, part: &OsStr, flags| {
        openat(directory, part, flags, Mode::empty())
    };
    let name = path.file_name().ok_or(Errno::NOENT)?;
    let mut below: Option<OwnedFd> = None;
    for part in path.parent().into_iter().flatten() {
        let here = below.as_ref().map_or_else(|| base.as_fd(), AsFd::as_fd);
        below = Some(step(here, part, LOOK | OFlags::DIRECTORY)?);
    }
    step(below.as_ref().map_or_else(|| base.as_fd(), AsFd::as_fd), name, flags)
}

impl Data {
    fn above(root: &Path) -> Option<Self> {
        let root = std::path::absolute(root).ok()?;
        let path = root.parent()?;
        let directory =
            openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Some(Self {
            directory: directory.ok()?,
            paths: [path.to_owned(), path.canonicalize().ok()?],
            root: root.file_name()?.into(),
        })
    }

    /// The path below this directory to which the link at `path` leads. `None` if it leaves it, or
    /// names an unfinished upload.
    fn below(&self, path: &FilePath, target: &Path) -> Option<PathBuf> {
        let mut below = PathBuf::new();
        let rest = if target.is_absolute() {
            self.paths.iter().find_map(|path| target.strip_prefix(path).ok())?
        } else {
            below.push(&self.root);
            below.extend(path.split().0);
            target
        };
        for component in rest.components() {
            match component {
                Component::Normal(part) if part.to_str().is_some_and(is_reserved) => return None,
                Component::Normal(part) => below.push(part),
                Component::ParentDir if below.pop() => {}
                Component::CurDir => {}
                _ => return None,
            }
        }
        Some(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_what_is_below_the_data_directory() {
        let directory = crate::tests::new_directory();
        let parent = directory.parent().unwrap();
        let data = Data::above(&directory).unwrap();
        let path = FilePath::parse("/te/v1/files/child/key").unwrap();
        for (target, below) in [
            (parent.join("cache/key").to_str().unwrap(), Some("cache/key")),
            ("../../cache/key", Some("cache/key")),
            ("other", Some("file-transfer/child/other")),
            (".././other//x", Some("file-transfer/other/x")),
            ("../../../cache/key", None),
            ("../../../../../../../etc/passwd", None),
            ("/etc/passwd", None),
            (parent.join("../x").to_str().unwrap(), None),
            ("../.tedge-uploads/1-1", None),
            ("../.Tedge-Uploads/1-1", None),
            (parent.join("a/.tedge-uploads/1").to_str().unwrap(), None),
        ] {
            let found = data.below(&path, Path::new(target));
            assert_eq!(found.as_deref(), below.map(Path::new), "{target}");
        }
        std::fs::remove_dir_all(parent).unwrap();
    }
}
