//! Files below one directory: read, replaced as a whole, deleted.
//!
//! No call that can wait for a disk runs on the executor: see [`common::storage`]. Paths are
//! resolved relative to the directory's descriptor. A symbolic link is followed only if it is the
//! last part of a path that is read, see [`lookup`]. Nothing here knows HTTP.

mod directory;
mod lookup;
mod open_files;
mod prune;
mod read;
mod remove;
mod retention;
mod root;
mod start;
mod write;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use common::settings::Free;
use common::storage::{DiskPool, JobKind};
use rustix::fs::{FileType, Stat};

pub use retention::Limits;
pub(crate) use retention::Sum;

use open_files::OpenFileCache;
use retention::Retention;
use root::Root;

/// The options of a [`Storage`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the files. It is created if it is missing.
    pub directory: PathBuf,
    /// The maximum size of a file, in bytes.
    pub max_size: Option<u64>,
    /// The space that an upload must leave free on the file system.
    pub min_free: Free,
    /// Whether a change is synced to the disk before it is answered.
    pub sync: bool,
    /// The settings of expiry and quota.
    pub limits: Limits,
}

/// The files below one directory. Clones share it.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    root: Root,
    open_files: OpenFileCache,
    pool: Arc<DiskPool>,
    /// Locked while a condition is checked, the file is changed, and the quota is told. Sweeps begin
    /// and end under it.
    commit: Mutex<()>,
    max_size: Option<u64>,
    min_free: Free,
    sync: bool,
    /// `None`: only requests delete files.
    retention: Option<Arc<Retention>>,
}

/// Identifies a version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The time of the last write, by the device's clock: seconds since 1970.
    pub seconds: i64,
    /// The nanoseconds of this time.
    pub nanoseconds: u32,
    /// The length in bytes.
    pub length: u64,
    /// The inode number.
    pub inode: u64,
    /// The permission bits.
    pub mode: u32,
}

/// The condition of a request that changes a file.
pub(crate) trait Condition: Send + Sync {
    /// Whether a file of this version may be changed; `None` if there is no file.
    fn holds(&self, version: Option<&Version>) -> bool;
}

impl Version {
    /// `None` if it is not a regular file.
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
    /// Creates the directory if it is missing, and removes what unfinished uploads have left.
    ///
    /// # Errors
    /// If the directory cannot be made or used. The message says what to change.
    pub fn open(options: Options) -> Result<Self, common::error::Error> {
        let root = Root::open(options.directory, options.sync)?;
        let pool = Arc::default();
        let retention = Retention::open(options.limits, &root, &pool)?;
        Ok(Self(Arc::new(Inner {
            root,
            open_files: OpenFileCache::default(),
            pool,
            commit: Mutex::default(),
            max_size: options.max_size,
            min_free: options.min_free,
            sync: options.sync,
            retention,
        })))
    }

    /// Checks that the directory exists. If it was removed, it is created again.
    pub(crate) async fn is_available(&self) -> bool {
        if !self.0.root.is_removed() {
            return true;
        }
        let inner = self.0.clone();
        let checked = self.0.pool.run(JobKind::Write, move || inner.root.check().map(drop)).await;
        checked.inspect_err(|error| common::journal::fail(&error.to_string())).is_ok()
    }

    /// Whether [`Storage::sweep_regularly`] is needed.
    pub fn has_limits(&self) -> bool {
        self.0.retention.is_some()
    }

    /// Whether uploads may set an age for their files.
    pub(crate) fn has_ages(&self) -> bool {
        self.0.retention.as_ref().is_some_and(|retention| retention.has_ages())
    }

    /// The count and the bytes of all files, and the limit. `None` without a limit, and until the
    /// files are counted.
    pub(crate) fn usage(&self) -> Option<(Sum, u64)> {
        self.0.retention.as_ref()?.usage()
    }

    /// Closes files that were kept open for speed and that have not been read for a while.
    pub fn close_unused(&self) {
        self.0.open_files.close_unused();
    }

    /// As on a kernel without openat2.
    #[cfg(test)]
    pub(crate) fn without_openat2(options: Options) -> Self {
        let mut storage = Self::open(options).unwrap();
        Arc::get_mut(&mut storage.0).unwrap().root.without_openat2();
        storage
    }
}
