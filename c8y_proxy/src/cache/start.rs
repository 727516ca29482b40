//! Before the first request: opens the directory of the cache, and reads its entries.

use std::io::ErrorKind::{NotFound, Other};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::error::Error;
use common::settings::Free;
use common::storage::open_guarded;
use common::storage::temporary::{self, RESERVED};
use rustix::fs::{
    Access, AtFlags, CWD, FlockOperation, Mode, accessat, flock, fstat, mkdir, statat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::index::{self, Index};

/// The options of the cache.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the entries. It is created if it is missing.
    pub directory: PathBuf,
    /// The directory of the File Transfer Service, in which the cache must not be.
    pub files: PathBuf,
    /// The maximum size of all entries, in bytes.
    pub max_size: u64,
    /// Smaller answers are not cached.
    pub min_size: u64,
    /// The space that must stay free on the file system.
    pub min_free: Free,
    /// For how long an entry may be served while upstream cannot be asked.
    pub offline: Duration,
    /// Paths whose answers are cached, in addition to those of binaries.
    pub paths: Vec<String>,
}

/// Checks whether a start could use the directory. Does not create or lock it. `files` is that of
/// the File Transfer Service.
///
/// # Errors
/// If the directory cannot be used. The message says what to change.
pub fn check(directory: &Path, files: &Path) -> Result<(), Error> {
    let is_there =
        |path: &&Path| !matches!(path.metadata(), Err(error) if error.kind() == NotFound);
    let there = directory.ancestors().find(is_there).unwrap_or(directory);
    // Root checks it for a service of another user.
    let owner = match there.metadata() {
        Ok(found) if geteuid().is_root() => found.uid(),
        _ => geteuid().as_raw(),
    };
    match open_there(directory, files, owner) {
        Ok(None) => accessat(CWD, there, Access::WRITE_OK, AtFlags::EACCESS)
            .map_err(|errno| unusable(directory, "make", errno.into())),
        opened => opened.map(drop),
    }
}

/// Opens the directory, unless users other than root and `owner` could put an entry into it. `None`
/// if it is missing.
fn open_there(directory: &Path, files: &Path, owner: u32) -> Result<Option<OwnedFd>, Error> {
    let failed = |what, errno: Errno| unusable(directory, what, errno.into());
    let opened = match open_guarded(directory, owner, files) {
        Ok(opened) => opened,
        Err(error) if error.kind() == NotFound => return Ok(None),
        Err(error) if error.kind() == Other => {
            return Err(Error::Failed(format!(
                "cannot use the directory of the cache, {}: {error}, or set c8y.proxy.cache.path",
                directory.display()
            )));
        }
        Err(error) => return Err(unusable(directory, "open", error)),
    };
    for (path, name) in [(directory, "."), (&directory.join(RESERVED), RESERVED)] {
        let stat = match statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat.map_err(|errno| failed("read", errno))?,
        };
        if ![0, owner].contains(&stat.st_uid) || stat.st_mode & 0o022 != 0 {
            let path = path.display();
            return Err(Error::Failed(format!(
                "other users can change the directory of the cache, {path}: make the user of this \
                 service its owner (chown), and type `chmod go-w {path}`"
            )));
        }
    }
    Ok(Some(opened))
}

fn unusable(directory: &Path, what: &str, error: std::io::Error) -> Error {
    Error::Failed(format!(
        "cannot {what} the directory of the cache, {}: {error}; create it for the user of this service, or set c8y.proxy.cache.path",
        directory.display()
    ))
}

/// Whether files can be made in the directory.
pub(super) fn check_writable(directory: &OwnedFd) -> Result<(), Errno> {
    accessat(directory, ".", Access::WRITE_OK, AtFlags::EACCESS)
}

/// Opens the directory for this service alone. Creates it if it is missing. Also returns the
/// descriptor that holds the lock.
pub(super) fn open(options: &Options) -> Result<(OwnedFd, OwnedFd, Index), Error> {
    let shown = options.directory.display();
    let failed = |what, error| unusable(&options.directory, what, error);
    let there = || open_there(&options.directory, &options.files, geteuid().as_raw());
    if there()?.is_none() {
        make(&options.directory).map_err(|errno| failed("make", errno.into()))?;
    }
    let opened = || there()?.ok_or_else(|| failed("open", Errno::NOENT.into()));
    let directory = opened()?;
    // Other users may be able to open the directory, and could keep it locked, but not this one.
    let lock = temporary::reserve(directory.as_fd());
    let lock = lock.or_else(|_| opened())?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::AGAIN) => {
            let by = locked_by(&lock).unwrap_or_else(|| "another process".to_owned());
            return Err(Error::Failed(format!(
                "the directory of the cache, {shown}, is in use by {by}: stop that process, or set \
                 c8y.proxy.cache.path to another directory"
            )));
        }
        locked => locked.map_err(|errno| failed("lock", errno.into()))?,
    }
    if let Err(errno) = temporary::remove_all(directory.as_fd()) {
        log::warn!("cannot remove unfinished downloads from {shown}: {errno}");
    }
    // Entries in a read-only directory are still served.
    if let Err(errno) = check_writable(&directory) {
        log::warn!(
            "nothing can be added to the cache in {shown}: {errno}; under systemd, c8y.proxy.cache.path \
             needs a drop-in with ReadWritePaths={shown}"
        );
    }
    let index = Index::read(&directory, options.max_size);
    let index = index.map_err(|errno| failed("read", errno.into()))?;
    // The previous limit may have been larger.
    while index.is_too_large() {
        let Some(name) = index.evict() else { break };
        if let Err(errno) = index::unlink(&directory, name) {
            log::warn!("cannot remove an entry of the cache from {shown}: {errno}");
        }
    }
    let (entries, bytes) = index.totals();
    log::info!("The cache in {shown} has {entries} entries with {bytes} bytes");
    Ok((directory, lock, index))
}

/// Creates a directory and its parents.
fn make(directory: &Path) -> Result<(), Errno> {
    match mkdir(directory, Mode::RWXU) {
        Err(Errno::NOENT) => {
            make(directory.parent().ok_or(Errno::NOENT)?)?;
            mkdir(directory, Mode::RWXU)
        }
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

/// The process that has locked the directory, if the kernel reports it (proc_locks(5)).
fn locked_by(directory: &OwnedFd) -> Option<String> {
    let place = format!(":{} ", fstat(directory).ok()?.st_ino);
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let lock = locks.lines().find(|lock| lock.contains("FLOCK") && lock.contains(&place))?;
    let pid = lock.split_whitespace().nth(4)?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("process {pid} ({})", name.trim_end()))
}
