//! The state of a file, as the quota needs it.

use std::os::fd::AsFd;

use rustix::fs::{Stat, fstat};

/// What identifies a state of a regular file.
#[derive(Clone, Copy, Debug)]
pub(in crate::storage) struct Seen {
    pub(super) inode: u64,
    pub(super) directory: Option<u64>,
    pub(in crate::storage) bytes: u64,
    /// How many names it has.
    pub(super) links: u32,
    /// In nanoseconds since 1970.
    pub(super) changed: i128,
}

impl Seen {
    /// A regular file in this directory.
    pub(in crate::storage) fn of(stat: &Stat, directory: impl AsFd) -> Self {
        Self { directory: fstat(directory).ok().map(|stat| stat.st_ino), ..stat.into() }
    }
}

impl From<&Stat> for Seen {
    fn from(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            directory: None,
            bytes: stat.st_size as u64,
            links: stat.st_nlink as u32,
            changed: i128::from(stat.st_ctime) * 1_000_000_000 + stat.st_ctime_nsec as i128,
        }
    }
}
