//! Whether files have changed since they were read, without reading them again.

use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The state of some files and directories: equal stamps mean unchanged files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    /// Inspects these paths, and the content of those that are directories.
    pub(crate) fn take(paths: &[Option<&Path>]) -> Self {
        let mut hasher = DefaultHasher::new();
        for &path in paths.iter().flatten() {
            look(path, path.as_os_str(), &mut hasher);
            let Ok(entries) = fs::read_dir(path) else { continue };
            // The order of a directory's entries has no meaning, so their hashes are added.
            let mut sum = 0u64;
            for entry in entries.flatten() {
                let mut entry_hasher = DefaultHasher::new();
                look(&entry.path(), &entry.file_name(), &mut entry_hasher);
                sum = sum.wrapping_add(entry_hasher.finish());
            }
            sum.hash(&mut hasher);
        }
        Self(hasher.finish())
    }
}

/// The file at the end of the path, through links. Its ctime also shows a change of content within
/// the same second, or with an old mtime.
fn look(path: &Path, name: &OsStr, hasher: &mut DefaultHasher) {
    name.hash(hasher);
    let Ok(file) = fs::metadata(path) else { return };
    (file.dev(), file.ino(), file.size()).hash(hasher);
    (file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()).hash(hasher);
}
