//! Reads files: directly while the bytes are in memory, through the disk pool when they are not.

use std::io::{self, IoSliceMut};
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_lite::future::Boxed;
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use super::disk_pool::{DiskPool, JobKind};
use crate::net::load;

/// The maximum size of a read while few connections are busy.
const LARGE: usize = 64 * 1024;
/// The maximum size of a read while many are busy.
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
    /// The last chunk, while few connections are busy. After it is sent, the next one is read into
    /// it, since a new buffer would be filled with zeros first.
    last: Bytes,
    /// All of the file, if it was read before.
    content: Option<Bytes>,
}

impl Reader {
    /// Reads the first `length` bytes of a file.
    pub fn new(file: Arc<OwnedFd>, length: u64, pool: Arc<DiskPool>) -> Self {
        Self {
            file,
            position: 0,
            end: length,
            pool,
            has_nowait: true,
            reading: None,
            last: Bytes::new(),
            content: None,
        }
    }

    /// The same, for a file of which all is in memory.
    #[must_use]
    pub fn with_content(self, content: Option<Bytes>) -> Self {
        Self { content, ..self }
    }

    /// Limits the read to the bytes from `first` to `last`, both included.
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

    /// All remaining bytes, if they are few and in memory.
    pub fn read_small(&mut self) -> Option<Bytes> {
        if let Some(content) = self.content.take() {
            return Some(content.slice(self.position as usize..self.end as usize));
        }
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
                if self.remaining() > 0 && load::share(SMALL, LARGE) == LARGE {
                    self.last = chunk.clone();
                }
                Ok(chunk)
            }
            Err(errno) => {
                self.position = self.end;
                Err(errno.into())
            }
        }))
    }

    fn next_length(&self) -> usize {
        self.remaining().min(load::share(SMALL, LARGE) as u64) as usize
    }

    /// The buffer for the next chunk.
    fn room(&mut self) -> BytesMut {
        let length = self.next_length();
        match mem::take(&mut self.last).try_into_mut() {
            Ok(mut chunk) if chunk.len() >= length => {
                chunk.truncate(length);
                chunk
            }
            _ => BytesMut::zeroed(length),
        }
    }

    fn read_cached(&mut self) -> Result<Bytes, Errno> {
        if !self.has_nowait {
            return Err(Errno::AGAIN);
        }
        let mut chunk = self.room();
        let into = &mut [IoSliceMut::new(&mut chunk)];
        match preadv2(&self.file, into, self.position, ReadWriteFlags::NOWAIT) {
            Ok(count) => {
                chunk.truncate(count);
                Ok(chunk.freeze())
            }
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
                self.has_nowait = false;
                Err(Errno::AGAIN)
            }
            Err(Errno::INTR) => Err(Errno::AGAIN),
            Err(errno) => Err(errno),
        }
    }

    fn read_in_pool(&mut self) -> impl Future<Output = Result<Bytes, Errno>> + Send + 'static {
        let (file, position) = (self.file.clone(), self.position);
        let (mut chunk, pool) = (self.room(), self.pool.clone());
        async move {
            let read = move || {
                let count = rustix::io::retry_on_intr(|| pread(&file, &mut *chunk, position))?;
                chunk.truncate(count);
                Ok(chunk.freeze())
            };
            pool.run(JobKind::Read, read).await
        }
    }
}

/// The first bytes of a file, as far as they are in memory.
pub fn read_cached(file: &OwnedFd, length: usize) -> Option<Bytes> {
    let mut content = BytesMut::zeroed(length);
    let into = &mut [IoSliceMut::new(&mut content)];
    let count = preadv2(file, into, 0, ReadWriteFlags::NOWAIT).ok()?;
    content.truncate(count);
    Some(content.freeze())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;

    use futures_lite::future::block_on;

    use super::*;

    #[test]
    fn a_chunk_is_read_into_again_once_nobody_holds_it() {
        let content: Vec<u8> = (0..5 * LARGE + 9).map(|number| (number / 7) as u8).collect();
        let mut file = std::fs::File::from(
            rustix::fs::memfd_create("content", rustix::fs::MemfdFlags::CLOEXEC).unwrap(),
        );
        file.write_all(&content).unwrap();
        let length = content.len() as u64;
        let mut reader = Reader::new(Arc::new(file.into()), length, Arc::default());
        let mut next = || block_on(poll_fn(|cx| reader.poll_chunk(cx))).unwrap().unwrap();

        let (first, second) = (next(), next());
        let place = second.as_ptr();
        assert_ne!(first.as_ptr(), place);
        assert_eq!([&first[..], &second[..]].concat(), content[..2 * LARGE]);
        drop(second);
        let third = next();
        assert_eq!(third.as_ptr(), place);
        assert_eq!([&first[..], &third[..]].concat(), {
            [&content[..LARGE], &content[2 * LARGE..3 * LARGE]].concat()
        });
        drop(third);
        assert_eq!([next(), next(), next()].concat(), content[3 * LARGE..]);
    }
}
