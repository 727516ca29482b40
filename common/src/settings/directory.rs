//! A directory of settings or certificates, held by one descriptor. The caller may be root while
//! the directory belongs to another user, so each file is opened from the descriptor by a
//! [`walk`](crate::walk). Knows no settings.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, DirEntry, Mode, OFlags, Stat, fstat, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use crate::regular_file;
use crate::walk::{Follow, WalkEnd, walk, walk_below};

/// No file of settings is larger.
const MAX_SIZE: u64 = 1024 * 1024;

/// An open directory, or one that does not exist.
pub(crate) struct Directory {
    pub(super) path: PathBuf,
    descriptor: Option<OwnedFd>,
}

/// The entry of a file in its directory, whether or not the file exists.
pub(crate) struct DirectoryEntry {
    /// The directory that contains it, links resolved, and its name there.
    pub(super) parent: OwnedFd,
    pub(super) name: OsString,
    /// The existing file.
    pub(crate) found: Option<(Stat, Vec<u8>)>,
    /// Whether a link has led here.
    pub(super) is_linked: bool,
}

impl Directory {
    /// Opens the directory. As root, no link on the way to it may be one that others can change.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let end = walk(path, Follow::to_read())?.filter(|end| end.stat.is_some());
        let descriptor = end.map(|end| end.open_directory()).transpose()?;
        Ok(Self { path: path.to_owned(), descriptor })
    }

    /// The descriptor, for locks and new files.
    pub(super) fn descriptor(&self) -> io::Result<&OwnedFd> {
        self.descriptor.as_ref().ok_or_else(|| Errno::NOENT.into())
    }

    /// Opens a directory below this one; `None` if it is missing.
    pub(crate) fn open_below(&self, below: &str, follow: Follow) -> io::Result<Option<OwnedFd>> {
        let end = self.walk(below, follow)?.filter(|end| end.stat.is_some());
        end.map(|end| end.open_directory()).transpose()
    }

    /// The names in a directory below this one; none if it is missing.
    pub(super) fn names(&self, below: &str, follow: Follow) -> io::Result<Vec<OsString>> {
        let Some(directory) = self.open_below(below, follow)? else { return Ok(Vec::new()) };
        let entries = Dir::read_from(directory)?;
        let name = |entry: DirEntry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
        entries.map(|entry| Ok(name(entry?))).collect()
    }

    /// Whether this path exists below this directory.
    pub(super) fn holds(&self, below: &str, follow: Follow) -> io::Result<bool> {
        Ok(self.walk(below, follow)?.is_some_and(|end| end.stat.is_some()))
    }

    /// Finds and reads a file below this directory; `None` if its directory is missing.
    pub(crate) fn find(&self, below: &str, follow: Follow) -> io::Result<Option<DirectoryEntry>> {
        let Some(WalkEnd { parent, name, stat, is_linked, .. }) = self.walk(below, follow)? else {
            return Ok(None);
        };
        let found = match stat {
            None => None,
            Some(stat) => {
                // Checked before it is opened: opening some devices has side effects.
                regular_file::check(&stat, MAX_SIZE)?;
                let flags = regular_file::FLAGS | OFlags::NOFOLLOW;
                let file = openat(&parent, &name, flags, Mode::empty())?;
                let stat = fstat(&file)?;
                Some((stat, regular_file::read_open(file, MAX_SIZE)?))
            }
        };
        Ok(Some(DirectoryEntry { parent, name, found, is_linked }))
    }

    /// Makes a directory below this one, and its missing parents.
    pub(crate) fn make(&self, below: &Path) -> io::Result<()> {
        let mut missing: Vec<_> = below.ancestors().filter(|path| *path != Path::new("")).collect();
        while let Some(directory) = missing.pop() {
            match self.walk(directory, Follow::Ours)? {
                Some(WalkEnd { parent, name, stat: None, is_linked: false, .. }) => {
                    match mkdirat(&parent, &name, Mode::from_raw_mode(0o755)) {
                        Err(error) if error != Errno::EXIST => return Err(error.into()),
                        _ => {}
                    }
                }
                Some(WalkEnd { stat: Some(_), .. }) => {}
                _ => return Err(Errno::NOENT.into()),
            }
        }
        Ok(())
    }

    fn walk(&self, below: impl AsRef<Path>, follow: Follow) -> io::Result<Option<WalkEnd>> {
        let Some(descriptor) = &self.descriptor else { return Ok(None) };
        walk_below(descriptor, &self.path, below.as_ref(), follow)
    }
}

/// Creates a file durably; `prepare` sets its owner and mode. Leaves no file after an error.
pub(crate) fn create(
    directory: &OwnedFd,
    name: &OsStr,
    text: &str,
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY;
    let mode = Mode::RUSR | Mode::WUSR;
    let mut file = File::from(openat(directory, name, flags | OFlags::CLOEXEC, mode)?);
    let written = file.write_all(text.as_bytes()).and_then(|()| prepare(&file));
    written.and_then(|()| file.sync_all()).inspect_err(|_| {
        // The first error is the one to report.
        let _ = remove(directory, name);
    })
}

/// Removes a file that may be missing.
pub(crate) fn remove(directory: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}
