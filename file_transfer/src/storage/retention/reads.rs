//! When files were last read.
//!
//! Reads are recorded in memory. On the disk they are recorded only if the record there is old: as
//! the time of access, at most once a day for each file, or more often if files expire within days.
//! After a restart, a file expires as if it was read at the latest possible time. The order of
//! deletions for room is that of the recorded times, since the latest possible ones are often equal.

use std::os::fd::BorrowedFd;

use rustix::fs::{Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, fstatfs, futimens};

use super::DAY;
use super::age_clock::AgeClock;

/// The maximum number of files in memory. Beyond it, the older half is dropped.
const MOST: usize = 1024;

/// The maximum error of a time without a fraction, in milliseconds. FAT counts in steps of two
/// seconds.
const CUT: i64 = 2_000;

/// Whether the disk stores only the day of a read, as on FAT. A file system behind FUSE may be FAT.
pub(super) fn is_by_day(directory: BorrowedFd<'_>) -> bool {
    const MSDOS: u32 = 0x4d44;
    const FUSE: u32 = 0x6573_5546;
    let kind = fstatfs(directory).map(|about| about.f_type as u32);
    matches!(kind, Ok(MSDOS | FUSE))
}

/// When a file was last written or read, as far as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LastUse {
    /// By the age clock.
    time: i64,
    /// By the timestamps of the file. Decides between files to which the age clock gives one time.
    stamp: i64,
}

/// All times are those of the age clock.
pub(super) struct Reads {
    /// Inode numbers and times, in the order of the times.
    seen: Vec<(u64, i64)>,
    /// Reads before this time may not have been noted in memory.
    known_since: i64,
    /// How old the record on the disk may be before a read is recorded there.
    granularity: i64,
    /// How much later than the record on the disk a file may have been read.
    span: i64,
}

impl Reads {
    pub(super) fn new(now: i64, granularity: i64, is_by_day: bool) -> Self {
        let span = if is_by_day { DAY } else { 0 };
        Self { seen: Vec::new(), known_since: now, granularity, span }
    }

    /// Notes that a file is read now. Returns whether this should also be recorded on the disk.
    pub(super) fn note(&mut self, stat: &Stat, clock: &AgeClock, now: i64) -> bool {
        if let Some(index) = self.seen.iter().position(|(inode, _)| *inode == stat.st_ino) {
            self.seen.remove(index);
        } else if self.seen.len() == MOST {
            self.known_since = self.seen[MOST / 2].1;
            self.seen.drain(..MOST / 2);
        }
        self.seen.push((stat.st_ino, now));
        now - self.on_disk(stat, clock, now) > self.granularity
    }

    /// The latest time at which a file can have been written or read.
    pub(super) fn latest_use(&self, stat: &Stat, clock: &AgeClock, now: i64) -> i64 {
        let on_disk = self.on_disk(stat, clock, now);
        let unnoted = (on_disk + self.granularity).min(self.known_since);
        on_disk.max(unnoted).max(self.noted(stat))
    }

    /// The recorded last use of a file. It stays the same until the file is used.
    pub(super) fn last_use(&self, stat: &Stat, clock: &AgeClock, now: i64) -> LastUse {
        let changed = milliseconds(stat.st_ctime, stat.st_ctime_nsec as i64);
        let read = milliseconds(stat.st_atime, stat.st_atime_nsec as i64);
        let on_disk = clock.latest(changed, now).max(clock.known(read, now).unwrap_or(i64::MIN));
        LastUse { time: on_disk.max(self.noted(stat)), stamp: changed.max(read) }
    }

    fn noted(&self, stat: &Stat) -> i64 {
        let noted = self.seen.iter().find(|(inode, _)| *inode == stat.st_ino);
        noted.map_or(i64::MIN, |(_, time)| *time)
    }

    /// The time of the last change includes writes, and cannot be set, unlike the time of
    /// modification: a file that was copied with its old time is new here.
    fn on_disk(&self, stat: &Stat, clock: &AgeClock, now: i64) -> i64 {
        let wall = clock.wall(now);
        let end = |start: i64, span| start.saturating_add(span).min(wall).max(start);
        let changed = milliseconds(stat.st_ctime, stat.st_ctime_nsec as i64);
        let cut = if stat.st_ctime_nsec == 0 { CUT } else { 0 };
        let changed = clock.latest(end(changed, cut), now);
        let read = milliseconds(stat.st_atime, stat.st_atime_nsec as i64);
        let known = clock.known(end(read, self.span), now);
        changed.max(known.or_else(|| clock.known(read, now)).unwrap_or(i64::MIN))
    }
}

