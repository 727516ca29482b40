//! Prevents two commands from changing settings at the same time. It locks the directory, since a
//! file that is replaced cannot be locked. Anyone who may read the directory can lock it: so the
//! wait has a limit, and the error names the holder.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock, fstat};
use rustix::io::Errno;

/// Fifty writers on a slow card need less.
const TIMEOUT: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(20);

/// Locks a directory until its descriptor is closed.
pub(super) fn acquire(directory: &OwnedFd) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match flock(directory, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if start.elapsed() < TIMEOUT => thread::sleep(INTERVAL),
            Err(Errno::WOULDBLOCK) => {
                let holder = holder(fstat(directory)?.st_ino);
                let holder = holder.unwrap_or_else(|| "another process".to_owned());
                let seconds = TIMEOUT.as_secs();
                return Err(io::Error::other(format!(
                    "{holder} has had it locked for {seconds} seconds: try again when it is done, \
                     or end it"
                )));
            }
            locked => return Ok(locked?),
        }
    }
}

/// Who holds a lock on the file of this number: /proc/locks, proc(5).
fn holder(inode: u64) -> Option<String> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let end = format!(":{inode}");
    let mut held = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = held.find(|fields| {
        fields.get(1) == Some(&"FLOCK") && fields.get(5).is_some_and(|file| file.ends_with(&end))
    })?;
    let pid = line.get(4)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("process {pid} ({})", name.trim_end()))
}
