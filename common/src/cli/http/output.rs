//! Where the response of `tedge http get` goes: standard output, a file that is whole or not there,
//! or, as `cp` has it, into what is no regular file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use http::{HeaderMap, Response};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, ftruncate, openat, statat};

use super::download::{Download, OutputError};
use crate::error::chain;
use crate::http::Body;

/// The target of a response.
#[expect(clippy::large_enum_variant, reason = "there is one, and it is not moved about")]
pub(super) enum Output {
    Standard,
    /// A pipe, a device, or a descriptor of a process.
    Stream(File),
    File(Download),
}

impl Output {
    /// Standard output for nothing and for `-`.
    pub(super) fn open(path: Option<&str>) -> Result<Self, OutputError> {
        match path {
            None | Some("-") => Ok(Self::Standard),
            Some(path) => Self::open_path(path)
                .map_err(|source| OutputError::Unwritable { path: path.to_owned(), source }),
        }
    }

    fn open_path(path: &str) -> io::Result<Self> {
        let target = Path::new(path);
        // Links are followed by the kernel, which knows in which directories it must not.
        let opened = match openat(CWD, target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(opened) => opened,
            Err(rustix::io::Errno::NOENT) => {
                if statat(CWD, target, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                    return Err(io::Error::other("it is a link to a file that does not exist"));
                }
                return Ok(Self::File(Download::open(target, path, None)?));
            }
            Err(error) => return Err(error.into()),
        };
        let found = fstat(opened)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind == FileType::Directory {
            return Err(io::Error::other("it is a directory"));
        }
        if kind == FileType::RegularFile && !leads_through_proc(target) {
            let real = fs::canonicalize(target)?;
            let again = statat(CWD, &real, AtFlags::SYMLINK_NOFOLLOW)?;
            if !is_same(&found, &again) {
                return Err(io::Error::other("it was replaced meanwhile"));
            }
            return Ok(Self::File(Download::open(&real, path, Some(found))?));
        }
        if fstat(io::stdout()).is_ok_and(|stdout| is_same(&stdout, &found)) {
            return Ok(Self::Standard);
        }
        let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(Self::Stream(openat(CWD, target, flags, Mode::empty())?.into()))
    }

    /// Asks for no more than is missing.
    pub(super) fn ask(&self, fields: &mut HeaderMap) {
        if let Self::File(download) = self {
            download.ask(fields);
        }
    }

    /// Whether the partial download is of no use, so that the whole has to be asked for.
    pub(super) fn is_outdated(&mut self, response: &Response<Body>) -> Result<bool, OutputError> {
        match self {
            Self::File(download) => download.is_outdated(response),
            _ => Ok(false),
        }
    }

    /// Takes the content. A reader that has gone is not an error.
    pub(super) async fn take(self, response: Response<Body>) -> Result<(), OutputError> {
        match self {
            Self::Standard => copy(response, io::stdout(), "standard output").await,
            Self::Stream(file) => {
                // A regular file here is one that /proc leads to, which `cp` would empty.
                let _ = ftruncate(&file, 0);
                copy(response, file, "the file").await
            }
            Self::File(download) => download.save(response).await,
        }
    }
}

async fn copy(
    response: Response<Body>,
    mut output: impl Write,
    name: &str,
) -> Result<(), OutputError> {
    let mut body = response.into_body();
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|error| OutputError::Incomplete { reason: chain(&*error) })?;
        match output.write_all(&chunk).and_then(|()| output.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(|source| {
                let path = name.to_owned();
                OutputError::Unwritable { path, source }
            })?,
        }
    }
    Ok(())
}

/// Whether a path is a descriptor of a process, as /dev/stdout is one.
fn leads_through_proc(path: &Path) -> bool {
    /// As many links as Linux follows.
    const LINKS_MAX: usize = 40;
    let mut path = PathBuf::from(path);
    for _ in 0..LINKS_MAX {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = fs::canonicalize(parent.unwrap_or_else(|| Path::new(".")));
        if parent.is_ok_and(|parent| parent.starts_with("/proc")) {
            return true;
        }
        let Ok(target) = fs::read_link(&path) else { break };
        path.pop();
        path.push(target);
    }
    false
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}
