//! The file that an upload replaces: how it is found, checked and replaced. All of this runs in the
//! disk pool, but for taking room.

use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, PoisonError};

use common::storage::space::{self, Need};
use common::storage::{Pipe, Temporary, sync_names, write_all};
use rustix::fs::{FallocateFlags, Stat, fallocate, fstat, fsync, ftruncate};
use rustix::io::Errno;

use super::super::directory::{EntryKind, FoundDirectory, Obstacle, look, set_mode};
use super::super::retention::{NoRoom, Reservation, Seen, own_age};
use super::super::root::OpenRoot;
use super::super::{Condition, Inner, Version};
use crate::error::Error;
use crate::path::FilePath;

/// The mode of a new file.
const MODE: u32 = 0o644;

/// How much space is allocated at a time. A client that announces a long file and does not send it
/// holds no more than this.
const STEP: u64 = 4 * 1024 * 1024;
/// The end of a file, up to this length, is left to the kernel to allocate: when a file with such a
/// part replaces another one, ext4 begins to write its data to the disk at once.
const TAIL: u64 = 64 * 1024;

/// The file that the upload replaces, and the condition.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) path: FilePath,
    pub(super) condition: Arc<dyn Condition>,
    /// Its length, if that was known at the beginning; a multipart body may be a bit longer.
    pub(super) announced: Option<u64>,
    /// In seconds.
    pub(super) own_age: Option<u64>,
    /// The reservation of the upload, if there is a quota.
    pub(super) reservation: Option<Arc<Reservation>>,
}

/// The file that an upload replaces, or the link to it, which has no `stat` and is not counted.
struct There {
    /// Holding it delays the freeing of its blocks, which takes time.
    open: OwnedFd,
    stat: Option<Stat>,
    mode: u32,
}

/// The result of a complete upload.
pub(super) enum Attempt {
    Done(Version),
    /// A directory must be created first.
    MakeDirectory,
    /// The file that it was to replace does not exist any more, so the upload needs other room.
    MakeRoom,
}

/// How to find the directory of a file.
#[derive(Clone, Copy)]
pub(super) enum Search {
    /// Use it if it exists and is on the disk.
    Find,
    /// Create it if it is missing.
    Make,
}

impl Target {
    /// Takes room for the received bytes, `total` so far, before they are written. Deletes files
    /// for it only if `makes_room`.
    pub(super) async fn receive(
        &self,
        inner: &Arc<Inner>,
        total: u64,
        makes_room: bool,
    ) -> Result<(), Error> {
        let Some(reservation) = &self.reservation else { return Ok(()) };
        let received = inner.receive(reservation, total, makes_room, &self.path).await;
        received.map_err(|full| self.no_room(full))
    }
}

/// The part of an upload that runs in the disk pool.
impl Target {
    pub(super) fn begin(&mut self, inner: &Inner, expected: u64) -> Result<Temporary, Error> {
        let root = inner.root.check()?;
        let found = root.directories.find(&self.path);
        let FoundDirectory { directory, missing, mount } =
            found.map_err(|obstacle| self.blocked(obstacle))?;
        let mut replaced = None;
        if let Some(directory) = &directory {
            replaced = self.check(&root, directory)?;
        } else if !self.condition.holds(None) {
            return Err(Error::Precondition(self.path.clone()));
        }
        let base = mount.as_ref().unwrap_or_else(|| root.directories.root());
        let need = Need { bytes: expected, inodes: 1 + missing };
        self.check_space(inner, base, need)?;
        // A file system that is mounted below the directory has its own space.
        if let (Some(retention), None) = (&inner.retention, &mount) {
            let replaced = replaced.and_then(|it| Some(Seen::of(&it.stat?, directory.as_ref()?)));
            let reservation = retention.reserve(expected, replaced);
            self.reservation = Some(Arc::new(reservation.map_err(|full| self.no_room(full))?));
        }
        let temporary = Temporary::create(base.as_fd(), inner.pool.clone());
        temporary.map_err(|errno| Error::disk("upload", &self.path, errno))
    }

