//! Writing: into a temporary file, which takes the name when it is whole and on the disk.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, PoisonError};

use rustix::fs::{Mode, fchmod, fstat, fsync};
use rustix::io::{Errno, pwrite, retry_on_intr};

use super::directory::{Obstacle, Seen, Survey, look, sync};
use super::disk_pool::Lane;
use super::temporary::Temporary;
use super::traffic::Transfer;
use super::{Guard, Inner, Storage, Version};
use crate::error::Error;
use crate::path::FilePath;

/// As long as a file is not larger than this, it takes no more memory.
const SMALL: usize = 2 * 1024;

/// The mode of a file that replaces none.
const MODE: u32 = 0o644;

/// A file on its way in. Dropped before its end, it leaves nothing behind.
pub(crate) struct Upload {
    inner: Arc<Inner>,
    target: Target,
    temporary: Temporary,
    transfer: Transfer,
    batch: Vec<u8>,
    /// How many bytes were in the batches before this one.
    written: u64,
}

/// Where an upload goes, and under which condition.
#[derive(Clone)]
struct Target {
    path: FilePath,
    guard: Arc<dyn Guard>,
}

impl Storage {
    /// Begins an upload of `expected` bytes, where that is known.
    ///
    /// `guard` is asked about the file that is there now, and again when it is replaced.
    ///
    /// # Errors
    /// Where it is clear already that the upload cannot succeed.
    pub(crate) async fn upload(
        &self,
        path: FilePath,
        expected: Option<u64>,
        guard: impl Guard + 'static,
    ) -> Result<Upload, Error> {
        self.0.check_size(expected.unwrap_or(0), &path)?;
        let target = Target { path, guard: Arc::new(guard) };
        let inner = self.0.clone();
        let begin = move || {
            let temporary = target.begin(&inner, expected.unwrap_or(0))?;
            let transfer = inner.traffic.enter();
            Ok(Upload { inner, target, temporary, transfer, batch: Vec::new(), written: 0 })
        };
        self.0.lanes.run(Lane::Write, begin).await
    }
}

impl Inner {
    fn check_size(&self, size: u64, path: &FilePath) -> Result<(), Error> {
        match self.max_size {
            Some(max) if size > max => Err(Error::TooLarge { path: path.clone(), max }),
            _ => Ok(()),
        }
    }
}

