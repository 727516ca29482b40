//! Reads and writes the files of `tedge certs`. Nothing is overwritten without `--force`. Others
//! may have write access to the directory, so all operations are relative to its descriptor.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fchmod, fsync, renameat, statat};
use rustix::io::Errno;

use crate::error::Error;
use crate::settings::directory::{self, Directory};
use crate::walk::{Follow, walk};
use crate::x509::pem::{self, SectionKind};

/// The file name of the CA, as in thin-edge.io's documentation.
pub(super) const CA: &str = "tedge-local-ca";

/// A directory of certificates.
pub(super) struct Store {
    pub(super) dir: PathBuf,
    /// The part of the path that the caller has named, and the rest.
    base: PathBuf,
    below: &'static str,
    /// Whether to replace files.
    force: bool,
}

impl Store {
    /// The directory that was named, else the one in the configuration directory.
    pub(super) fn new(named: Option<PathBuf>, config_dir: &Path, force: bool) -> Self {
        let (base, below) = match named {
            Some(named) => (named, ""),
            None => (config_dir.to_owned(), "device-local-certs"),
        };
        Self { dir: base.join(below), base, below, force }
    }

    /// The content of the file with this name, `None` if it does not exist.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let file = Path::new(self.below).join(name);
        let entry = Directory::open(&self.base)
            .and_then(|directory| directory.find(&file.to_string_lossy(), Follow::to_read()))
            .map_err(|error| cannot("read", &self.dir.join(name), &error))?;
        Ok(entry.and_then(|entry| entry.found).map(|(_, content)| content))
    }

    /// Writes files with these names, texts and modes durably. Without `force`, writes none of them
    /// if one exists already.
    pub(super) fn write(&self, files: &[(String, String, u32)]) -> Result<Vec<PathBuf>, Error> {
        let path = |name: &str| self.dir.join(name);
        let directory =
            self.open().map_err(|error| cannot("make the directory", &self.dir, &error))?;
        let exists_already =
            |name: &str| statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if let Some((name, ..)) =
            files.iter().find(|(name, ..)| !self.force && exists_already(name))
        {
            return Err(exists(&path(name)));
        }
        // With `force`, under names of their own first: all are whole before one is replaced.
        let made = |name: &str| if self.force { format!("{name}.new") } else { name.to_owned() };
        for (index, (name, text, mode)) in files.iter().enumerate() {
            // Independent of the umask: services read certificates, and only the owner reads keys.
            let mode = Mode::from_raw_mode(*mode);
            let make = || {
                if self.force {
                    directory::remove(&directory, made(name).as_ref())?;
                }
                directory::create(&directory, made(name).as_ref(), text, |file| {
                    Ok(fchmod(file, mode)?)
                })
            };
            make().map_err(|error| {
                // A key without its certificate would prevent the next attempt.
                for (written, ..) in &files[..index] {
                    let _ = directory::remove(&directory, made(written).as_ref());
                }
                match error.kind() {
                    // Another process has made it meanwhile.
                    io::ErrorKind::AlreadyExists => exists(&path(name)),
                    _ => cannot("write", &path(name), &error),
                }
            })?;
        }
        for (name, ..) in files.iter().filter(|_| self.force) {
            renameat(&directory, made(name), &directory, &**name)
                .map_err(|error| cannot("write", &path(name), &error.into()))?;
        }
        fsync(&directory).map_err(|error| cannot("sync", &self.dir, &error.into()))?;
        Ok(files.iter().map(|(name, ..)| path(name)).collect())
    }

    /// Opens the directory. Makes it if it is missing.
    fn open(&self) -> io::Result<OwnedFd> {
        let root = Path::new("/");
        let base = std::path::absolute(&self.base)?;
        Directory::open(root)?.make(base.strip_prefix(root).unwrap_or(&base))?;
        let base = Directory::open(&self.base)?;
        base.make(Path::new(self.below))?;
        base.open_below(self.below, Follow::Ours)?.ok_or_else(|| Errno::NOENT.into())
    }
}

fn exists(path: &Path) -> Error {
    Error::Failed(format!(
        "{} already exists; nothing was written (use --force to replace it)",
        path.display()
    ))
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::Failed(format!("cannot {what} {}: {error}", path.display()))
}

/// The bytes of a file, which may be a pipe, or of standard input if the path is `-`.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    /// No certificate, request or list is larger.
    const MAX_SIZE: u64 = 32 * 1024 * 1024;
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(MAX_SIZE).read_to_end(&mut bytes)
    } else {
        open(path).and_then(|file| file.take(MAX_SIZE).read_to_end(&mut bytes))
    };
    read.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => invalid(path, "does not exist"),
        io::ErrorKind::IsADirectory => invalid(path, "is a directory, not a file"),
        _ => invalid(path, format_args!("cannot be read: {error}")),
    })?;
    Ok(bytes)
}

/// Opens a file or a pipe of the caller.
fn open(path: &Path) -> io::Result<File> {
    let end = walk(path, Follow::to_read())?.ok_or(Errno::NOENT)?;
    let kind = end.stat.as_ref().map(|stat| FileType::from_raw_mode(stat.st_mode));
    if let Some(FileType::CharacterDevice | FileType::BlockDevice) = kind {
        return Err(io::Error::other("it is a device, not a file"));
    }
    Ok(end.open(OFlags::RDONLY)?.into())
}

/// The first section of this kind in the bytes of a file. `what` is the kind in words.
pub(super) fn section(
    path: &Path,
    bytes: &[u8],
    kind: SectionKind,
    what: &str,
) -> Result<Vec<u8>, Error> {
    let contents = pem::read(bytes);
    match (contents.first(kind), contents.faults.first()) {
        (Some(section), _) => Ok(section.der.clone()),
        (None, Some(fault)) => Err(invalid(path, fault)),
        (None, None) => Err(invalid(path, format_args!("holds no {what}"))),
    }
}

pub(super) fn invalid(path: &Path, what: impl fmt::Display) -> Error {
    Error::Failed(format!("{} {what}", path.display()))
}
