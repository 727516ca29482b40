//! Which files are counted, and with how many bytes. Another program can add a file, or make one
//! larger, at any time, and the quota learns of this only by the next sweep. Until then, the
//! deletion of such a file must not lower the total.
//!
//! A file is counted if the service has stored it since the last sweep began. Only these files are
//! listed here, and a limited number of them. Another file is counted if it was not changed since
//! then (`ctime`), and that sweep has visited its directory. Moving a file changes its `ctime`;
//! moving a directory does not change that of the files in it, but the sweep had not visited the
//! directory. Therefore the visited directories are listed too, up to a limit.

use std::collections::HashSet;
use std::os::fd::AsFd;

use rustix::fs::fstat;
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::own_unlinks::OwnUnlinks;
use super::seen::Seen;

/// The maximum number of listed files, before and since the current sweep each: 32 KB.
const MOST: usize = 2048;
/// The maximum number of listed directories, all that fit into a table of 36 KB.
const MOST_DIRECTORIES: usize = 3584;
/// In nanoseconds. If the device's clock was set back by more than this, `ctime` proves nothing.
const SET_BACK: i128 = 5_000_000;

#[derive(Default)]
pub(super) struct Counted {
    /// When the last complete sweep began.
    swept: Option<Begin>,
    directories: VisitedDirectories,
    /// How many sweeps were completed.
    pub(super) sweeps: u64,
    /// When the current sweep began.
    sweeping: Option<Begin>,
    /// The files that were stored after the last complete sweep began, and before the current one.
    before: Vec<Stored>,
    /// The files that were stored after the current sweep began.
    since: Vec<Stored>,
    own_unlinks: OwnUnlinks,
}

/// Directories that a sweep has visited, by their inodes.
#[derive(Default)]
pub(super) struct VisitedDirectories(HashSet<u64>);

/// A time, in nanoseconds.
#[derive(Clone, Copy)]
struct Begin {
    wall: i128,
    /// `wall` minus the time since the boot of the device.
    offset: i128,
}

/// A file that the service has stored.
struct Stored {
    inode: u64,
    bytes: u64,
}

impl VisitedDirectories {
    /// The sweep has visited all files in this directory.
    pub(super) fn add(&mut self, directory: impl AsFd) {
        if let (true, Ok(stat)) = (self.0.len() < MOST_DIRECTORIES, fstat(directory)) {
            self.0.insert(stat.st_ino);
        }
    }
}

impl Counted {
    /// A sweep begins. It visits no file within the next two ticks of the kernel's clock, so that a
    /// file that it does not see in its last state has a later `ctime`.
    pub(super) fn begin_sweep(&mut self) {
        let since = std::mem::take(&mut self.since);
        self.before.extend(since);
        self.before.truncate(MOST);
        self.sweeping = Some(Begin::now());
    }

    /// The sweep has visited all files in these directories.
    pub(super) fn end_sweep(&mut self, directories: VisitedDirectories) {
        self.before = Vec::new();
        (self.swept, self.directories) = (self.sweeping, directories);
        self.sweeps += 1;
    }

    /// The service has stored a file.
    pub(super) fn add(&mut self, inode: u64, bytes: u64) {
        self.forget(inode);
        if self.since.len() < MOST {
            self.since.push(Stored { inode, bytes });
        }
    }

    /// The service has changed the `ctime` of a file, and nothing else.
    pub(super) fn touched(&mut self, before: &Seen) {
        if let Some(bytes) = self.bytes(before) {
            self.add(before.inode, bytes);
        }
    }

    /// The service has removed a name of a file that has others.
    pub(super) fn lost_name(&mut self, before: &Seen, after: &Seen) {
        self.own_unlinks.add(before, after);
    }

    /// When another program has last changed the file.
    pub(super) fn changed(&self, file: &Seen) -> i128 {
        self.own_unlinks.changed(file)
    }

