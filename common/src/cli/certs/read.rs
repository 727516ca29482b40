//! Reads certificates, keys and requests for `tedge certs`, and reports what is wrong with them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::walk::{Follow, walk};
use crate::x509::pem::{self, Kind};

/// The bytes of a file, which may be a pipe, or of standard input where it is called `-`.
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

/// A file, which may be a pipe of the caller's own.
fn open(path: &Path) -> io::Result<File> {
    let end = walk(path, Follow::to_read())?.ok_or(Errno::NOENT)?;
    let kind = end.stat.as_ref().map(|stat| FileType::from_raw_mode(stat.st_mode));
    if let Some(FileType::CharacterDevice | FileType::BlockDevice) = kind {
        return Err(io::Error::other("it is a device, not a file"));
    }
    Ok(end.open(OFlags::RDONLY)?.into())
}

/// The first section of this kind in the bytes of a file, called `what` where there is none.
pub(super) fn section(path: &Path, bytes: &[u8], kind: Kind, what: &str) -> Result<Vec<u8>, Error> {
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