    pub(super) fn write(
        &self,
        inner: &Inner,
        file: &OwnedFd,
        bytes: &[u8],
        position: u64,
        allocated: &mut u64,
    ) -> Result<(), Error> {
        self.provide(inner, file, position..position + bytes.len() as u64, allocated)?;
        write_all(file, bytes, position).map_err(|errno| self.failed(errno))
    }

    /// Writes what is in a pipe to a range of the file.
    pub(super) fn write_piped(
        &self,
        inner: &Inner,
        file: &OwnedFd,
        pipe: &Pipe,
        range: Range<u64>,
        allocated: &mut u64,
    ) -> Result<(), Error> {
        self.provide(inner, file, range.clone(), allocated)?;
        let length = (range.end - range.start) as usize;
        pipe.empty(file, range.start, length).map_err(|errno| self.failed(errno))
    }

    /// Provides space for the next bytes of the file.
    fn provide(
        &self,
        inner: &Inner,
        file: &OwnedFd,
        Range { start, end }: Range<u64>,
        allocated: &mut u64,
    ) -> Result<(), Error> {
        let next = start.max(*allocated)..end;
        let need = Need { bytes: end.saturating_sub(next.start), inodes: 0 };
        if next.is_empty() || self.allocate(inner, file, next, allocated) {
            return Ok(());
        }
        self.check_space(inner, file, need)
    }

    /// Allocates space for the next part of a long file, which costs less than to have each write
    /// allocate its own. False if there is none to spare, or the file system cannot.
    fn allocate(
        &self,
        inner: &Inner,
        file: &OwnedFd,
        next: Range<u64>,
        allocated: &mut u64,
    ) -> bool {
        let last = self.announced.unwrap_or(0).saturating_sub(1) & !(TAIL - 1);
        let end = last.min(next.start + STEP);
        if end < next.end {
            return false;
        }
        let bytes = end - next.start;
        let has_space = self.check_space(inner, file, Need { bytes, inodes: 0 }).is_ok();
        let keep_size = FallocateFlags::KEEP_SIZE;
        let is_done = has_space && fallocate(file, keep_size, next.start, bytes).is_ok();
        if is_done {
            *allocated = end;
        }
        is_done
    }

    /// Frees what is allocated behind the end.
    pub(super) fn cut(&self, file: &OwnedFd, size: u64) -> Result<(), Error> {
        ftruncate(file, size).map_err(|errno| self.failed(errno))
    }

