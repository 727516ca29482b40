//! Temporary files, in a directory that no request can name. A file is written here and then
//! renamed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::disk_pool::DiskPool;
use super::open_directory;

/// The directory of the temporary files.
pub const RESERVED: &str = ".tedge-uploads";

/// A temporary file. It is removed when dropped, unless it was renamed.
pub struct Temporary {
    file: Arc<OwnedFd>,
    /// Its directory and its name there, until it is renamed.
    entry: Option<(OwnedFd, String)>,
    pool: Arc<DiskPool>,
}

impl Temporary {
    /// Creates one in the reserved directory of `base`, on the same file system.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(base: BorrowedFd<'_>, pool: Arc<DiskPool>) -> Result<Self, Errno> {
        Self::create_for("", base, pool)
    }

    /// Creates one whose name ends with a tag, for [`remove`].
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create_for(tag: &str, base: BorrowedFd<'_>, pool: Arc<DiskPool>) -> Result<Self, Errno> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let directory = reserve(base)?;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}-{tag}", std::process::id());
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            match openat(&directory, name.as_str(), flags, Mode::from_raw_mode(0o600)) {
                Ok(file) => {
                    let entry = Some((directory, name));
                    return Ok(Self { file: Arc::new(file), entry, pool });
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The file.
    pub fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    /// Renames it, and replaces the file of that name.
    ///
    /// # Errors
    /// Those of renameat(2).
    pub fn rename(&mut self, directory: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        let Some((from, temporary)) = &self.entry else { return Err(Errno::NOENT) };
        renameat(from, temporary.as_str(), directory, name)?;
        self.entry = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let Some((directory, name)) = self.entry.take() else { return };
        // Freeing the blocks of a large file takes a while. This happens when the last descriptor
        // is closed, so that must run in the pool too.
        let file = self.file.clone();
        self.pool.defer(move || {
            match unlinkat(directory, name.as_str(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    log::warn!("cannot remove the unfinished upload {RESERVED}/{name}: {errno}");
                }
            }
            drop(file);
        });
    }
}

/// Removes all temporary files in the reserved directory of `base`, even if one cannot be removed.
/// Returns how many there were.
///
/// # Errors
/// The first error of the file system.
pub fn remove_all(base: BorrowedFd<'_>) -> Result<usize, Errno> {
    remove(base, &|_| true)
}

/// Removes only files with certain tags.
///
/// # Errors
/// The first error of the file system.
pub fn remove(base: BorrowedFd<'_>, is_meant: &dyn Fn(&[u8]) -> bool) -> Result<usize, Errno> {
    let directory = match open_directory(base, RESERVED) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(0),
        Err(errno) => return Err(errno),
    };
    let mut outcome = Ok(0);
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let tag = name.splitn(3, |byte| *byte == b'-').nth(2).unwrap_or_default();
        if !matches!(name, b"." | b"..") && is_meant(tag) {
            let removed = unlinkat(&directory, entry.file_name(), AtFlags::empty());
            outcome = outcome.and_then(|count| removed.map(|()| count + 1));
        }
    }
    outcome
}

/// Opens the reserved directory of `base`, which only its owner can open. Creates it if it is
/// missing.
///
/// # Errors
/// Those of the file system.
pub fn reserve(base: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let open = || open_directory(base, RESERVED);
    match open() {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    match mkdirat(base.as_fd(), RESERVED, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => open(),
        Err(errno) => Err(errno),
    }
}
