//! The output of `tedge http get`: standard output, a file that is either complete or absent, or a
//! pipe or a device, to which it writes like `cp`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use http::{HeaderMap, Response, StatusCode};
use rustix::fs::{FileType, OFlags, fstat, ftruncate};
use rustix::io::Errno;

use super::download::{OutputError, OutputFile};
use crate::error::chain;
use crate::http::Body;
use crate::walk::{Follow, is_proc, is_same_file, walk};

/// The target of a response.
#[expect(clippy::large_enum_variant, reason = "there is one, and it is not moved about")]
pub(super) enum Output {
    Standard,
    /// A pipe, a device, or a descriptor of a process.
    Stream(File),
    File(OutputFile),
}

impl Output {
    /// Opens the output for the content of `source`; no path and `-` are standard output.
    pub(super) fn open(path: Option<&str>, source: &str) -> Result<Self, OutputError> {
        match path {
            None | Some("-") => Ok(Self::Standard),
            Some(path) => Self::open_path(path, source)
                .map_err(|source| OutputError::Unwritable { path: path.to_owned(), source }),
        }
    }

    fn open_path(path: &str, source: &str) -> io::Result<Self> {
        if path.ends_with('/') {
            return Err(io::Error::other("it is a directory"));
        }
        let end = walk(Path::new(path), Follow::Ours)?.ok_or(Errno::NOENT)?;
        let Some(found) = &end.stat else {
            if end.is_linked {
                return Err(io::Error::other("it is a link to a file that does not exist"));
            }
            return Ok(Self::File(OutputFile::open(&end, path, source)?));
        };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => return Err(io::Error::other("it is a directory")),
            FileType::RegularFile if !is_proc(&end.parent)? => {
                return Ok(Self::File(OutputFile::open(&end, path, source)?));
            }
            _ => {}
        }
        let found = fstat(end.name_it()?)?;
        if fstat(io::stdout()).is_ok_and(|stdout| is_same_file(&stdout, &found)) {
            return Ok(Self::Standard);
        }
        Ok(Self::Stream(end.open(OFlags::WRONLY)?.into()))
    }

    /// Requests only the missing rest of a partial download.
    pub(super) fn ask(&self, fields: &mut HeaderMap) {
        if let Self::File(download) = self {
            download.ask(fields);
        }
    }

    /// Whether a partial download cannot be resumed, so that the whole file must be requested.
    pub(super) fn is_outdated(&mut self, response: &Response<Body>) -> Result<bool, OutputError> {
        match self {
            Self::File(download) => download.is_outdated(response),
            _ => Ok(false),
        }
    }

    /// Writes the content. A closed pipe is not an error.
    pub(super) async fn take(self, response: Response<Body>) -> Result<(), OutputError> {
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        if is_part && !matches!(&self, Self::File(download) if download.is_resumed()) {
            let reason = "the whole content was requested, and the response is a part of it (206)";
            return Err(OutputError::Incomplete { reason: reason.to_owned() });
        }
        match self {
            Self::Standard => copy(response, io::stdout(), "standard output").await,
            Self::Stream(file) => {
                // A regular file is opened here only by a link of /proc. `cp` would empty it.
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