    fn check_space(&self, inner: &Inner, on: impl AsFd, need: Need) -> Result<(), Error> {
        match space::shortage(inner.min_free, on, need) {
            Ok(None) => Ok(()),
            Ok(Some(reason)) => Err(Error::NoSpace { path: self.path.clone(), reason }),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    /// Renames the file, or says what must be done first.
    pub(super) fn commit(
        &self,
        inner: &Inner,
        temporary: &mut Temporary,
        directory: Search,
    ) -> Result<Attempt, Error> {
        let root = inner.root.check()?;
        let hold = root.directories.hold(&self.path);
        let outcome = match self.directory(inner, &root, directory) {
            Ok(Some(directory)) => self.rename(inner, &root, temporary, &directory),
            Ok(None) => Ok(Attempt::MakeDirectory),
            Err(error) => Err(error),
        };
        drop(hold);
        if matches!(outcome, Err(_) | Ok(Attempt::MakeRoom)) {
            root.directories.prune(&self.path);
        }
        outcome
    }

    fn directory(
        &self,
        inner: &Inner,
        root: &OpenRoot,
        directory: Search,
    ) -> Result<Option<OwnedFd>, Error> {
        let found = match directory {
            Search::Find => root.directories.find_synced(&self.path),
            Search::Make => {
                let found = root.directories.find(&self.path);
                let FoundDirectory { missing, mount, .. } = found.map_err(|it| self.blocked(it))?;
                let base = mount.as_ref().unwrap_or_else(|| root.directories.root());
                let need = Need { bytes: 0, inodes: missing };
                self.check_space(inner, base, need)?;
                root.directories.make(&self.path).map(Some)
            }
        };
        found.map_err(|obstacle| self.blocked(obstacle))
    }

    fn rename(
        &self,
        inner: &Inner,
        root: &OpenRoot,
        temporary: &mut Temporary,
        directory: &OwnedFd,
    ) -> Result<Attempt, Error> {
        let file = temporary.file().clone();
        // What is checked below anyway is checked before the disk is waited for.
        let replaced = if inner.sync { self.check(root, directory)? } else { None };
        let expected = replaced.map_or(MODE, |there| there.mode);
        set_mode(&file, expected).map_err(|errno| self.failed(errno))?;
        if let Some(seconds) = self.own_age {
            own_age::store(&file, seconds);
        }
        if inner.sync {
            fsync(&file).map_err(|errno| self.failed(errno))?;
        }

        let mut reserved = None;
        if let Some(reservation) = &self.reservation {
            let stat = fstat(&file).map_err(|errno| self.failed(errno))?;
            reserved = Some((reservation, Seen::from(&stat)));
        }
        let lock = inner.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = self.check(root, directory)?;
        let mut counted = None;
        if let Some((reservation, new)) = &reserved {
            counted = replaced.as_ref().and_then(|it| Some(Seen::of(it.stat.as_ref()?, directory)));
            match reservation.check(counted.as_ref(), new.bytes) {
                Ok(()) => {}
                // The file whose room it was to take was deleted meanwhile.
                Err(_) if reservation.forgo() => return Ok(Attempt::MakeRoom),
                Err(full) => return Err(self.no_room(full)),
            }
        }
        let mode = replaced.as_ref().map_or(MODE, |there| there.mode);
        if mode != expected {
            set_mode(&file, mode).map_err(|errno| self.failed(errno))?;
        }
        let (_, name) = self.path.split();
        temporary.rename(directory.as_fd(), name).map_err(|errno| self.failed(errno))?;
        if let Some((reservation, new)) = &reserved {
            reservation.commit(counted.as_ref(), new);
        }
        let limits = inner.retention.as_ref().zip(counted.as_ref());
        if let (Some((retention, before)), Some(there)) = (limits, &replaced) {
            retention.lost_name(before, &there.open);
        }
        drop(lock);
        drop(replaced);

        if inner.sync {
            sync_names(directory.as_fd()).map_err(|errno| self.failed(errno))?;
        }
        let stat = fstat(&file).map_err(|errno| self.failed(errno))?;
        Version::of(&stat).map(Attempt::Done).ok_or_else(|| self.failed(Errno::IO))
    }

    /// The file that would be replaced.
    ///
    /// # Errors
    ///
    /// It must not be replaced: it is not a file, or the condition of the request is false.
    fn check(&self, root: &OpenRoot, directory: &OwnedFd) -> Result<Option<There>, Error> {
        let path = &self.path;
        let (_, name) = path.split();
        let special = || self.blocked(Obstacle::Special(path.as_str().to_owned()));
        let found = match look(directory.as_fd(), name).map_err(|errno| self.failed(errno))? {
            EntryKind::Nothing => None,
            EntryKind::File(open, version, stat) => {
                Some((There { open, stat: Some(stat), mode: version.mode }, version))
            }
            EntryKind::Link(open) => match root.lookup.stat_target(path, &open) {
                Ok(version) => Some((There { open, stat: None, mode: MODE }, version)),
                Err(_) => return Err(special()),
            },
            EntryKind::Directory => return Err(Error::UploadOntoDirectory(path.clone())),
            EntryKind::Special => return Err(special()),
        };
        if self.condition.holds(found.as_ref().map(|(_, version)| version)) {
            Ok(found.map(|(there, _)| there))
        } else {
            Err(Error::Precondition(path.clone()))
        }
    }

    fn no_room(&self, NoRoom { limit }: NoRoom) -> Error {
        Error::NoRoom { path: self.path.clone(), limit }
    }

    fn blocked(&self, obstacle: Obstacle) -> Error {
        obstacle.not_stored(&self.path)
    }

    fn failed(&self, errno: Errno) -> Error {
        Error::not_stored(&self.path, errno)
    }
}
