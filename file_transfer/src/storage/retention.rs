//! How long files stay: expiry by age, a quota, and eviction to make room. If none of the settings
//! is set, there is no [`Retention`].
//!
//! - [`age_clock`] counts the age of files, independent of changes of the device's clock.
//! - [`reads`] records when files are read; [`own_age`] is the age that an upload sets for its
//!   file.
//! - [`quota`] counts the bytes of all files, and [`counted`] says which files are counted.
//!   [`own_unlinks`] lists files whose `ctime` the service has changed by removing other names.
//! - [`traversal`] visits all files, [`sweep`] does this every ten minutes, [`eviction`] lists the
//!   files to delete first, and [`room`] deletes them, but not those that are being [`sent`].
//!   [`recount`] does a sweep before that, or before an upload is refused.
//!
//! A file that the service reads has a shared lock (flock(2)), and a file that an upload will
//! replace is listed in the quota. Neither is ever deleted here, nor is a file that another program
//! has locked.

mod age_clock;
mod counted;
mod eviction;
pub(super) mod own_age;
mod own_unlinks;
mod quota;
mod reads;
mod recount;
mod room;
mod saved_clock;
mod seen;
mod sent;
mod sum;
mod sweep;
mod traversal;

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_io::Timer;
use common::storage::{DiskPool, is_same_file};
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, openat, statat, unlinkat,
};
use rustix::io::Errno;

use super::Inner;
use super::directory::mount_of;
use super::root::Root;
use crate::error::Error;
use crate::path::FilePath;
use age_clock::AgeClock;
use eviction::{Candidate, Oldest};
use quota::Quota;
use reads::{LastUse, Reads};
use recount::Sweeps;
use saved_clock::Clocks;
use sent::SentFiles;
use traversal::Visited;

pub(super) use quota::{NoRoom, Reservation};
pub(super) use recount::Otherwise;
pub(super) use seen::Seen;
pub(crate) use sum::Sum;

/// How often an upload checks whether all files are counted.
const LOOK: Duration = Duration::from_millis(10);
/// In nanoseconds.
const SECOND: i128 = 1_000_000_000;
/// In milliseconds. The minimum time between two records of reads on the disk for one file.
const DAY: i64 = 24 * 60 * 60 * 1000;
/// After a restart, the age of a file is known with a precision of this part of `max_age`.
const PARTS: i64 = 16;
/// How often the clock is saved if it does not jump. If the device is switched off, so much of the
/// age of files may be lost.
const SAVE: i64 = 60 * 60 * 1000;

/// How long files stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Files that were neither written nor read for this time are deleted.
    pub max_age: Option<Duration>,
    /// The limit for all files together, in bytes.
    pub max_total: Option<u64>,
    /// Whether the least recently used files are deleted for an upload that would exceed the limit.
    pub make_room: bool,
}

/// The state of the limits, if there are any.
pub(super) struct Retention {
    /// In milliseconds.
    max_age: Option<i64>,
    quota: Arc<Quota>,
    clocks: Clocks,
    time: Mutex<AgeState>,
    /// Only if room may have to be made.
    sent: SentFiles,
    /// The next files to delete for room. Locked for a few of them at a time.
    oldest: Arc<async_lock::Mutex<Oldest>>,
    /// Set once all files were counted.
    is_counted: AtomicBool,
    /// Whether an upload waits for the end of a sweep.
    is_hurried: AtomicBool,
    sweeps: Sweeps,
}

struct AgeState {
    clock: AgeClock,
    reads: Reads,
    /// When the clock was last saved, in milliseconds since the boot of the device.
    saved: i64,
}

/// The result of an attempt to delete a file.
enum Outcome {
    Deleted {
        bytes: u64,
        was_counted: bool,
    },
    /// The file is in use, or another file has its name now.
    Kept,
    Failed(Errno),
}

