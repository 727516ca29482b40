//! Reads the files that settings name, by path or as root opened them, and reports why a file
//! cannot be read.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, Stat, fstat, open, stat};
use rustix::io::Errno;

use crate::error::Error;
use crate::regular_file;

/// Larger files are not read: no file of certificates is so large.
const MAX_SIZE: u64 = 32 * 1024 * 1024;

/// Why a file was not read, as a message that follows its name.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// There is none.
    #[error("does not exist")]
    Missing,
    /// It is a directory.
    #[error("is a directory, not a file")]
    Directory,
    /// It is a device, a FIFO or a socket.
    #[error("is not a regular file")]
    Irregular,
    /// It is larger than 32 MiB.
    #[error("is too large: at most 32 MiB are read")]
    TooLarge,
    /// This process may not read it.
    #[error("cannot be read: it must be readable for {}", reader())]
    Denied,
    /// Root could not copy it, or refused to.
    #[error("{0}")]
    NotHandedOver(String),
    /// Its content is not what its setting is for.
    #[error("{0}")]
    Unfit(String),
    /// Another reason.
    #[error("cannot be read: {0}")]
    Io(io::Error),
}

impl Unreadable {
    /// As an error of the configuration with this message, unless descriptors or memory have run
    /// out: then nothing has to be changed, and another try may succeed.
    pub(crate) fn with(&self, message: String) -> Error {
        if self.is_shortage() { Error::Failed(message) } else { Error::Configuration(message) }
    }

    /// Whether descriptors or memory have run out.
    pub(crate) fn is_shortage(&self) -> bool {
        let Self::Io(error) = self else { return false };
        matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
    }
}

impl From<Errno> for Unreadable {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT => Self::Missing,
            Errno::ACCESS | Errno::PERM => Self::Denied,
            other => Self::Io(other.into()),
        }
    }
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None => error.downcast().unwrap_or_else(Self::Io),
        }
    }
}

impl From<Unreadable> for io::Error {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Io(error) => error,
            Unreadable::Missing => Self::new(io::ErrorKind::NotFound, error),
            Unreadable::Denied => Self::new(io::ErrorKind::PermissionDenied, error),
            other => Self::other(other),
        }
    }
}

/// Reads the file at this path, following links. Blocks on the disk.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
    // Checked before it is opened: opening a device can have effects.
    check(&stat(path)?)?;
    read_opened(open(path, regular_file::FLAGS, Mode::empty())?)
}

pub(super) fn read_opened(file: OwnedFd) -> Result<Vec<u8>, Unreadable> {
    check(&fstat(&file)?)?;
    Ok(regular_file::read_open(file, MAX_SIZE)?)
}

/// Fails unless it is a regular file of at most 32 MiB.
pub(super) fn check(stat: &Stat) -> Result<(), Unreadable> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_size as u64 > MAX_SIZE => Err(Unreadable::TooLarge),
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Unreadable::Directory),
        _ => Err(Unreadable::Irregular),
    }
}

/// A user in words.
pub fn user(id: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    });
    name.map_or_else(|| format!("user {id}"), |name| format!("user {name}"))
}

/// The user who needs permission to read, and how a unit gets it.
fn reader() -> String {
    let user = user(rustix::process::geteuid().as_raw());
    // In a unit of ours, root copies files that only root can read.
    match std::env::var_os("RUNTIME_DIRECTORY") {
        None => user,
        Some(_) => {
            format!("{user}, or for root, who copies it for the service when the unit is restarted")
        }
    }
}