    /// With how many bytes a file is counted. `None` if it may not be counted.
    pub(super) fn bytes(&self, file: &Seen) -> Option<u64> {
        let is_visited = file.directory.is_some_and(|it| self.directories.0.contains(&it));
        if is_visited && self.swept.is_some_and(|begin| begin.is_after(self.changed(file))) {
            return Some(file.bytes);
        }
        // Another program can have added a name, which is not counted.
        let stored = self.before.iter().chain(&self.since).find(|it| it.inode == file.inode);
        stored.filter(|_| file.links == 1).map(|stored| stored.bytes)
    }

    /// The same, for a file that was deleted.
    pub(super) fn remove(&mut self, file: &Seen) -> Option<u64> {
        let bytes = self.bytes(file);
        if file.links == 1 {
            self.own_unlinks.forget(file.inode);
        }
        if bytes.is_some() {
            self.forget(file.inode);
        }
        bytes
    }

    fn forget(&mut self, inode: u64) {
        for list in [&mut self.before, &mut self.since] {
            if let Some(index) = list.iter().position(|stored| stored.inode == inode) {
                list.swap_remove(index);
            }
        }
    }
}

impl Begin {
    fn now() -> Self {
        let wall = nanoseconds(clock_gettime(ClockId::Realtime));
        Self { wall, offset: wall - nanoseconds(clock_gettime(ClockId::Boottime)) }
    }

    /// Whether a `ctime` is certainly from before this time.
    fn is_after(&self, changed: i128) -> bool {
        // In this order, a pause between the two readings does not look like a clock set back.
        let boot = nanoseconds(clock_gettime(ClockId::Boottime));
        let offset = nanoseconds(clock_gettime(ClockId::Realtime)) - boot;
        changed <= self.wall && offset + SET_BACK >= self.offset
    }
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

#[cfg(test)]
impl<const N: usize> From<[u64; N]> for VisitedDirectories {
    fn from(inodes: [u64; N]) -> Self {
        Self(inodes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(inode: u64, bytes: u64, links: u32) -> Seen {
        let directory = Some(5);
        Seen { inode, directory, bytes, links, changed: i128::MAX }
    }

    fn visited() -> VisitedDirectories {
        [5].into()
    }

    #[test]
    fn a_file_counts_with_the_bytes_that_were_stored_or_swept() {
        let mut counted = Counted::default();
        let old = Seen { changed: 0, ..seen(1, 10, 2) };
        assert_eq!(counted.bytes(&old), None);
        counted.begin_sweep();
        counted.add(2, 20);
        assert_eq!(counted.bytes(&old), None);
        counted.end_sweep(visited());
        assert_eq!((counted.bytes(&old), counted.bytes(&seen(1, 10, 1))), (Some(10), None));
        assert_eq!(counted.bytes(&Seen { directory: Some(6), ..old }), None);
        // It grew, and has another name.
        assert_eq!(
            (counted.bytes(&seen(2, 90, 1)), counted.remove(&seen(2, 20, 2))),
            (Some(20), None)
        );
        assert_eq!(
            (counted.remove(&seen(2, 90, 1)), counted.remove(&seen(2, 90, 1))),
            (Some(20), None)
        );
    }

    #[test]
    fn the_list_is_limited_and_begins_anew_with_each_sweep() {
        let mut counted = Counted::default();
        for round in 0..3 {
            for inode in 0..2 * MOST as u64 {
                counted.add(inode, 1);
            }
            assert!(counted.since.len() == MOST && counted.before.len() <= MOST);
            assert!(counted.bytes(&seen(0, 1, 1)).is_some(), "{round}");
            counted.begin_sweep();
        }
        counted.end_sweep(visited());
        assert!(counted.before.is_empty() && counted.since.is_empty());
    }

    #[test]
    fn a_clock_that_was_set_back_proves_nothing() {
        let mut counted = Counted::default();
        counted.begin_sweep();
        counted.end_sweep(visited());
        let old = Seen { changed: 0, ..seen(1, 10, 1) };
        assert_eq!(counted.bytes(&old), Some(10));
        counted.swept.as_mut().unwrap().offset += 60_000_000_000;
        assert_eq!(counted.bytes(&old), None);
    }
}