impl Retention {
    /// `None` without limits. Blocks on the disk.
    pub(super) fn open(
        limits: Limits,
        root: &Root,
        pool: &Arc<DiskPool>,
    ) -> Result<Option<Arc<Self>>, common::error::Error> {
        let Limits { max_age, max_total, make_room } = limits;
        if max_age.is_none() && max_total.is_none() {
            return Ok(None);
        }
        let failed = |error: Error| common::error::Error::Failed(error.to_string());
        let root = root.check().map_err(failed)?;
        let max_age = max_age.map(|age| age.as_millis() as i64);
        let clocks = Clocks::default();
        let now = clocks.read();
        let clock = saved_clock::load(root.directories.root().as_fd(), now, pool);
        let granularity = max_age.map_or(DAY, |age| DAY.min(age / PARTS));
        let is_by_day = reads::is_by_day(root.directories.root().as_fd());
        let reads = Reads::new(clock.now(now.boot), granularity, is_by_day);
        Ok(Some(Arc::new(Self {
            max_age,
            quota: Arc::new(Quota::new(max_total, make_room)),
            clocks,
            time: Mutex::new(AgeState { clock, reads, saved: now.boot }),
            sent: SentFiles::default(),
            oldest: Arc::default(),
            is_counted: AtomicBool::new(false),
            is_hurried: AtomicBool::new(false),
            sweeps: Sweeps::default(),
        })))
    }

    /// Whether uploads may set an age for their files.
    pub(super) fn has_ages(&self) -> bool {
        self.max_age.is_some()
    }

    /// The count and the bytes of all files, and the limit, after they were counted.
    pub(super) fn usage(&self) -> Option<(Sum, u64)> {
        let limit = self.quota.limit()?;
        self.is_counted().then(|| (self.quota.stored(), limit))
    }

    /// Waits until all files were counted, if there is a limit.
    pub(super) async fn wait_until_counted(&self) {
        while self.quota.limit().is_some() && !self.is_counted() {
            self.is_hurried.store(true, Ordering::Relaxed);
            Timer::after(LOOK).await;
        }
    }

    fn is_counted(&self) -> bool {
        self.is_counted.load(Ordering::Relaxed)
    }

    /// Whether it matters when files were last read.
    pub(super) fn counts_reads(&self) -> bool {
        self.max_age.is_some() || self.quota.makes_room()
    }

    /// Notes that a file is being read, until its descriptor is closed. Returns whether
    /// [`Inner::note_on_disk`] is due.
    pub(super) fn note_read(&self, file: &Arc<OwnedFd>, path: &FilePath) -> bool {
        // Fails while the file is being deleted, which does not change the bytes that are read.
        let _ = flock(file, FlockOperation::NonBlockingLockShared);
        if self.quota.makes_room() {
            self.sent.add(file, path);
        }
        let Ok(stat) = fstat(file) else { return false };
        let boot = self.clocks.read().boot;
        let time = &mut *self.time();
        time.reads.note(&stat, &time.clock, time.clock.now(boot))
    }

    /// Reserves room for an upload.
    pub(super) fn reserve(
        &self,
        expected: u64,
        replaced: Option<Seen>,
    ) -> Result<Reservation, NoRoom> {
        self.quota.reserve(expected, replaced)
    }

    /// A file was deleted by a request.
    pub(super) fn removed(&self, file: &Seen) {
        self.quota.removed(file);
    }

    /// The service has removed a name of this open file, which was in the state `before`.
    pub(super) fn lost_name(&self, before: &Seen, file: impl AsFd) {
        if let (2.., Ok(stat)) = (before.links, fstat(file)) {
            self.quota.lost_name(before, &Seen::from(&stat));
        }
    }

    /// The state of a file as if the service had removed none of its names.
    fn as_left_by_others(&self, stat: &Stat) -> Stat {
        let changed = self.quota.changed(&Seen::from(stat));
        let mut stat = *stat;
        stat.st_ctime = changed.div_euclid(SECOND) as _;
        stat.st_ctime_nsec = changed.rem_euclid(SECOND) as _;
        stat
    }

    fn time(&self) -> MutexGuard<'_, AgeState> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_use(&self, stat: &Stat) -> LastUse {
        let stat = self.as_left_by_others(stat);
        let AgeState { clock, reads, .. } = &*self.time();
        reads.last_use(&stat, clock, clock.now(self.clocks.read().boot))
    }

    fn is_expired(&self, file: &Visited<'_>) -> bool {
        let Some(max_age) = self.max_age else { return false };
        let own = own_age::read(file.directory, file.name);
        let stat = self.as_left_by_others(file.stat);
        let AgeState { clock, reads, .. } = &*self.time();
        let now = clock.now(self.clocks.read().boot);
        let written = reads::milliseconds(file.stat.st_mtime, file.stat.st_mtime_nsec as i64);
        now - reads.latest_use(&stat, clock, now) >= max_age
            || own.is_some_and(|own| now - clock.latest(written, now) >= own)
    }
}

