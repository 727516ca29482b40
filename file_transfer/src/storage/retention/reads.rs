//! When files were last read.
//!
//! Reads are noted in memory, and on the disk only if the time there is old: as the time of access,
//! at most once a day for each file, and more often only if files expire within days. After a
//! restart, a file counts as read at the latest time at which it may have been.

use std::os::fd::BorrowedFd;

use rustix::fs::{Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};

use super::clock::AgeClock;

/// How many files are noted in memory. If there are more, the half that was read first goes.
const MOST: usize = 1024;

/// All times are those of the age clock.
pub(super) struct Reads {
    /// Inode numbers and times, in the order of the times.
    seen: Vec<(u64, i64)>,
    /// Reads before this time may not have been noted in memory.
    known_since: i64,
    /// How old the time on the disk may be before a read is noted there.
    granularity: i64,
}

impl Reads {
    pub(super) fn new(now: i64, granularity: i64) -> Self {
        Self { seen: Vec::new(), known_since: now, granularity }
    }

    /// Notes that a file is read now. Returns whether that should also be noted on the disk.
    pub(super) fn note(&mut self, stat: &Stat, clock: &AgeClock, now: i64) -> bool {
        if let Some(index) = self.seen.iter().position(|(inode, _)| *inode == stat.st_ino) {
            self.seen.remove(index);
        } else if self.seen.len() == MOST {
            self.known_since = self.seen[MOST / 2].1;
            self.seen.drain(..MOST / 2);
        }
        self.seen.push((stat.st_ino, now));
        now - on_disk(stat, clock, now) > self.granularity
    }

    /// The latest time at which a file can have been written or read.
    pub(super) fn last_use(&self, stat: &Stat, clock: &AgeClock, now: i64) -> i64 {
        let on_disk = on_disk(stat, clock, now);
        let noted = self.seen.iter().find(|(inode, _)| *inode == stat.st_ino);
        let unnoted = (on_disk + self.granularity).min(self.known_since);
        on_disk.max(unnoted).max(noted.map_or(i64::MIN, |(_, time)| *time))
    }
}

/// The time of the last change covers the writing of a file, and unlike the time of modification
/// nobody can set it: a file that was copied with its old time is new here.
fn on_disk(stat: &Stat, clock: &AgeClock, now: i64) -> i64 {
    let changed = clock.latest(milliseconds(stat.st_ctime, stat.st_ctime_nsec as i64), now);
    let read = clock.known(milliseconds(stat.st_atime, stat.st_atime_nsec as i64), now);
    changed.max(read.unwrap_or(i64::MIN))
}

pub(super) fn milliseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000)
}

/// Sets the time of access to now. Fails silently, such as on a read-only file system, or if the
/// file belongs to somebody else: then the time counts that the system has noted itself.
pub(super) fn note_on_disk(file: BorrowedFd<'_>) {
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let (last_access, last_modification) = (time(UTIME_NOW), time(UTIME_OMIT));
    let _ = futimens(file, &Timestamps { last_access, last_modification });
}
