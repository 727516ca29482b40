//! The files of the cache, for the command `tedge cache`. A service may use them at the same time.

use std::collections::BinaryHeap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::cli::Cached;
use common::error::Error;
use common::storage::{open_path, temporary};
use rustix::fs::{FileType, fstat};

use super::entry::Entry;
use super::index;

/// The entries in a directory, which may belong to another user.
///
/// # Errors
/// If the directory cannot be read.
pub fn list(directory: &Path) -> Result<Vec<Cached>, Error> {
    Ok(read(directory)?.1.into_sorted_vec().into_iter().map(|(cached, _)| cached).collect())
}

/// Removes the entries and the downloads in progress with this path or ID, or all of them, and
/// returns how many were removed. The service notices this when an entry is requested.
///
/// # Errors
/// If the directory cannot be read, or an entry not removed.
pub fn remove(directory: &Path, named: Option<&str>) -> Result<usize, Error> {
    let (opened, entries) = read(directory)?;
    let is_download = |tag: &[u8]| named.is_none_or(|named| tag == download_tag(named).as_bytes());
    let removed = temporary::remove(opened.as_fd(), &is_download);
    let mut count = removed.map_err(|errno| failed(directory, "change", errno.into()))?;
    let is_dropped = |cached: &Cached| named.is_none_or(|named| cached.is(named));
    for (_, name) in entries.into_iter().filter(|(cached, _)| is_dropped(cached)) {
        index::unlink(&opened, name).map_err(|errno| failed(directory, "change", errno.into()))?;
        count += 1;
    }
    Ok(count)
}

/// The tag of the temporary file of a download: the ID in its path, which has only characters that a
/// file name may have.
pub(super) fn download_tag(path: &str) -> &str {
    /// A name may have 255 bytes.
    const LONGEST: usize = 200;
    let id = Cached::id(path);
    id.get(..LONGEST).unwrap_or(id)
}

/// A heap, since sorting takes more code.
fn read(directory: &Path) -> Result<(OwnedFd, BinaryHeap<(Cached, u128)>), Error> {
    let opened = open_path(directory).map_err(|error| failed(directory, "read", error))?;
    let names = index::names(&opened).map_err(|errno| failed(directory, "read", errno.into()))?;
    let mut entries = BinaryHeap::new();
    for name in names {
        if let Some(cached) = cached(&opened, name) {
            entries.push((cached, name));
        }
    }
    Ok((opened, entries))
}

/// The entry with this name. `None` if the file is not one of an entry.
fn cached(directory: impl AsFd, name: u128) -> Option<Cached> {
    let file = index::open(directory, name).ok()?;
    let stat = fstat(&file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let entry = Entry::read(&file, &stat).ok()??;
    let confirmed = SystemTime::UNIX_EPOCH + Duration::from_secs(stat.st_mtime.try_into().ok()?);
    let age = SystemTime::now().duration_since(confirmed).unwrap_or_default();
    Some(Cached { url: entry.url, length: entry.length, age })
}

fn failed(directory: &Path, what: &str, error: std::io::Error) -> Error {
    Error::Failed(format!("cannot {what} the cache in {}: {error}", directory.display()))
}
