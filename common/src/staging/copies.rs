//! Copies of files that only root may read, made by root ([`run`](crate::run), `--stage`) for one
//! service alone, in the directory that systemd gives to its unit.
//!
//! It knows where a copy is and how to ask for new ones, not what is in it. Where no unit gave a
//! directory there are no copies, and every file is what it is.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where the unit's path looks for the wish for new copies.
const WISH: &str = "renew";

/// The unit's RuntimeDirectory=, systemd.exec(5).
pub(crate) fn directory() -> Option<PathBuf> {
    std::env::var_os("RUNTIME_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// What the copy of the file at this path is called: one name without slashes, however deep and
/// long the path is.
pub(crate) fn name(path: &Path) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, path.as_os_str().as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The copy of the file at this path, where there is one.
pub fn copy(path: &Path) -> Option<PathBuf> {
    Some(directory()?.join(name(path))).filter(|copy| copy.is_file())
}

/// Reads a small text file, or its copy where the file itself is out of walk. Blocks on the disk.
///
/// # Errors
///
/// Those of the file itself.
#[expect(clippy::disallowed_methods, reason = "said to block")]
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).or_else(|error| copy(path).and_then(|copy| fs::read(copy).ok()).ok_or(error))
}

/// Asks for new copies, where there are any: then the unit is reloaded soon. Otherwise false, and
/// the caller can read everything itself. Blocks on the disk.
pub(crate) fn renew() -> bool {
    let Some(directory) = directory() else { return false };
    let is_empty = fs::read_dir(&directory).map_or(true, |mut entries| entries.next().is_none());
    !is_empty && File::create(directory.join(WISH)).is_ok()
}
