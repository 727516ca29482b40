//! Reading: what is in memory at once, what is not by way of the pool.

use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_lite::future::Boxed;
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use super::disk_pool::{Lane, Lanes};
use super::lookup::Haste;
use super::traffic::{SMALL, Transfer};
use super::{Inner, Storage, Version};
use crate::error::Error;
use crate::path::FilePath;

/// A regular file that is being read, a chunk at a time. It stays the same file when another
/// takes its name.
pub struct Reader {
    file: Arc<OwnedFd>,
    version: Version,
    position: u64,
    end: u64,
    lanes: Arc<Lanes>,
    transfer: Transfer,
    /// Whether the file system can say that something is not in memory.
    can_ask: bool,
    reading: Option<Boxed<Result<Bytes, Errno>>>,
}

impl Storage {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none, or something that is no regular file, or where a
    /// symbolic link is on the way.
    pub async fn read(&self, path: &FilePath) -> Result<Reader, Error> {
        let opened = match self.0.resolver.open(path, Haste::Cached) {
            Err(Errno::AGAIN) => {
                let (inner, path) = (self.0.clone(), path.clone());
                let open = move || inner.resolver.open(&path, Haste::Patient);
                self.0.lanes.run(Lane::Read, open).await
            }
            opened => opened,
        };
        let (file, version) = opened.map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::XDEV => {
                Error::NotFound(path.clone())
            }
            _ => Error::disk("read", path, errno),
        })?;
        Ok(self.reader((Arc::new(file), version)))
    }

    /// Opens a file that can be opened without waiting.
    pub(crate) fn read_cached(&self, path: &FilePath) -> Option<Reader> {
        let Inner { recent, resolver, .. } = &*self.0;
        if let Some(found) = recent.find(path, resolver) {
            return Some(self.reader(found));
        }
        let (file, version) = resolver.open(path, Haste::Cached).ok()?;
        let file = Arc::new(file);
        recent.keep(path, &file, version);
        Some(self.reader((file, version)))
    }

    fn reader(&self, (file, version): (Arc<OwnedFd>, Version)) -> Reader {
        Reader {
            file,
            version,
            position: 0,
            end: version.length,
            lanes: self.0.lanes.clone(),
            transfer: self.0.traffic.enter(),
            can_ask: true,
            reading: None,
        }
    }
}

impl Reader {
    /// The file as it was when it was opened.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Reads these bytes alone, `first` and `last` included.
    pub fn select(&mut self, first: u64, last: u64) {
        self.position = first;
        self.end = self.version.length.min(last.saturating_add(1));
    }

    /// How many bytes are still to come.
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    /// All of them, where they are few and in memory.
    pub(crate) fn read_small(&mut self) -> Option<Bytes> {
        let is_small = self.remaining() <= SMALL as u64;
        let content = is_small.then(|| self.read_cached().ok()).flatten()?;
        (content.len() as u64 == self.remaining()).then_some(content)
    }

    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// Where the disk fails, or the file has become shorter than it was when it was opened.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.remaining() == 0 {
            return Poll::Ready(None);
        }
        let outcome = if let Some(reading) = &mut self.reading {
            let outcome = ready!(reading.as_mut().poll(cx));
            self.reading = None;
            outcome
        } else {
            match self.read_cached() {
                Err(Errno::AGAIN) => {
                    self.reading = Some(Box::pin(self.read_patiently()));
                    return self.poll_chunk(cx);
                }
                outcome => outcome,
            }
        };
        Poll::Ready(Some(match outcome {
            Ok(chunk) if chunk.is_empty() => {
                self.position = self.end;
                let shrunk = "the file became shorter while it was being sent";
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, shrunk))
            }
            Ok(chunk) => {
                self.position += chunk.len() as u64;
                Ok(chunk)
            }
            Err(errno) => {
                self.position = self.end;
                Err(errno.into())
            }
        }))
    }

    fn next_length(&self) -> usize {
        self.remaining().min(self.transfer.piece() as u64) as usize
    }

    fn read_cached(&mut self) -> Result<Bytes, Errno> {
        if !self.can_ask {
            return Err(Errno::AGAIN);
        }
        let mut chunk = vec![0; self.next_length()];
        let into = &mut [IoSliceMut::new(&mut chunk)];
        match preadv2(&self.file, into, self.position, ReadWriteFlags::NOWAIT) {
            Ok(count) => {
                chunk.truncate(count);
                Ok(chunk.into())
            }
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
                self.can_ask = false;
                Err(Errno::AGAIN)
            }
            Err(Errno::INTR) => Err(Errno::AGAIN),
            Err(errno) => Err(errno),
        }
    }

    fn read_patiently(&self) -> impl Future<Output = Result<Bytes, Errno>> + Send + 'static {
        let (file, position) = (self.file.clone(), self.position);
        let length = self.next_length();
        let lanes = self.lanes.clone();
        async move {
            let read = move || {
                let mut chunk = vec![0; length];
                let count =
                    rustix::io::retry_on_intr(|| pread(&file, chunk.as_mut_slice(), position))?;
                chunk.truncate(count);
                Ok(chunk.into())
            };
            lanes.run(Lane::Read, read).await
        }
    }
}
