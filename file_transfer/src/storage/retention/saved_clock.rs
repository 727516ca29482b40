//! Stores the age clock for the next start, in a small file that no request can name.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use common::storage::{DiskPool, Temporary, write_all};
use rustix::fs::{Mode, OFlags, fsync, openat};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::age_clock::{AgeClock, Reading};
use super::reads::milliseconds;

/// The name of the file in the directory of the files.
const FILE: &str = ".tedge-uploads-clock";
/// The maximum size of the file.
const LONGEST: u64 = 16 * 1024;

#[derive(Default)]
pub(in crate::storage) struct Clocks {
    /// For tests: how much time has passed.
    #[cfg(test)]
    pub(in crate::storage) passed: std::sync::atomic::AtomicI64,
}

impl Clocks {
    /// Their current times.
    pub(super) fn read(&self) -> Reading {
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_millis() as i64,
            Err(before) => -(before.duration().as_millis() as i64),
        };
        let boot = clock_gettime(ClockId::Boottime);
        let boot = milliseconds(boot.tv_sec, boot.tv_nsec as i64);
        #[cfg(test)]
        let (wall, boot) = {
            let passed = self.passed.load(std::sync::atomic::Ordering::Relaxed);
            (wall + passed, boot + passed)
        };
        Reading { wall, boot }
    }
}

/// The saved clock, continued until now, or a new one.
pub(super) fn load(root: BorrowedFd<'_>, now: Reading, pool: &Arc<DiskPool>) -> AgeClock {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot_id = if boot_id.trim().is_empty() { "unknown" } else { boot_id.trim() };
    let clock = match read(root) {
        Ok(text) => Some(AgeClock::load(&text).unwrap_or_else(|| {
            log::warn!("{FILE} is damaged: all files count as new");
            AgeClock::afresh(boot_id, now)
        })),
        Err(_) => None,
    };
    let clock = match clock {
        Some(mut clock) => {
            tell(clock.resume(boot_id, now));
            clock
        }
        None => AgeClock::new(boot_id, now),
    };
    save(&clock.save(), root, pool);
    clock
}

/// Logs that the device's clock has moved by itself.
pub(super) fn tell(moved: Option<i64>) {
    let Some(moved) = moved else { return };
    let direction = if moved > 0 { "forward" } else { "back" };
    log::warn!(
        "the clock of the device has moved {direction} by {} seconds since the last check, or \
         the device was off: this makes no file older, and no file is deleted because of it",
        moved.unsigned_abs() / 1000
    );
}

fn read(root: BorrowedFd<'_>) -> Result<String, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(root, FILE, flags, Mode::empty())?);
    let mut text = String::new();
    match file.take(LONGEST).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        // The file is not UTF-8, so it is not ours.
        Err(_) => Ok(String::new()),
    }
}

/// If the clock cannot be saved, such as on a read-only file system, the next start has no record.
pub(super) fn save(clock: &str, root: BorrowedFd<'_>, pool: &Arc<DiskPool>) {
    let saved = Temporary::create(root, pool.clone()).and_then(|mut temporary| {
        write_all(temporary.file().as_fd(), clock.as_bytes(), 0)?;
        fsync(temporary.file())?;
        temporary.rename(root, FILE)
    });
    if let Err(errno) = saved {
        log::debug!("cannot save {FILE}: {errno}");
    }
}
