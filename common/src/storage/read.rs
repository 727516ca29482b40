//! Reads files: directly while the bytes are in memory, through the disk pool when they are not.

use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_lite::future::Boxed;
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use super::disk_pool::{DiskPool, Kind};
use crate::net::load;

/// How much is read at a time while few connections are busy.
const LARGE: usize = 64 * 1024;
/// How much is read at a time while many are, so that memory stays small.
pub const SMALL: usize = 8 * 1024;

/// A regular file that is being read, a chunk at a time.
pub struct Reader {
    file: Arc<OwnedFd>,
    position: u64,
    end: u64,
    pool: Arc<DiskPool>,
    /// Whether the file system supports `RWF_NOWAIT`.
    has_nowait: bool,
    reading: Option<Boxed<Result<Bytes, Errno>>>,
}

impl Reader {
    /// Reads the first `length` bytes of a file.
    pub fn new(file: Arc<OwnedFd>, length: u64, pool: Arc<DiskPool>) -> Self {
        Self { file, position: 0, end: length, pool, has_nowait: true, reading: None }
    }

    /// Limits what is read to the bytes from `first` to `last`, both included.
    pub fn select(&mut self, first: u64, last: u64) {
        self.position = first;
        self.end = self.end.min(last.saturating_add(1));
    }

    /// The file has grown: reads up to `end`.
    pub fn extend(&mut self, end: u64) {
        self.end = end;
    }

    /// How many bytes are left to read.
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    /// All bytes that are left, if they are few and in memory.
    pub fn read_small(&mut self) -> Option<Bytes> {
        let is_small = self.remaining() <= SMALL as u64;
        let content = is_small.then(|| self.read_cached().ok()).flatten()?;
        (content.len() as u64 == self.remaining()).then_some(content)
    }

    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// If the disk fails, or the file has become shorter since it was opened.
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
                    self.reading = Some(Box::pin(self.read_in_pool()));
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
        let most = if load::is_light() { LARGE } else { SMALL };
        self.remaining().min(most as u64) as usize
    }

    fn read_cached(&mut self) -> Result<Bytes, Errno> {
        if !self.has_nowait {
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
                self.has_nowait = false;
                Err(Errno::AGAIN)
            }
            Err(Errno::INTR) => Err(Errno::AGAIN),
            Err(errno) => Err(errno),
        }
    }

    fn read_in_pool(&self) -> impl Future<Output = Result<Bytes, Errno>> + Send + 'static {
        let (file, position) = (self.file.clone(), self.position);
        let length = self.next_length();
        let pool = self.pool.clone();
        async move {
            let read = move || {
                let mut chunk = vec![0; length];
                let count =
                    rustix::io::retry_on_intr(|| pread(&file, chunk.as_mut_slice(), position))?;
                chunk.truncate(count);
                Ok(chunk.into())
            };
            pool.run(Kind::Read, read).await
        }
    }
}