pub(super) fn milliseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000)
}

/// Sets the time of access to now. Ignores errors, such as on a read-only file system or for a file
/// of another user. Then the time counts that the system has recorded.
pub(super) fn note_on_disk(file: BorrowedFd<'_>) {
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let (last_access, last_modification) = (time(UTIME_NOW), time(UTIME_OMIT));
    let _ = futimens(file, &Timestamps { last_access, last_modification });
}

#[cfg(test)]
mod tests {
    use super::super::age_clock::Reading;
    use super::*;

    const HOUR: i64 = 60 * 60 * 1000;
    /// A midnight.
    const TODAY: i64 = 1_764_028_800_000;

    /// What FAT keeps of a file that was written and read at these times.
    fn on_fat(written: i64, read: i64) -> Stat {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let mut stat = rustix::fs::fstat(file).unwrap();
        stat.st_ctime = written / 2_000 * 2;
        stat.st_atime = read / (24 * HOUR) * 24 * 60 * 60;
        (stat.st_ctime_nsec, stat.st_atime_nsec) = (0, 0);
        stat
    }

    #[test]
    fn no_file_is_older_than_it_is_where_times_are_cut_to_days_and_to_two_seconds() {
        for start in [TODAY, TODAY + 10 * HOUR, TODAY + 23 * HOUR + 1_999] {
            for (written, read, now) in [
                (1, 1, 1),
                (1_999, 1_999, 3_000),
                (0, 13 * HOUR, 13 * HOUR),
                (0, 13 * HOUR + 1, 20 * HOUR),
                (0, 13 * HOUR, 50 * HOUR),
                (50 * HOUR, 13 * HOUR, 100 * HOUR),
            ] {
                // After a restart, so that nothing is in memory.
                let begin = Reading { wall: start, boot: 0 };
                let mut clock = AgeClock::new("a", begin);
                clock.check(Reading { wall: start + now, boot: now });
                let reads = Reads::new(clock.now(0), 0, true);
                let stat = on_fat(start + written, start + read);
                let age = clock.now(now) - reads.latest_use(&stat, &clock, clock.now(now));
                let exact = now - written.max(read);
                assert!((0..=exact).contains(&age), "{start}: {age} {exact}");
                assert!(exact - age <= 24 * HOUR, "{start}: {age} {exact}");
            }
        }
    }

    #[test]
    fn a_clock_that_jumps_ages_nothing_where_times_are_cut() {
        for jump in [365 * 24 * HOUR, -365 * 24 * HOUR, 5_000, -5_000] {
            let mut clock = AgeClock::new("a", Reading { wall: TODAY + HOUR, boot: 0 });
            let jumped = TODAY + HOUR + jump;
            clock.check(Reading { wall: jumped, boot: 0 });
            let reads = Reads::new(clock.now(0), 0, true);
            for passed in [0, 1, 500, 1_999, 2_001, 30 * HOUR] {
                clock.check(Reading { wall: jumped + passed, boot: passed });
                let now = clock.now(passed);
                for written in [0, passed / 2, passed] {
                    let stat = on_fat(jumped + written, jumped + written);
                    let age = now - reads.latest_use(&stat, &clock, now);
                    assert!((0..=passed - written).contains(&age), "{jump} {passed}: {age}");
                }
            }
        }
    }

    #[test]
    fn files_are_in_the_order_of_their_use_whatever_is_known_of_the_clock() {
        let before = |seconds: i64| TODAY + HOUR - seconds * 1_000;
        let begin = Reading { wall: before(0), boot: 0 };
        // Without its record, the clock gives all files the same time.
        for clock in [AgeClock::new("a", begin), AgeClock::afresh("a", begin)] {
            for is_by_day in [false, true] {
                let reads = Reads::new(clock.now(0), DAY, is_by_day);
                let uses = |now| {
                    let stats = [40, 30, 20, 10].map(|old| on_fat(before(old), before(old)));
                    stats.map(|stat| reads.last_use(&stat, &clock, clock.now(now)))
                };
                assert!(uses(0).is_sorted_by(|old, new| old < new), "{is_by_day}");
                assert_eq!(uses(0), uses(HOUR));
            }
        }
    }
}
