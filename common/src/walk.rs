//! Opens a path one component at a time, with descriptors. The caller may be root while a directory
//! of the path belongs to another user, who can put links and pipes in it and exchange them at any
//! time: entries that others can change are never followed. Does not know what the path is for.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat};
use rustix::fs::{fstat, fstatfs, openat, readlinkat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;

/// S_ISVTX
const STICKY: u32 = 0o1000;

const SEARCH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The links that are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// Links that only root and the caller can change.
    Ours,
    /// All links, as the kernel does.
    All,
}

impl Follow {
    /// For reading: a user other than root gains nothing from a link, so all links are followed.
    pub(crate) fn to_read() -> Self {
        if geteuid().is_root() { Self::Ours } else { Self::All }
    }
}

/// The checks of a walk, and the start of absolute paths.
pub(crate) trait Policy {
    /// Where the walk to an absolute path begins: a descriptor and its path.
    fn start(&self, _path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
        Ok((openat(CWD, "/", SEARCH, Mode::empty())?, PathBuf::from("/")))
    }

    /// Fails if this link must not be followed. `is_fixed`: only root and the caller can replace
    /// it.
    fn check_link(&self, path: &Path, link: &Stat, is_fixed: bool) -> io::Result<()>;

    /// Fails if this directory must not be entered.
    fn check_directory(&self, _path: &Path, _directory: &Stat) -> io::Result<()> {
        Ok(())
    }
}

impl Policy for Follow {
    fn check_link(&self, path: &Path, link: &Stat, is_fixed: bool) -> io::Result<()> {
        if *self == Self::All || is_fixed && is_owned(link) {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "{} is a link that other users can change, and is not followed: use the path that it \
             leads to, or let only root change the link and its directory",
            path.display()
        )))
    }
}

/// Passes only directories that no user other than root, the caller and the owner can exchange, and
/// not the one outside of which the walk must stay.
pub(crate) struct Guard {
    pub(crate) owner: u32,
    pub(crate) outside: Option<Stat>,
}

impl Policy for Guard {
    fn check_link(&self, path: &Path, link: &Stat, is_fixed: bool) -> io::Result<()> {
        Follow::Ours.check_link(path, link, is_fixed)
    }

    fn check_directory(&self, path: &Path, directory: &Stat) -> io::Result<()> {
        let shown = path.display();
        if self.outside.as_ref().is_some_and(|outside| is_same_file(outside, directory)) {
            return Err(io::Error::other(format!("clients can store files in {shown}")));
        }
        let is_owned = is_owned(directory) || directory.st_uid == self.owner;
        if is_owned && is_restricted(directory) {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "other users can change {shown}: let root or the user of this service own it, and type \
             `chmod go-w {shown}`"
        )))
    }
}

/// The end of a walk.
pub(crate) struct WalkEnd {
    /// Its path without links, for messages.
    pub(crate) path: PathBuf,
    /// The directory that contains it, by a descriptor that only identifies it.
    pub(crate) parent: OwnedFd,
    /// Its name in this directory.
    pub(crate) name: OsString,
    /// `None` if it does not exist. A link only if it is a descriptor of a process.
    pub(crate) stat: Option<Stat>,
    /// Whether the last part of the path was a link.
    pub(crate) is_linked: bool,
    /// Whether only root and the caller can replace it.
    pub(crate) is_fixed: bool,
}

impl WalkEnd {
    pub(crate) fn open_directory(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(openat(&self.parent, &self.name, flags | self.no_follow(), Mode::empty())?)
    }