impl Inner {
    /// Compares the clocks, before files are judged by their age.
    fn compare_clocks(&self, retention: &Retention) {
        let now = retention.clocks.read();
        let mut time = retention.time();
        let jump = time.clock.check(now);
        if jump.is_none() && now.boot - time.saved < SAVE {
            return;
        }
        time.saved = now.boot;
        let text = time.clock.save();
        drop(time);
        saved_clock::tell(jump);
        if let Ok(root) = self.root.check() {
            saved_clock::save(&text, root.directories.root().as_fd(), &self.pool);
        }
    }

    /// Records on the disk that a file is being read, unless the path is a link, which may lead
    /// outside of the directory.
    pub(super) fn note_on_disk(&self, file: &OwnedFd, path: &FilePath) {
        let Some(directory) = self.directory_of(file, path) else { return };
        let _commit = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = fstat(file).map(|stat| Seen::of(&stat, directory));
        reads::note_on_disk(file.as_fd());
        if let (Some(retention), Ok(seen)) = (&self.retention, seen) {
            retention.quota.touched(&seen);
        }
    }

    /// The directory of an open file, if the path still names the file, and is not a link.
    fn directory_of(&self, file: &OwnedFd, path: &FilePath) -> Option<OwnedFd> {
        let root = self.root.check().ok()?;
        let (parent, name) = path.split();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = root.directories.root();
        let directory = openat(root, parent.unwrap_or("."), flags, Mode::empty()).ok()?;
        let named = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        is_same_file(&named, &fstat(file).ok()?).then_some(directory)
    }

    /// The files that are being sent, as far as they can be deleted later.
    fn sent(&self, retention: &Retention) -> Vec<Seen> {
        self.open_files.close_idle();
        let open = retention.sent.open();
        let here = open.iter().filter(|(file, path)| self.directory_of(file, path).is_some());
        here.filter_map(|(file, _)| Some(Seen::from(&fstat(file).ok()?))).collect()
    }

    /// Deletes a file that the sweep with this number has listed, or none has.
    fn evict(&self, retention: &Retention, candidate: &Candidate, sweep: u64) -> Outcome {
        let find = || {
            let root = self.root.check().map_err(|_| Errno::NOENT)?;
            let root = root.directories.root();
            let mut directory = root.try_clone().map_err(|_| Errno::MFILE)?;
            for part in Path::new(OsStr::from_bytes(&candidate.path)) {
                directory = openat(&directory, part, traversal::DIRECTORY, Mode::empty())?;
            }
            let is_here = mount_of(directory.as_fd())? == mount_of(root.as_fd())?;
            let stat = statat(&directory, &candidate.name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok::<_, Errno>((directory, stat, is_here))
        };
        match find() {
            Ok((directory, stat, true)) if candidate.is_still(&stat, retention.last_use(&stat)) => {
                let name = &candidate.name;
                let account =
                    |quota: &Quota, file: &Seen| quota.evicted(file, candidate.bytes, sweep);
                self.delete(retention, directory.as_fd(), name, &stat, account)
            }
            _ => Outcome::Kept,
        }
    }

    /// Removes a directory and its parents, if uploads created them and they are empty.
    fn prune(&self, directory: &[u8]) {
        if let (false, Ok(root)) = (directory.is_empty(), self.root.check()) {
            root.directories.prune_directory(Path::new(OsStr::from_bytes(directory)));
        }
    }

    /// Deletes a file that is not in use. `account` tells the quota.
    fn delete(
        &self,
        retention: &Retention,
        directory: BorrowedFd<'_>,
        name: &CStr,
        seen: &Stat,
        account: impl FnOnce(&Quota, &Seen) -> bool,
    ) -> Outcome {
        self.open_files.close_idle();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let file = match openat(directory, name, flags | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP | Errno::AGAIN) => return Outcome::Kept,
            Err(errno) => return Outcome::Failed(errno),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::AGAIN) => return Outcome::Kept,
            Err(errno) => return Outcome::Failed(errno),
        }
        let _commit = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|now| {
            let version = |stat: &Stat| (stat.st_ino, stat.st_ctime, stat.st_ctime_nsec);
            FileType::from_raw_mode(now.st_mode) == FileType::RegularFile
                && version(&now) == version(seen)
        });
        if !is_same || retention.quota.is_replaced(seen.st_ino) {
            return Outcome::Kept;
        }
        match unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) => {
                let before = Seen::of(seen, directory);
                let was_counted = account(&retention.quota, &before);
                retention.lost_name(&before, &file);
                Outcome::Deleted { bytes: before.bytes, was_counted }
            }
            Err(Errno::NOENT) => Outcome::Kept,
            Err(errno) => Outcome::Failed(errno),
        }
    }
}
