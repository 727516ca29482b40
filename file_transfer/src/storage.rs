//! Files below one directory: read as they are, replaced at once and whole, removed for good.
//!
//! No call here that can wait for a disk runs on the executor: see [`disk_pool`]. No path is ever
//! resolved by name from the outside: everything is relative to the directory's descriptor and
//! follows no symbolic link. Nothing here knows HTTP.

mod directory;
mod disk_pool;
mod lookup;
mod open_files;
mod read;
mod remove;
mod space;
mod start;
mod temporary;
mod traffic;
mod write;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustix::fs::{FileType, Stat};

pub use disk_pool::JOBS;
pub use read::Reader;
pub use space::MinFree;

use directory::Directories;
use disk_pool::Lanes;
use lookup::Resolver;
use open_files::Recent;
use traffic::Traffic;

/// What a [`Storage`] is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the files are; made when it is missing.
    pub directory: PathBuf,
    /// The largest file that is taken, in bytes.
    pub max_size: Option<u64>,
    /// What an upload has to leave free on the file system.
    pub min_free: MinFree,
    /// Whether a file is on the disk before it is said to be stored.
    pub sync: bool,
}

/// The files below one directory. Clones are the same storage.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    directories: Directories,
    resolver: Resolver,
    recent: Recent,
    lanes: Arc<Lanes>,
    traffic: Arc<Traffic>,
    /// Held while a file is compared with what a request expects, and changed.
    commit: Mutex<()>,
    max_size: Option<u64>,
    min_free: MinFree,
    sync: bool,
}

/// What tells one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Seconds since 1970 of the last write, by the clock of the device.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: u32,
    /// In bytes.
    pub length: u64,
    /// The number of the file in its file system.
    pub inode: u64,
    /// Permission bits.
    pub mode: u32,
}

/// What a request knows of the file that it wants to change.
pub(crate) trait Guard: Send + Sync {
    /// Whether a file may be changed that is there in this version, or is not there.
    fn admits(&self, version: Option<&Version>) -> bool;
}

impl Version {
    /// `None` where it is no regular file.
    fn of(stat: &Stat) -> Option<Self> {
        (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(Self {
            seconds: stat.st_mtime,
            nanoseconds: stat.st_mtime_nsec as u32,
            length: stat.st_size as u64,
            inode: stat.st_ino,
            mode: stat.st_mode & 0o777,
        })
    }
}

impl Storage {
    /// Makes the directory where it is missing, and removes what broken uploads have left.
    ///
    /// # Errors
    /// Where the directory cannot be made or used, saying who has to change what.
    pub fn open(options: Options) -> Result<Self, common::error::Error> {
        let root = start::open(&options.directory, options.sync)?;
        Ok(Self::at(root, options))
    }

    fn at(root: Arc<OwnedFd>, options: Options) -> Self {
        Self(Arc::new(Inner {
            resolver: Resolver::new(root.clone()),
            directories: Directories::new(root, options.sync),
            recent: Recent::default(),
            lanes: Arc::default(),
            traffic: Arc::default(),
            commit: Mutex::default(),
            max_size: options.max_size,
            min_free: options.min_free,
            sync: options.sync,
        }))
    }

    /// Closes what was kept open for speed and was not asked for again.
    pub fn rest(&self) {
        self.0.recent.let_go();
    }

    /// As on a kernel without openat2.
    #[cfg(test)]
    pub(crate) fn without_openat2(options: Options) -> Self {
        let mut storage = Self::open(options).unwrap();
        Arc::get_mut(&mut storage.0).unwrap().resolver.walk_only();
        storage
    }
}
