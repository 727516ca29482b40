//! What a program has logged, and how it ended. A reader sees every line that was written before it
//! looks: the pipe is read at that moment, not by a thread at some later time.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

/// What two threads note: one reads the log, one waits for the end.
pub(super) struct Watched {
    seen: Mutex<Seen>,
    changed: Condvar,
}

pub(super) struct Seen {
    stderr: ChildStderr,
    /// The beginning of a line.
    part: Vec<u8>,
    /// All whole lines, and the last one whether it is whole or not.
    pub(super) log: String,
    is_log_complete: bool,
    pub(super) status: Option<ExitStatus>,
}

impl Seen {
    pub(super) fn is_over(&self) -> bool {
        self.is_log_complete && self.status.is_some()
    }

    /// Reads what is there; whether there was anything.
    fn read(&mut self) -> bool {
        let (mut piece, before) = ([0; 64 * 1024], self.log.len());
        let was_complete = self.is_log_complete;
        while !self.is_log_complete {
            match self.stderr.read(&mut piece) {
                Ok(count @ 1..) => self.part.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => self.is_log_complete = true,
            }
        }
        let whole = match self.part.iter().rposition(|&byte| byte == b'\n') {
            _ if self.is_log_complete => self.part.len(),
            Some(end) => end + 1,
            None => 0,
        };
        let rest = self.part.split_off(whole);
        self.log.push_str(&String::from_utf8_lossy(&self.part));
        self.part = rest;
        self.log.len() > before || self.is_log_complete != was_complete
    }
}

impl Watched {
    /// Watches a program whose stderr is a pipe.
    pub(super) fn follow(mut child: Child) -> Arc<Self> {
        let stderr = child.stderr.take().unwrap();
        rustix::io::ioctl_fionbio(&stderr, true).unwrap();
        let readable = stderr.as_fd().try_clone_to_owned().unwrap();
        let seen = Seen {
            stderr,
            part: Vec::new(),
            log: String::new(),
            is_log_complete: false,
            status: None,
        };
        let watched = Arc::new(Self { seen: Mutex::new(seen), changed: Condvar::new() });

        let reader = Arc::clone(&watched);
        std::thread::spawn(move || {
            while !reader.lock().is_log_complete {
                // It may end for a signal: then there is nothing to read.
                let _ready = poll(&mut [PollFd::new(&readable, PollFlags::IN)], None);
            }
        });

        let waiter = Arc::clone(&watched);
        std::thread::spawn(move || {
            let status = child.wait().unwrap();
            waiter.lock().status = Some(status);
            waiter.changed.notify_all();
        });
        watched
    }

    /// What has been seen up to now.
    pub(super) fn lock(&self) -> MutexGuard<'_, Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if seen.read() {
            self.changed.notify_all();
        }
        seen
    }

    /// Returns when `is_so`, or when the time is over.
    pub(super) fn wait(
        &self,
        limit: Duration,
        is_so: impl Fn(&Seen) -> bool,
    ) -> MutexGuard<'_, Seen> {
        let end = Instant::now() + limit;
        let mut seen = self.lock();
        while !is_so(&seen) {
            let Some(left) = end.checked_duration_since(Instant::now()) else { break };
            seen = self
                .changed
                .wait_timeout(seen, left)
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .0;
        }
        seen
    }
}
