//! Where a service finds files that it may not read itself: root makes copies for it in the
//! directory that systemd gives to its unit.
//!
//! Knows where a copy is and how to request new ones, not what is in it. If no unit gave a
//! directory, there are no copies, and the original files are used.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, open, statat};

use super::guard;
use super::original::{self, Unreadable};
use crate::regular_file;

/// The name of the file by which the service requests new copies. The unit's path unit waits for
/// it.
pub(super) const RENEW: &str = "renew";

/// What root stores for a path. The extension of the copy's name says which.
#[derive(Clone, Copy)]
pub(super) enum Copy {
    /// The content of the file.
    Content,
    /// The names of the entries of a directory, each with a NUL after it.
    Listing,
    /// The reason why there is neither.
    Reason,
}

/// An entry of a directory.
pub(crate) struct ListedPath {
    pub(crate) path: PathBuf,
    pub(crate) is_directory: bool,
}

/// The first of the unit's RuntimeDirectory=, systemd.exec(5).
pub(crate) fn runtime_directory() -> Option<PathBuf> {
    let given = std::env::var_os("RUNTIME_DIRECTORY")?;
    let first = given.as_bytes().split(|byte| *byte == b':').next()?;
    (!first.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(first)))
}

impl Copy {
    /// The name of the copy for this path: one without slashes, however deep and long the path is.
    pub(super) fn name(self, path: &Path) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, path.as_os_str().as_bytes());
        let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
        let extension = match self {
            Self::Content => "",
            Self::Listing => ".directory",
            Self::Reason => ".reason",
        };
        digits.chain([extension.to_owned()]).collect()
    }

    fn find(self, path: &Path) -> Option<Vec<u8>> {
        original::read(&runtime_directory()?.join(self.name(path))).ok()
    }
}

/// Reads a file, or its copy if the service cannot read the file. Blocks on the disk.
///
/// # Errors
///
/// Those of the file, or the reason why root has not copied it.
pub fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
    guard::read(path)
        .unwrap_or_else(|| original::read(path))
        .or_else(|error| Copy::Content.find(path).ok_or_else(|| reason(path).unwrap_or(error)))
}

/// The entries of a directory, or `None` if the path does not lead to a directory. Blocks on the
/// disk.
///
/// # Errors
///
/// As [`read`].
pub(crate) fn entries(path: &Path) -> Result<Option<Vec<ListedPath>>, Unreadable> {
    let flags = regular_file::FLAGS | OFlags::DIRECTORY;
    let listed = match open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOTDIR) => return Ok(None),
        opened => opened.map_err(Unreadable::from).and_then(|directory| list(directory.as_fd())),
    };
    let error = match listed {
        Ok(names) => return Ok(Some(ListedPath::all(path, &names))),
        Err(error) => error,
    };
    if let Some(names) = Copy::Listing.find(path) {
        return Ok(Some(ListedPath::all(path, &names)));
    }
    match Copy::Content.find(path) {
        Some(_) => Ok(None),
        None => Err(reason(path).unwrap_or(error)),
    }
}

fn reason(path: &Path) -> Option<Unreadable> {
    let reason = Copy::Reason.find(path)?;
    Some(Unreadable::NotHandedOver(String::from_utf8_lossy(&reason).into_owned()))
}

/// The names in a directory, sorted, each with a NUL after it, directories with a slash before
/// that; of several links to one file the first.
pub(super) fn list(directory: BorrowedFd<'_>) -> Result<Vec<u8>, Unreadable> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            // Inserted in order: `sort` would add 8 KB to the program.
            let place = names.partition_point(|other| *other < name);
            names.insert(place, name);
        }
    }
    let mut seen = Vec::new();
    let mut listing = Vec::new();
    for name in names {
        let stat = statat(directory, name.as_slice(), AtFlags::empty()).ok();
        // /etc/ssl/certs has two links to each file.
        if let Some(file) = stat.as_ref().map(|stat| (stat.st_dev, stat.st_ino)) {
            let Err(place) = seen.binary_search(&file) else { continue };
            seen.insert(place, file);
        }
        let is_directory =
            stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        listing.extend(name);
        listing.extend(if is_directory { &b"/\0"[..] } else { b"\0" });
    }
    Ok(listing)
}

impl ListedPath {
    pub(super) fn all(directory: &Path, listing: &[u8]) -> Vec<Self> {
        let names = listing.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        names
            .map(|name| Self {
                path: directory.join(OsStr::from_bytes(name.strip_suffix(b"/").unwrap_or(name))),
                is_directory: name.ends_with(b"/"),
            })
            .collect()
    }
}

/// Requests new copies, for which the unit is reloaded. False if there are no copies, since the
/// service reads the files themselves. Blocks on the disk.
pub(crate) fn renew() -> bool {
    let Some(directory) = runtime_directory() else { return false };
    let is_empty = fs::read_dir(&directory).map_or(true, |mut entries| entries.next().is_none());
    !is_empty && File::create(directory.join(RENEW)).is_ok()
}
