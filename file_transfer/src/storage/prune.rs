//! Removes directories that uploads made and that are empty again.
//!
//! A directory that an upload creates is marked with an extended attribute, so that it is
//! recognised after a restart. If the file system has no extended attributes, directories stay.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::storage::open_directory;
use rustix::fs::{AtFlags, XattrFlags, fgetxattr, fsetxattr, unlinkat};
use rustix::io::Errno;

use crate::path::FilePath;

const MARK: &str = "user.tedge.upload";

/// Marks a directory as created for an upload.
pub(super) fn mark(directory: &OwnedFd) {
    // Fails if the file system has no extended attributes.
    let _ = fsetxattr(directory, MARK, b"1", XattrFlags::empty());
}

fn is_marked(directory: &OwnedFd) -> bool {
    let nothing: &mut [u8] = &mut [];
    fgetxattr(directory, MARK, nothing).is_ok()
}

/// The directories of uploads that are being renamed. They are not removed during this time.
#[derive(Default)]
pub(super) struct Holds(Mutex<Vec<String>>);

/// Prevents the removal of the directories of one path until it is dropped.
pub(super) struct Hold<'a> {
    holds: &'a Holds,
    directory: &'a str,
}

impl Holds {
    /// Waits until no directory is being removed.
    pub(super) fn hold<'a>(&'a self, path: &'a FilePath) -> Hold<'a> {
        let directory = path.split().0.unwrap_or_default();
        self.lock().push(directory.to_owned());
        Hold { holds: self, directory }
    }

    /// Removes this directory and its parents, as far as they are empty, marked and not held.
    pub(super) fn prune(&self, root: &OwnedFd, directory: &Path) {
        let holds = self.lock();
        let parts: Vec<&OsStr> = directory.iter().collect();
        let is_held = |depth: usize| {
            holds.iter().any(|held| {
                let mut held = Path::new(held).iter();
                parts[..depth].iter().all(|part| held.next() == Some(part))
            })
        };
        let held = (0..parts.len()).take_while(|depth| is_held(depth + 1)).count();
        remove_below(root.as_fd(), &parts, held);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut holds = self.holds.lock();
        if let Some(index) = holds.iter().position(|held| held == self.directory) {
            holds.swap_remove(index);
        }
    }
}

/// Removes these nested directories from the bottom, except the first `keep`. Returns whether all
/// of them were removed.
fn remove_below(directory: BorrowedFd<'_>, parts: &[&OsStr], keep: usize) -> bool {
    let [part, rest @ ..] = parts else { return true };
    match open_directory(directory, *part) {
        Ok(next) => {
            remove_below(next.as_fd(), rest, keep.saturating_sub(1))
                && keep == 0
                && is_marked(&next)
                && unlinkat(directory, *part, AtFlags::REMOVEDIR).is_ok()
        }
        Err(errno) => errno == Errno::NOENT,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn removes_what_is_empty_marked_and_not_held() {
        let directory = crate::tests::new_directory();
        let holds = Holds::default();
        let make = |unmarked: &str, other: &str| {
            fs::create_dir_all(directory.join("a/b/c")).unwrap();
            for name in ["a", "a/b", "a/b/c"].into_iter().filter(|name| *name != unmarked) {
                mark(&fs::File::open(directory.join(name)).unwrap().into());
            }
            if !other.is_empty() {
                fs::create_dir_all(directory.join(other)).unwrap();
            }
        };
        for (unmarked, other, held, left) in [
            ("", "", "", ""),
            ("a", "", "", "a"),
            ("a/b", "", "", "a/b"),
            ("a/b/c", "", "", "a/b/c"),
            ("", "a/other", "", "a"),
            ("", "a/b/c/other", "", "a/b/c"),
            ("", "", "a/b/x", "a/b"),
            ("", "", "a/x/c/x", "a"),
            ("", "", "a/b/c/file", "a/b/c"),
            ("", "", "a/b/c/d/file", "a/b/c"),
            ("", "", "a", ""),
            ("", "", "ab/c", ""),
        ] {
            make(unmarked, other);
            let held_path = FilePath::parse(&format!("/te/v1/files/{held}"));
            let hold = held_path.as_ref().ok().map(|path| holds.hold(path));
            holds.prune(&fs::File::open(&directory).unwrap().into(), Path::new("a/b/c"));
            drop(hold);
            let deepest = ["a/b/c", "a/b", "a"].into_iter().find(|at| directory.join(at).exists());
            assert_eq!(deepest.unwrap_or_default(), left, "{unmarked} {other} {held}");
            fs::remove_dir_all(directory.join("a")).ok();
        }
        assert_eq!(holds.lock().len(), 0);
        fs::remove_dir_all(directory.parent().unwrap()).unwrap();
    }
}
