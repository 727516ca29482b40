//! Stores files: each upload is written to a temporary file, which is renamed when it is complete
//! and on the disk.

mod commit;

use std::sync::Arc;

use common::http::Unread;
use common::net::load;
use common::storage::{JobKind, Pipe, SMALL, Temporary};

use self::commit::{Attempt, Search, Target};
use super::retention::Otherwise;
use super::{Condition, Inner, Storage, Version};
use crate::error::Error;
use crate::path::FilePath;

/// The smallest buffer of an upload. It grows with the file.
const SMALLEST: usize = 2 * 1024;
/// The largest buffer while few connections are busy. Each write runs on another thread, so fewer
/// writes are faster.
const LARGE: usize = 256 * 1024;

/// An unfinished upload. If it is dropped, it leaves nothing on the disk.
pub(crate) struct Upload {
    inner: Arc<Inner>,
    target: Target,
    temporary: Temporary,
    buffer: Vec<u8>,
    /// How many bytes were written before those in the buffer.
    written: u64,
    /// Up to where space is allocated.
    allocated: u64,
}

impl Storage {
    /// Begins an upload, of `expected` bytes if that is known.
    ///
    /// `condition` is checked against the current file, and again when the file is replaced.
    /// `own_age` is the number of seconds after which the file expires at the latest.
    ///
    /// # Errors
    /// If it is already certain that the upload cannot succeed.
    pub(crate) async fn upload(
        &self,
        path: FilePath,
        expected: Option<u64>,
        condition: impl Condition + 'static,
        own_age: Option<u64>,
    ) -> Result<Upload, Error> {
        self.0.check_size(expected.unwrap_or(0), &path)?;
        if let Some(retention) = &self.0.retention {
            retention.wait_until_counted().await;
        }
        let condition = Arc::new(condition);
        let target = Target { path, condition, announced: expected, own_age, reservation: None };
        let mut is_last = false;
        loop {
            let (inner, mut target) = (self.0.clone(), target.clone());
            let begin = move || {
                let temporary = target.begin(&inner, expected.unwrap_or(0))?;
                Ok(Upload {
                    inner,
                    target,
                    temporary,
                    buffer: Vec::new(),
                    written: 0,
                    allocated: 0,
                })
            };
            match self.0.pool.run(JobKind::Write, begin).await {
                Err(Error::NoRoom { .. })
                    if !is_last && self.0.recount(Otherwise::Refuse).await =>
                {
                    is_last = true;
                }
                begun => return begun,
            }
        }
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
    /// Takes the next bytes of the file. `finish` writes the last buffer, even if it is full.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        let received = self.written + (self.buffer.len() + bytes.len()) as u64;
        self.inner.check_size(received, &self.target.path)?;
        while !bytes.is_empty() {
            let most = largest_buffer();
            if self.buffer.len() >= most {
                self.flush(None).await?;
            }
            let room = most.saturating_sub(self.buffer.len());
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.make_room(now.len(), most);
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        // The connection may have to wait before it reads more.
        if !load::is_light() && self.buffer.len() >= SMALL {
            self.flush(None).await
        } else {
            Ok(())
        }
    }

    /// Has the kernel move the rest of a body from its socket to the file, as far as it can. Returns
    /// how many bytes; what follows has to be read. While many connections are busy, it moves
    /// nothing, so that few pipes take memory.
    pub(crate) async fn splice(&mut self, unread: &Unread) -> Result<u64, Error> {
        let mut moved = 0;
        if !load::is_light() || !unread.is_in_socket() {
            return Ok(moved);
        }
        let Ok(pipe) = Pipe::new() else { return Ok(moved) };
        let pipe = Arc::new(pipe);
        loop {
            let held = unread.fill(&pipe).await;
            if held == 0 {
                return Ok(moved);
            }
            self.flush(Some((pipe.clone(), held))).await?;
            self.buffer = Vec::new();
            moved += held as u64;
        }
    }

    /// Renames the file, and returns when it is on the disk.
    pub(crate) async fn finish(mut self) -> Result<Version, Error> {
        let inner = self.inner.clone();
        let size = self.written + self.buffer.len() as u64;
        let mut directory = Search::Find;
        loop {
            self.target.receive(&inner, size, true).await?;
            let kind = match directory {
                Search::Make => JobKind::MakeDirectories,
                Search::Find if inner.sync => JobKind::Sync,
                Search::Find => JobKind::Write,
            };
            let finish = move || {
                let buffer = std::mem::take(&mut self.buffer);
                let file = self.temporary.file();
                let position = size - buffer.len() as u64;
                self.target.write(&self.inner, file, &buffer, position, &mut self.allocated)?;
                if self.allocated > size {
                    // The rest of a multipart body was longer than usual.
                    self.target.cut(file, size)?;
                }
                let step = self.target.commit(&self.inner, &mut self.temporary, directory)?;
                Ok::<_, Error>((step, self))
            };
            let (step, upload) = inner.pool.run(kind, finish).await?;
            match step {
                Attempt::Done(version) => return Ok(version),
                Attempt::MakeDirectory => directory = Search::Make,
                Attempt::MakeRoom => {}
            }
            self = upload;
        }
    }

    /// Doubles the buffer as needed, so that small files and slow uploads take little memory.
    fn make_room(&mut self, more: usize, most: usize) {
        let needed = self.buffer.len() + more;
        if needed > self.buffer.capacity() {
            let capacity = needed.next_power_of_two().clamp(SMALLEST, most.max(needed));
            self.buffer.reserve_exact(capacity - self.buffer.len());
        }
    }

    /// Writes and empties the buffer, and then the pipe that holds so many bytes. New bytes wait in the socket meanwhile: two buffers of half
    /// the size, in turn, take as much memory and nearly twice the processor time (measured).
    async fn flush(&mut self, piped: Option<(Arc<Pipe>, usize)>) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let position = self.written;
        let end = position + buffer.len() as u64;
        self.written = end + piped.as_ref().map_or(0, |(_, held)| *held as u64);
        let (inner, target) = (self.inner.clone(), self.target.clone());
        target.receive(&inner, self.written, target.announced.is_some()).await?;
        let file = self.temporary.file().clone();
        let mut allocated = self.allocated;
        let write = move || {
            target.write(&inner, &file, &buffer, position, &mut allocated)?;
            buffer.clear();
            if let Some((pipe, held)) = piped {
                target.write_piped(&inner, &file, &pipe, end..end + held as u64, &mut allocated)?;
            }
            Ok::<_, Error>((buffer, allocated))
        };
        (self.buffer, self.allocated) = self.inner.pool.run(JobKind::Write, write).await?;
        if !load::is_light() {
            self.buffer = Vec::new();
        }
        Ok(())
    }
}

fn largest_buffer() -> usize {
    if load::is_light() { LARGE } else { SMALL }
}
