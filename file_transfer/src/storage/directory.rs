//! Finds the directory of a file, one part of the path at a time, and follows no symbolic link.
//! Creates directories that are missing, and syncs them before an upload below them is answered.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::storage::{open_directory, sync_names};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, StatxFlags, fchmod, fstat, mkdirat, openat, statat,
    statx,
};
use rustix::io::Errno;

use super::Version;
use super::prune::{Hold, Holds, mark};
use crate::error::Error;
use crate::path::FilePath;

/// The mode of a directory that is created for an upload.
const MODE: u32 = 0o755;

pub(super) struct Directories {
    root: Arc<OwnedFd>,
    mount: Mount,
    sync: bool,
    synced: Mutex<Synced>,
    holds: Holds,
}

/// Directories whose names are known to be on the disk, as hashes of their paths. Any other
/// directory is synced before an upload below it is answered, even if it existed at the start: the
/// process that created it may have been killed before it synced.
#[derive(Default)]
struct Synced {
    hasher: RandomState,
    paths: HashSet<u64>,
}

/// A limit, since clients choose the number of directories.
const MOST_SYNCED: usize = 1024;

/// Why there can be no file at a path.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// A parent of the file is a file.
    File(String),
    /// A parent of the file is a symbolic link or a special file.
    Special(String),
    /// The service may not change or enter this directory; `None` is that of all files.
    Denied(Option<String>),
    Disk(Errno),
}

impl Obstacle {
    /// The error of an upload.
    pub(super) fn not_stored(self, path: &FilePath) -> Error {
        match self {
            Self::File(file) => Error::UploadBelowFile { path: path.clone(), file },
            Self::Special(special) => Error::UploadOntoSpecial { path: path.clone(), special },
            Self::Denied(directory) => Error::denied("upload", path, directory.as_deref()),
            Self::Disk(errno) => Error::not_stored(path, errno),
        }
    }
}

impl From<Errno> for Obstacle {
    fn from(errno: Errno) -> Self {
        Self::Disk(errno)
    }
}

/// The result of the search for a file's directory.
pub(super) struct FoundDirectory {
    /// The directory of the file, if it exists.
    pub(super) directory: Option<OwnedFd>,
    /// The number of missing directories.
    pub(super) missing: u64,
    /// The root of the file's file system, if that differs from the root's.
    pub(super) mount: Option<OwnedFd>,
}

pub(super) enum EntryKind {
    Nothing,
    /// A file, not opened for reading. Holding it delays the freeing of its blocks, which takes
    /// time.
    File(OwnedFd, Version, Stat),
    Link(OwnedFd),
    Directory,
    Special,
}

/// A mounted file system: a rename cannot cross its border.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mount(u32, u32, u64);

impl Directories {
    pub(super) fn new(root: Arc<OwnedFd>, sync: bool) -> Self {
        let mount = mount_of(root.as_fd()).unwrap_or(Mount(0, 0, 0));
        Self { root, mount, sync, synced: Mutex::default(), holds: Holds::default() }
    }

    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Finds the directory of a file, as far as it exists.
    pub(super) fn find(&self, path: &FilePath) -> Result<FoundDirectory, Obstacle> {
        let mut directory = self.root.try_clone().map_err(to_errno)?;
        let mut mount = None;
        let mut last_mount = self.mount;
        let mut parts = parts(path);
        while let Some((prefix, part)) = parts.next() {
            let Some(next) = enter(directory.as_fd(), prefix, part)? else {
                let missing = 1 + parts.count() as u64;
                return Ok(FoundDirectory { directory: None, missing, mount });
            };
            let next_mount = mount_of(next.as_fd())?;
            if next_mount != last_mount {
                mount = Some(next.try_clone().map_err(to_errno)?);
                last_mount = next_mount;
            }
            directory = next;
        }
        Ok(FoundDirectory { directory: Some(directory), missing: 0, mount })
    }

    /// The directory of a file, if it exists and its name is on the disk.
    pub(super) fn find_synced(&self, path: &FilePath) -> Result<Option<OwnedFd>, Obstacle> {
        let is_synced = |prefix: &str| !self.sync || self.synced().contains(prefix);
        if parts(path).all(|(prefix, _)| is_synced(prefix)) {
            return Ok(self.find(path)?.directory);
        }
        Ok(None)
    }

    /// Prevents the removal of the directories of a path.
    pub(super) fn hold<'a>(&'a self, path: &'a FilePath) -> Hold<'a> {
        self.holds.hold(path)
    }

    /// Removes the directories of a path that uploads created and that are empty.
    pub(super) fn prune(&self, path: &FilePath) {
        self.prune_directory(path.split().0.unwrap_or_default().as_ref());
    }

    /// Removes a directory and its parents, if uploads created them and they are empty.
    pub(super) fn prune_directory(&self, directory: &Path) {
        self.holds.prune(&self.root, directory);
    }

