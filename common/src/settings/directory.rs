//! The configuration directory, by one descriptor. The caller may be root and the directory
//! somebody else's, who may plant links, pipes and devices in it and swap them at any time. So every
//! file is reached from the descriptor, a component at a time, and what others can change is never
//! followed. Knows no settings.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, DirEntry, FileType, Mode, OFlags, Stat};
use rustix::fs::{fstat, mkdirat, openat, readlinkat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::regular;

/// No file of settings is larger.
const MAX_SIZE: u64 = 1024 * 1024;
const SEARCH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Whose links are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// Those that nobody but root and the caller can change.
    Ours,
    /// All, as the kernel does.
    All,
}

impl Follow {
    /// For reading: somebody else than root gains nothing from a link that he could open himself.
    pub(crate) fn to_read() -> Self {
        if geteuid().is_root() { Self::Ours } else { Self::All }
    }
}

/// An open directory of settings, or none where there is no such directory.
pub(crate) struct Directory {
    pub(super) path: PathBuf,
    descriptor: Option<OwnedFd>,
}

/// A file of the directory, or the place of one that is not there.
pub(crate) struct Place {
    /// The directory in which it really is, and its name there.
    pub(super) parent: OwnedFd,
    pub(super) name: OsString,
    /// What is known of the file itself, and its content.
    pub(crate) found: Option<(Stat, Vec<u8>)>,
    /// Whether a link has led here.
    pub(super) is_linked: bool,
}

/// Where a walk has ended, with the last name that is no link.
struct End {
    parent: OwnedFd,
    name: OsString,
    stat: Option<Stat>,
    is_linked: bool,
}

impl Directory {
    /// Opens the directory. The path itself is the caller's word.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = match openat(CWD, path, flags, Mode::empty()) {
            Ok(descriptor) => Some(descriptor),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path: path.to_owned(), descriptor })
    }

    /// The descriptor, to lock or to create something in.
    pub(super) fn descriptor(&self) -> io::Result<&OwnedFd> {
        self.descriptor.as_ref().ok_or_else(|| Errno::NOENT.into())
    }

    /// Opens a directory below this one; `None` where it is missing.
    pub(crate) fn open_below(&self, below: &str, follow: Follow) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if below.is_empty() {
            return Ok(Some(openat(self.descriptor()?, ".", flags, Mode::empty())?));
        }
        let Some(End { parent, name, stat: Some(_), .. }) = self.walk(below, follow)? else {
            return Ok(None);
        };
        Ok(Some(openat(&parent, &name, flags, Mode::empty())?))
    }

    /// The names in a directory below this one; none where it is missing.
    pub(super) fn names(&self, below: &str, follow: Follow) -> io::Result<Vec<OsString>> {
        let Some(directory) = self.open_below(below, follow)? else { return Ok(Vec::new()) };
        let entries = Dir::read_from(directory)?;
        let name = |entry: DirEntry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
        entries.map(|entry| Ok(name(entry?))).collect()
    }

    /// Whether something is there.
    pub(super) fn holds(&self, below: &str, follow: Follow) -> io::Result<bool> {
        Ok(self.walk(below, follow)?.is_some_and(|end| end.stat.is_some()))
    }

    /// Finds and reads a file below this directory; `None` where its directory is missing.
    pub(crate) fn find(&self, below: &str, follow: Follow) -> io::Result<Option<Place>> {
        let Some(End { parent, name, stat, is_linked }) = self.walk(below, follow)? else {
            return Ok(None);
        };
        let found = match stat {
            None => None,
            Some(stat) => {
                // Asked before it is opened: to open some devices does something.
                regular::check(&stat, MAX_SIZE)?;
                let flags = regular::FLAGS | OFlags::NOFOLLOW;
                let file = openat(&parent, &name, flags, Mode::empty())?;
                let stat = fstat(&file)?;
                Some((stat, regular::read_open(file, MAX_SIZE)?))
            }
        };
        Ok(Some(Place { parent, name, found, is_linked }))
    }

    /// Makes the directories on the way to a file below this one.
    pub(crate) fn make_parents(&self, below: &str) -> io::Result<()> {
        for (end, _) in below.match_indices('/').filter(|&(end, _)| end > 0) {
            match self.walk(&below[..end], Follow::Ours)? {
                Some(End { parent, name, stat: None, is_linked: false }) => {
                    match mkdirat(&parent, &name, Mode::from_raw_mode(0o755)) {
                        Err(error) if error != Errno::EXIST => return Err(error.into()),
                        _ => {}
                    }
                }
                Some(End { stat: Some(_), .. }) => {}
                _ => return Err(Errno::NOENT.into()),
            }
        }
        Ok(())
    }

    fn walk(&self, below: &str, follow: Follow) -> io::Result<Option<End>> {
        /// As many links as Linux follows.
        const LINKS_MAX: usize = 40;
        let Some(descriptor) = &self.descriptor else { return Ok(None) };
        let mut parent = openat(descriptor, ".", SEARCH, Mode::empty())?;
        let mut path = self.path.clone();
        // Whether nobody else can change what is in the directories on the way.
        let mut is_alone = is_ours(&fstat(&parent)?);
        let mut rest = components(Path::new(below));
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            path.push(&name);
            let stat = match statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(stat),
                Err(Errno::NOENT) if rest.is_empty() => None,
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let kind = stat.as_ref().map(|stat| FileType::from_raw_mode(stat.st_mode));
            if let (Some(FileType::Symlink), Some(stat)) = (kind, &stat) {
                if follow == Follow::Ours && !(is_alone && is_ours(stat)) {
                    return Err(io::Error::other(format!(
                        "{} is a link that other users can change, and is not followed",
                        path.display()
                    )));
                }
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::LOOP.into());
                }
                let target = readlinkat(&parent, &name, Vec::new())?;
                let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                path.pop();
                if target.is_absolute() {
                    parent = openat(CWD, "/", SEARCH, Mode::empty())?;
                    path = PathBuf::from("/");
                    is_alone = is_ours(&fstat(&parent)?);
                }
                rest = components(target).into_iter().chain(rest).collect();
            } else if rest.is_empty() {
                return Ok(Some(End { parent, name, stat, is_linked: links > 0 }));
            } else {
                parent = openat(&parent, &name, SEARCH | OFlags::NOFOLLOW, Mode::empty())?;
                is_alone &= is_ours(&fstat(&parent)?);
            }
        }
        Err(Errno::ISDIR.into())
    }
}

/// The names on the way, `..` among them.
fn components(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}

/// Whether nobody but root and the caller can change it: a link, or what is in a directory.
fn is_ours(stat: &Stat) -> bool {
    let is_owned = stat.st_uid == 0 || stat.st_uid == geteuid().as_raw();
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    is_owned && (is_link || stat.st_mode & 0o022 == 0)
}