impl Upload {
    /// Takes the next bytes of the file.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        let received = self.written + (self.batch.len() + bytes.len()) as u64;
        self.inner.check_size(received, &self.target.path)?;
        while !bytes.is_empty() {
            let most = self.transfer.batch();
            let room = most.saturating_sub(self.batch.len());
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.make_room(now.len(), most);
            self.batch.extend_from_slice(now);
            if self.batch.len() >= most {
                self.flush().await?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Puts the file in its place, and returns when it stays there.
    pub(crate) async fn finish(self) -> Result<Version, Error> {
        let Self { inner, target, mut temporary, batch, written, .. } = self;
        let lanes = inner.lanes.clone();
        let lane = if inner.sync { Lane::Sync } else { Lane::Write };
        let finish = move || {
            target.write(&inner, temporary.file(), &batch, written)?;
            target.commit(&inner, &mut temporary)
        };
        lanes.run(lane, finish).await
    }

    /// A small file needs no whole batch, and one that comes slowly not yet.
    fn make_room(&mut self, more: usize, most: usize) {
        let needed = self.batch.len() + more;
        if needed > self.batch.capacity() {
            let capacity = needed.next_power_of_two().clamp(SMALL, most.max(needed));
            self.batch.reserve_exact(capacity - self.batch.len());
        }
    }

    /// Has the batch written, and takes it back to be filled again. What comes in meanwhile waits in
    /// the socket: two batches of half the size, one filled while the other is written, take as
    /// much memory and nearly twice the time of the processor.
    async fn flush(&mut self) -> Result<(), Error> {
        let mut batch = std::mem::take(&mut self.batch);
        let position = self.written;
        self.written += batch.len() as u64;
        let (inner, target) = (self.inner.clone(), self.target.clone());
        let file = self.temporary.file().clone();
        let write = move || {
            target.write(&inner, &file, &batch, position)?;
            batch.clear();
            Ok::<_, Error>(batch)
        };
        self.batch = self.inner.lanes.run(Lane::Write, write).await?;
        if self.batch.capacity() > self.transfer.batch() {
            self.batch = Vec::new();
        }
        Ok(())
    }
}

/// What is done in the pool.
impl Target {
    fn begin(&self, inner: &Inner, expected: u64) -> Result<Temporary, Error> {
        let surveyed = inner.directories.survey(&self.path);
        let Survey { directory, mount } = surveyed.map_err(|obstacle| self.blocked(obstacle))?;
        if let Some(directory) = directory {
            self.check(&directory)?;
        } else if !self.guard.admits(None) {
            return Err(Error::Precondition(self.path.clone()));
        }
        let base = mount.as_ref().unwrap_or_else(|| inner.directories.root());
        inner.min_free.check(base, expected, &self.path)?;
        Temporary::create(base.as_fd(), inner.lanes.clone()).map_err(|errno| self.failed(errno))
    }

    fn write(
        &self,
        inner: &Inner,
        file: &OwnedFd,
        mut bytes: &[u8],
        mut position: u64,
    ) -> Result<(), Error> {
        inner.min_free.check(file, bytes.len() as u64, &self.path)?;
        while !bytes.is_empty() {
            let count = retry_on_intr(|| pwrite(file, bytes, position))
                .map_err(|errno| self.failed(errno))?;
            bytes = &bytes[count..];
            position += count as u64;
        }
        Ok(())
    }

    fn commit(&self, inner: &Inner, temporary: &mut Temporary) -> Result<Version, Error> {
        let file = temporary.file().clone();
        let made = inner.directories.make(&self.path);
        let directory = made.map_err(|obstacle| self.blocked(obstacle))?;
        let expected = self.check(&directory)?.map_or(MODE, |(_, version)| version.mode);
        self.set_mode(&file, expected)?;
        if inner.sync {
            fsync(&file).map_err(|errno| self.failed(errno))?;
        }

        let lock = inner.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = self.check(&directory)?;
        let mode = replaced.as_ref().map_or(MODE, |(_, version)| version.mode);
        if mode != expected {
            self.set_mode(&file, mode)?;
        }
        let (_, name) = self.path.split();
        temporary.name(directory.as_fd(), name).map_err(|errno| self.failed(errno))?;
        drop(lock);
        drop(replaced);

        if inner.sync {
            sync(directory.as_fd()).map_err(|errno| self.failed(errno))?;
        }
        let stat = fstat(&file).map_err(|errno| self.failed(errno))?;
        Version::of(&stat).ok_or_else(|| self.failed(Errno::IO))
    }

    /// What would be replaced, if the request's conditions allow that.
    fn check(&self, directory: &OwnedFd) -> Result<Option<(OwnedFd, Version)>, Error> {
        let path = &self.path;
        let (_, name) = path.split();
        let replaced = match look(directory.as_fd(), name).map_err(|errno| self.failed(errno))? {
            Seen::Nothing => None,
            Seen::File(file, version) => Some((file, version)),
            Seen::Directory => return Err(Error::UploadOntoDirectory(path.clone())),
            Seen::Special => return Err(self.blocked(Obstacle::Special(path.as_str().to_owned()))),
        };
        if self.guard.admits(replaced.as_ref().map(|(_, version)| version)) {
            Ok(replaced)
        } else {
            Err(Error::Precondition(path.clone()))
        }
    }

    /// Whatever the umask is.
    fn set_mode(&self, file: &OwnedFd, mode: u32) -> Result<(), Error> {
        fchmod(file, Mode::from_raw_mode(mode)).map_err(|errno| self.failed(errno))
    }

    fn blocked(&self, obstacle: Obstacle) -> Error {
        let path = self.path.clone();
        match obstacle {
            Obstacle::File(file) => Error::UploadBelowFile { path, file },
            Obstacle::Special(special) => Error::UploadOntoSpecial { path, special },
            Obstacle::Disk(errno) => self.failed(errno),
        }
    }

    fn failed(&self, errno: Errno) -> Error {
        Error::disk("store", &self.path, errno)
    }
}