    /// The directory of a file, created if it is missing.
    pub(super) fn make(&self, path: &FilePath) -> Result<OwnedFd, Obstacle> {
        let mut directory = self.root.try_clone().map_err(to_errno)?;
        for (prefix, part) in parts(path) {
            let (next, is_synced) = match enter(directory.as_fd(), prefix, part)? {
                Some(next) => (next, self.synced().contains(prefix)),
                None => (self.make_one(directory.as_fd(), prefix, part)?, false),
            };
            if self.sync && !is_synced {
                sync_names(directory.as_fd())?;
                self.synced().insert(prefix);
            }
            directory = next;
        }
        Ok(directory)
    }

    fn make_one(
        &self,
        directory: BorrowedFd<'_>,
        prefix: &str,
        part: &str,
    ) -> Result<OwnedFd, Obstacle> {
        // It may have been removed since it was synced.
        self.synced().remove(prefix);
        let made = mkdirat(directory, part, Mode::from_raw_mode(MODE));
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(Errno::ACCESS | Errno::PERM) => {
                let above = prefix.rsplit_once('/').map(|(above, _)| above.to_owned());
                return Err(Obstacle::Denied(above));
            }
            Err(errno) => return Err(errno.into()),
        }
        let next = enter(directory, prefix, part)?.ok_or(Errno::NOENT)?;
        if made.is_ok() {
            set_mode(&next, MODE)?;
            mark(&next);
        }
        Ok(next)
    }

    fn synced(&self) -> MutexGuard<'_, Synced> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Synced {
    fn contains(&self, path: &str) -> bool {
        self.paths.contains(&self.hasher.hash_one(path))
    }

    fn insert(&mut self, path: &str) {
        if self.paths.len() >= MOST_SYNCED {
            self.paths.clear();
        }
        self.paths.insert(self.hasher.hash_one(path));
    }

    fn remove(&mut self, path: &str) {
        self.paths.remove(&self.hasher.hash_one(path));
    }
}

/// The kind of a name in a directory. Opens nothing for reading and follows no link.
pub(super) fn look(directory: BorrowedFd<'_>, name: &str) -> Result<EntryKind, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let there = match openat(directory, name, flags, Mode::empty()) {
        Ok(there) => there,
        Err(Errno::NOENT) => return Ok(EntryKind::Nothing),
        Err(errno) => return Err(errno),
    };
    let stat = fstat(&there)?;
    Ok(match (Version::of(&stat), FileType::from_raw_mode(stat.st_mode)) {
        (Some(version), _) => EntryKind::File(there, version, stat),
        (None, FileType::Symlink) => EntryKind::Link(there),
        (None, FileType::Directory) => EntryKind::Directory,
        (None, _) => EntryKind::Special,
    })
}

/// Sets a mode independent of the umask. Has no effect on file systems without modes (FAT, CIFS).
pub(super) fn set_mode(file: &OwnedFd, mode: u32) -> Result<(), Errno> {
    match fchmod(file, Mode::from_raw_mode(mode)) {
        Err(Errno::PERM | Errno::OPNOTSUPP) | Ok(()) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn enter(directory: BorrowedFd<'_>, prefix: &str, part: &str) -> Result<Option<OwnedFd>, Obstacle> {
    match open_directory(directory, part) {
        Ok(next) => Ok(Some(next)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno @ (Errno::NOTDIR | Errno::LOOP)) => {
            let stat = match statat(directory, part, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => return Ok(None),
                stat => stat?,
            };
            Err(match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Obstacle::File(prefix.to_owned()),
                // It was replaced between the two calls.
                FileType::Directory => Obstacle::Disk(errno),
                _ => Obstacle::Special(prefix.to_owned()),
            })
        }
        Err(Errno::ACCESS) => Err(Obstacle::Denied(Some(prefix.to_owned()))),
        Err(errno) => Err(errno.into()),
    }
}

/// The parents of the file: the path and the name of each.
fn parts(path: &FilePath) -> impl Iterator<Item = (&str, &str)> {
    let mut start = 0;
    path.as_str().match_indices('/').map(move |(end, _)| {
        let part = &path.as_str()[start..end];
        start = end + 1;
        (&path.as_str()[..end], part)
    })
}

pub(super) fn mount_of(directory: BorrowedFd<'_>) -> Result<Mount, Errno> {
    match statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID) {
        Ok(seen) => Ok(Mount(seen.stx_dev_major, seen.stx_dev_minor, seen.stx_mnt_id)),
        Err(Errno::NOSYS | Errno::PERM) => {
            let device = fstat(directory)?.st_dev;
            Ok(Mount(rustix::fs::major(device), rustix::fs::minor(device), 0))
        }
        Err(errno) => Err(errno),
    }
}

fn to_errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_each_directory_on_the_way() {
        let path = FilePath::parse("/te/v1/files/a/b/c").unwrap();
        assert_eq!(parts(&path).collect::<Vec<_>>(), [("a", "a"), ("a/b", "b")]);
        let path = FilePath::parse("/te/v1/files/a").unwrap();
        assert_eq!(parts(&path).count(), 0);
    }
}
