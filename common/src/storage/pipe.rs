//! A pipe by which the kernel moves bytes from a socket to a file, see splice(2).

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, read, retry_on_intr};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use super::write_all;

/// The size of a pipe. One of 256 KiB takes nearly twice the processor time (measured).
const SIZE: usize = 1024 * 1024;

/// A pipe that has no other user.
pub struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
}

impl Pipe {
    /// # Errors
    /// There are too many descriptors.
    pub fn new() -> Result<Self, Errno> {
        let (output, input) = pipe_with(PipeFlags::CLOEXEC)?;
        // A smaller one works too.
        let _ = fcntl_setpipe_size(&input, SIZE);
        Ok(Self { output, input })
    }

    /// Moves bytes into the pipe, at most `most`, and returns how many. Does not wait.
    ///
    /// # Errors
    /// The socket is empty or the pipe is full ([`Errno::AGAIN`]), or the kernel cannot do it.
    pub(crate) fn fill(&self, socket: impl AsFd, most: u64) -> Result<usize, Errno> {
        let most = most.min(SIZE as u64) as usize;
        retry_on_intr(|| splice(&socket, None, &self.input, None, most, SpliceFlags::NONBLOCK))
    }

    /// Moves so many bytes of the pipe to this position of the file. What the kernel cannot move is
    /// copied.
    ///
    /// # Errors
    /// Those of pwrite(2). Some of the bytes may have been written then.
    pub fn empty(&self, file: &OwnedFd, mut position: u64, mut count: usize) -> Result<(), Errno> {
        let (pipe, none) = (&self.output, SpliceFlags::empty());
        while count > 0 {
            match retry_on_intr(|| splice(pipe, None, file, Some(&mut position), count, none)) {
                Ok(moved @ 1..) => count -= moved,
                Ok(_) | Err(_) => {
                    let mut chunk = vec![0; count.min(64 * 1024)];
                    let length = retry_on_intr(|| read(pipe, &mut *chunk))?;
                    write_all(file, &chunk[..length], position)?;
                    position += length as u64;
                    count -= length;
                }
            }
        }
        Ok(())
    }
}
