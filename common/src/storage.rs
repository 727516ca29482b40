//! The storage that several services use: temporary files, which are renamed when they are
//! complete; reads and writes that block no other request while the disk stalls; and the space that
//! must stay free. Knows no HTTP and not what the files are for.

mod disk_pool;
mod pipe;
mod read;
pub mod space;
pub mod temporary;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstat, fsync, openat, stat};
use rustix::io::{Errno, pwrite, retry_on_intr};
use rustix::path::Arg;

use crate::walk::{Follow, Guard, Policy, walk, walk_by};

pub use self::disk_pool::{DiskPool, JOBS, JobKind};
pub use self::pipe::Pipe;
pub use self::read::{Reader, SMALL, read_cached};
pub use self::temporary::Temporary;
pub use crate::walk::is_same_file;

/// Opens the directory at a path. As root, no link on the way may be one that others can change.
///
/// # Errors
/// Those of openat(2), and such a link.
pub fn open_path(path: &Path) -> io::Result<OwnedFd> {
    let end = walk(path, Follow::to_read())?.filter(|end| end.stat.is_some());
    end.ok_or(Errno::NOENT)?.open_directory()
}

/// Opens the directory at a path, unless a user other than root, the caller and `owner` can exchange
/// a directory of the path, or one of these is `outside`, where clients store files.
///
/// # Errors
/// Those of openat(2). If a directory is refused, the message names it, and the kind is
/// [`io::ErrorKind::Other`].
pub fn open_guarded(path: &Path, owner: u32, outside: &Path) -> io::Result<OwnedFd> {
    let guard = Guard { owner, outside: stat(outside).ok() };
    let end = walk_by(&guard, &std::path::absolute(path)?)?.filter(|end| end.stat.is_some());
    let end = end.ok_or(Errno::NOENT)?;
    let directory = end.open_directory()?;
    guard.check_directory(&end.path, &fstat(&directory)?)?;
    Ok(directory)
}

/// Opens a directory in a directory. Follows no link.
///
/// # Errors
/// Those of openat(2).
pub fn open_directory(directory: BorrowedFd<'_>, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

/// Syncs the names in a directory, if its file system can do that.
///
/// # Errors
/// Those of fsync(2), except that the file system cannot do it.
pub fn sync_names(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    match fsync(directory) {
        Err(Errno::INVAL | Errno::BADF) | Ok(()) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Writes all bytes at this position.
///
/// # Errors
/// Those of pwrite(2). Some of the bytes may have been written then.
pub fn write_all(file: impl AsFd, mut bytes: &[u8], mut position: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let count = retry_on_intr(|| pwrite(&file, bytes, position))?;
        bytes = &bytes[count..];
        position += count as u64;
    }
    Ok(())
}
