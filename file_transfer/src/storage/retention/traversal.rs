//! Visits all regular files below a directory, a few at a time.
//!
//! Directories are opened by descriptor. The traversal follows no symbolic link and enters no other file
//! system. Its memory grows with the depth of the directories, not with the number of files: for
//! each directory on the path, it has one descriptor and the names of sibling directories from one
//! buffer.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, openat, statat};
use rustix::io::Errno;

use super::super::directory::{Mount, mount_of};
use crate::path::is_reserved;

/// The maximum depth, more than a request can name. Each level takes a descriptor.
const DEEPEST: usize = 128;
/// The buffer for the entries of a directory: about 30 to 60.
const BUFFER: usize = 2048;

pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

pub(super) struct Traversal {
    levels: Vec<Level>,
    /// The path of the directory that is being read, with a slash at its end unless it is the root.
    path: Vec<u8>,
    mount: Mount,
    /// Whether every directory could be read so far.
    is_complete: bool,
}

/// A directory whose entries are not all visited.
struct Level {
    directory: OwnedFd,
    /// Its subdirectories that were read and not entered.
    waiting: Vec<CString>,
    /// The length of its parent's path.
    above: usize,
    /// The number of its entries, without those that were deleted on this traversal.
    entries: usize,
}

/// A result of the traversal.
pub(super) enum Visit<'a> {
    File(&'a Visited<'a>),
    /// A directory whose files were all visited.
    Directory(BorrowedFd<'a>),
    /// The path of an empty directory.
    Emptied(&'a [u8]),
}

/// A regular file.
pub(super) struct Visited<'a> {
    pub(super) directory: BorrowedFd<'a>,
    pub(super) name: &'a CStr,
    pub(super) stat: &'a Stat,
    pub(super) path: &'a [u8],
}

impl Traversal {
    /// Begins at this directory.
    pub(super) fn new(root: BorrowedFd<'_>) -> Result<Self, Errno> {
        // A new open file description: this one has its own position.
        let directory = openat(root, c".", DIRECTORY, Mode::empty())?;
        let mount = mount_of(root)?;
        let level = Level { directory, waiting: Vec::new(), above: 0, entries: 0 };
        Ok(Self { levels: vec![level], path: Vec::new(), mount, is_complete: true })
    }

    /// Visits the next few files. `visit` returns whether it has deleted the file. Returns whether
    /// there may be more files.
    pub(super) fn step(&mut self, visit: &mut dyn FnMut(Visit<'_>) -> bool) -> bool {
        let Some(level) = self.levels.last_mut() else { return false };
        if let Some(name) = level.waiting.pop() {
            self.enter(&name);
            return true;
        }
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut entries = RawDir::new(level.directory.as_fd(), &mut buffer);
        let directory = level.directory.as_fd();
        loop {
            let entry = match entries.next() {
                Some(Ok(entry)) => entry,
                end => {
                    // It may have been removed meanwhile.
                    self.is_complete &= matches!(end, None | Some(Err(Errno::NOENT)));
                    if end.is_none() {
                        visit(Visit::Directory(directory));
                    }
                    if end.is_none() && level.entries == 0 && !self.path.is_empty() {
                        visit(Visit::Emptied(&self.path));
                    }
                    self.path.truncate(level.above);
                    self.levels.pop();
                    return !self.levels.is_empty();
                }
            };
            let name = entry.file_name();
            let kind = entry.file_type();
            let may_be = |wanted| kind == wanted || kind == FileType::Unknown;
            level.entries += usize::from(!matches!(name.to_bytes(), b"." | b".."));
            if !is_passed_over(name)
                && (may_be(FileType::RegularFile) || may_be(FileType::Directory))
            {
                match (kind, statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)) {
                    (FileType::Directory, _) => level.waiting.push(name.to_owned()),
                    (_, Ok(stat)) => match FileType::from_raw_mode(stat.st_mode) {
                        FileType::RegularFile => {
                            let file = Visited { directory, name, stat: &stat, path: &self.path };
                            level.entries -= usize::from(visit(Visit::File(&file)));
                        }
                        FileType::Directory => level.waiting.push(name.to_owned()),
                        _ => {}
                    },
                    // It does not exist any more.
                    (_, Err(_)) => {}
                }
            }
            if entries.is_buffer_empty() {
                return true;
            }
        }
    }

    /// After the last file: whether all files were visited.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Skips a directory that does not exist any more, or is on another file system.
    fn enter(&mut self, name: &CStr) {
        let Some(level) = self.levels.last() else { return };
        let opened = openat(&level.directory, name, DIRECTORY, Mode::empty())
            .and_then(|directory| Ok((mount_of(directory.as_fd())?, directory)));
        let (mount, directory) = match opened {
            Ok(opened) => opened,
            // A symbolic link may have replaced it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return,
            Err(_) => return self.is_complete = false,
        };
        if self.levels.len() == DEEPEST {
            self.is_complete = false;
        } else if mount == self.mount {
            let above = self.path.len();
            self.path.extend_from_slice(name.to_bytes());
            self.path.push(b'/');
            self.levels.push(Level { directory, waiting: Vec::new(), above, entries: 0 });
        }
    }
}

/// Whether this is `.`, `..`, or a file of uploads in progress.
fn is_passed_over(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..") || name.to_str().is_ok_and(is_reserved)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "no executor waits here")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_that_becomes_a_link_is_not_entered() {
        let directory = crate::tests::new_directory();
        let outside = directory.parent().unwrap().join("outside");
        fs::create_dir_all(directory.join("a")).unwrap();
        fs::create_dir_all(directory.join("b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "x").unwrap();
        fs::write(directory.join("b/file"), "x").unwrap();
        let root: OwnedFd = fs::File::open(&directory).unwrap().into();
        let mut traversal = Traversal::new(root.as_fd()).unwrap();
        let mut seen = Vec::new();
        let mut step = |traversal: &mut Traversal| {
            traversal.step(&mut |visit| {
                if let Visit::File(file) = visit {
                    seen.push([file.path, file.name.to_bytes()].concat());
                }
                false
            })
        };
        assert!(step(&mut traversal));
        fs::rename(directory.join("a"), directory.join("old")).unwrap();
        symlink(&outside, directory.join("a")).unwrap();
        while step(&mut traversal) {}
        assert_eq!(seen, [b"b/file"]);
        assert!(traversal.is_complete());
        fs::remove_dir_all(directory.parent().unwrap()).unwrap();
    }
}