    /// Opens the file. If it is a pipe, waits for the other end. A pipe, device or socket of
    /// another user is an error, unless it is a descriptor that the process was given.
    pub(crate) fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        let found = self.name_it()?;
        let stat = fstat(&found)?;
        let is_given = self.no_follow().is_empty();
        if !is_given && !is_owned(&stat) {
            let what = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile | FileType::Directory => None,
                FileType::Fifo => Some("a named pipe"),
                FileType::Socket => Some("a socket"),
                _ => Some("a device"),
            };
            if let Some(what) = what {
                return Err(io::Error::other(format!(
                    "it is {what} of another user: use one of your own, or a regular file"
                )));
            }
        }
        // By its descriptor: the name may lead to another file by now.
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        Ok(openat(CWD, path, flags | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// A descriptor that only identifies the entry.
    pub(crate) fn name_it(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC | self.no_follow();
        Ok(openat(&self.parent, &self.name, flags, Mode::empty())?)
    }

    /// The kernel follows the links of /proc. Their text is not a path.
    fn no_follow(&self) -> OFlags {
        match &self.stat {
            Some(stat) if is_link(stat) => OFlags::empty(),
            _ => OFlags::NOFOLLOW,
        }
    }
}

/// Walks a path that the caller has named; `None` if one of its directories is missing.
pub(crate) fn walk(path: &Path, follow: Follow) -> io::Result<Option<WalkEnd>> {
    match path.is_absolute() {
        true => walk_by(&follow, path),
        false => walk_below(CWD, Path::new(""), path, follow),
    }
}

/// Walks an absolute path by another policy.
pub(crate) fn walk_by(policy: &dyn Policy, path: &Path) -> io::Result<Option<WalkEnd>> {
    let (start, start_path) = policy.start(path)?;
    let below = path.strip_prefix(&start_path).unwrap_or(path).to_owned();
    walk_from(start, start_path, &below, policy)
}

/// Walks a path below a directory that is called `start` in messages.
pub(crate) fn walk_below(
    directory: impl AsFd,
    start: &Path,
    below: &Path,
    follow: Follow,
) -> io::Result<Option<WalkEnd>> {
    walk_from(openat(directory, ".", SEARCH, Mode::empty())?, start.to_owned(), below, &follow)
}

fn walk_from(
    mut parent: OwnedFd,
    mut path: PathBuf,
    below: &Path,
    policy: &dyn Policy,
) -> io::Result<Option<WalkEnd>> {
    /// The maximum number of links that Linux follows.
    const LINKS_MAX: usize = 40;
    let mut directory = fstat(&parent)?;
    // Whether no other user can replace a directory of the path.
    let mut is_reached = true;
    let mut rest = components(below);
    let (mut links, mut is_linked) = (0, false);
    while let Some(name) = rest.pop_front() {
        if name == ".." && path.is_absolute() {
            path.pop();
        } else {
            path.push(&name);
        }
        let stat = match statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) if rest.is_empty() => {
                return Ok(Some(WalkEnd {
                    path,
                    parent,
                    name,
                    stat: None,
                    is_linked,
                    is_fixed: false,
                }));
            }
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let is_fixed = is_reached && is_fixed(&directory, &stat);
        let mut flags = SEARCH | OFlags::NOFOLLOW;
        if is_link(&stat) {
            policy.check_link(&path, &stat, is_fixed)?;
            links += 1;
            is_linked |= rest.is_empty();
            if links > LINKS_MAX {
                return Err(Errno::LOOP.into());
            }
            // Subdirectories of /proc contain links that only the kernel can follow.
            if is_proc(&parent)? && directory.st_ino != 1 {
                flags = SEARCH;
            } else {
                let target = readlinkat(&parent, &name, Vec::new())?;
                let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                path.pop();
                if target.is_absolute() {
                    (parent, path) = policy.start(target)?;
                    directory = fstat(&parent)?;
                    is_reached = true;
                }
                let below = target.strip_prefix(&path).unwrap_or(target);
                rest = components(below).into_iter().chain(rest).collect();
                continue;
            }
        }
        if rest.is_empty() {
            return Ok(Some(WalkEnd {
                path,
                parent,
                name,
                stat: Some(stat),
                is_linked: links > 0,
                is_fixed,
            }));
        }
        parent = openat(&parent, &name, flags, Mode::empty())?;
        directory = fstat(&parent)?;
        policy.check_directory(&path, &directory)?;
        is_reached = is_fixed;
    }
    // The path ends in a slash or in a link to one.
    let name = ".".into();
    Ok(Some(WalkEnd { path, parent, name, stat: Some(directory), is_linked, is_fixed: is_reached }))
}

/// The parts of a path, including `..`.
fn components(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}

/// Whether this is a directory of /proc.
pub(crate) fn is_proc(directory: &OwnedFd) -> io::Result<bool> {
    Ok(fstatfs(directory)?.f_type == PROC_SUPER_MAGIC)
}

/// Whether both are of the same file or directory.
#[must_use]
pub fn is_same_file(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Whether it belongs to root or the caller.
pub(crate) fn is_owned(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == geteuid().as_raw()
}

/// Whether only root and the caller can rename their entries in this directory.
pub(crate) fn is_kept(directory: &Stat) -> bool {
    is_owned(directory) && is_restricted(directory)
}

/// Whether only its owner and those of its entries can rename the entries.
fn is_restricted(directory: &Stat) -> bool {
    directory.st_mode & 0o022 == 0 || directory.st_mode & STICKY != 0
}

/// Whether only root and the caller can replace the entries of this directory. In a sticky one,
/// other users can only remove their own entries.
fn is_fixed(directory: &Stat, entry: &Stat) -> bool {
    let is_sticky = directory.st_mode & STICKY != 0;
    // Another user can have made a hard link to a link of root.
    let is_kept = || is_sticky && is_owned(entry) && !(is_link(entry) && entry.st_nlink > 1);
    is_owned(directory) && (directory.st_mode & 0o022 == 0 || is_kept())
}

fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}
