//! What can go wrong with a request for a file: whose fault it is, and what to do.
//!
//! The sentence of a 4xx is for the client to read and names no path outside the directory; of a
//! 5xx it sees nothing, the log everything.

use std::io;

use common::http::respond::Failure;
use common::http::{BodyError, HeaderMap, HeaderValue, StatusCode, header};
use rustix::io::Errno;

use crate::path::{FilePath, Refusal};

/// Why a request for a file was not answered as its client hoped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing at this address.
    #[error("Not Found")]
    Elsewhere,
    /// The path leads out of the directory.
    #[error("Invalid file path: {0:?}")]
    Outside(String),
    /// The path cannot be that of a file.
    #[error("Invalid file path: {0:?}: {1}")]
    InvalidPath(String, &'static str),
    /// The file system takes no such name.
    #[error("Invalid file path: {0}: the file system takes no such name")]
    BadName(FilePath),
    /// No regular file has this path.
    #[error("File not found: {0}")]
    NotFound(FilePath),
    /// A directory would have to go for the file.
    #[error("Cannot upload: {0} is a directory, not a file")]
    UploadOntoDirectory(FilePath),
    /// A file would have to go for a directory on the way.
    #[error("Cannot upload: {path}: {file:?} is a file, not a directory")]
    UploadBelowFile {
        /// The path that was asked for.
        path: FilePath,
        /// Which of its directories is a file.
        file: String,
    },
    /// A symbolic link, a FIFO or a device is there, or on the way.
    #[error("Cannot upload: {path}: {special:?} is neither a file nor a directory")]
    UploadOntoSpecial {
        /// The path that was asked for.
        path: FilePath,
        /// Which part of it is none.
        special: String,
    },
    /// Directories stay.
    #[error("Cannot delete: {0} is a directory, not a file")]
    DeleteDirectory(FilePath),
    /// A symbolic link, a FIFO or a device is there, or on the way.
    #[error("Cannot delete: {path}: {special:?} is neither a file nor a directory")]
    DeleteSpecial {
        /// The path that was asked for.
        path: FilePath,
        /// Which part of it is none.
        special: String,
    },
    /// The method is none of those that work here.
    #[error("Method not allowed: use one of {0}")]
    Method(&'static str),
    /// `If-Match`, `If-None-Match` or a date says that the client has seen another file.
    #[error("{0} is not as the request's conditions want it: fetch it again")]
    Precondition(FilePath),
    /// No byte of the range that was asked for is in the file.
    #[error("The range lies behind the end of the file, which has {length} bytes")]
    Range {
        /// The length of the file, in bytes.
        length: u64,
    },
    /// A header field cannot be understood.
    #[error("Cannot upload: {field}: {flaw}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with it.
        flaw: &'static str,
    },
    /// The multipart/form-data envelope is broken, or holds no file or several.
    #[error("Cannot upload: multipart/form-data: {0}")]
    Envelope(&'static str),
    /// The content is not what its sender has computed the digest of.
    #[error("Cannot upload: the content does not match its {field}: send it again")]
    Digest {
        /// `Content-Digest` or `Repr-Digest`.
        field: &'static str,
    },
    /// The body ended before its time.
    #[error("Cannot upload: the body is not as long as it should be: send it again")]
    Short(#[source] Option<BodyError>),
    /// The file is larger than the settings allow.
    #[error("Cannot upload: {path} is larger than the {max} bytes of http.upload.max_size")]
    TooLarge {
        /// The path that was asked for.
        path: FilePath,
        /// The limit, in bytes.
        max: u64,
    },
    /// The file is larger than the file system can store.
    #[error("Cannot upload: {0} is larger than the file system can store")]
    TooLargeForDisk(FilePath),
    /// The disk is full, a quota is used up, or less than the settings want would stay free.
    #[error("cannot store {path}: {reason}; delete files, or see http.upload.min_free")]
    NoSpace {
        /// The path that was asked for.
        path: FilePath,
        /// What has run out.
        reason: &'static str,
    },
    /// The disk failed, or the service may not do what it has to.
    #[error("cannot {action} {path}")]
    Disk {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: FilePath,
        /// What the system said.
        source: io::Error,
    },
}

impl Failure for Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::Elsewhere
            | Self::Outside(_)
            | Self::NotFound(_)
            | Self::UploadOntoSpecial { .. }
            | Self::DeleteDirectory(_)
            | Self::DeleteSpecial { .. } => StatusCode::NOT_FOUND,
            Self::InvalidPath(..)
            | Self::BadName(_)
            | Self::Field { .. }
            | Self::Envelope(_)
            | Self::Digest { .. }
            | Self::Short(_) => StatusCode::BAD_REQUEST,
            Self::UploadOntoDirectory(_) | Self::UploadBelowFile { .. } => StatusCode::CONFLICT,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Precondition(_) => StatusCode::PRECONDITION_FAILED,
            Self::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::TooLarge { .. } | Self::TooLargeForDisk(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoSpace { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Self::Disk { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn fields(&self, fields: &mut HeaderMap) {
        match self {
            Self::Method(allowed) => {
                fields.insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            Self::Range { length } => {
                // Digits are always a valid header value.
                if let Ok(value) = HeaderValue::try_from(format!("bytes */{length}")) {
                    fields.insert(header::CONTENT_RANGE, value);
                }
            }
            _ => {}
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Elsewhere => Self::Elsewhere,
            Refusal::Outside(path) => Self::Outside(path),
            Refusal::Invalid(path, flaw) => Self::InvalidPath(path, flaw),
        }
    }
}

impl Error {
    /// What the system said of a file, in terms of who can do something about it.
    pub(crate) fn disk(action: &'static str, path: &FilePath, errno: Errno) -> Self {
        let path = path.clone();
        match errno {
            Errno::NOSPC => Self::NoSpace { path, reason: "the disk is full" },
            Errno::DQUOT => Self::NoSpace { path, reason: "the quota is used up" },
            Errno::FBIG => Self::TooLargeForDisk(path),
            Errno::NAMETOOLONG | Errno::ILSEQ | Errno::INVAL => Self::BadName(path),
            _ => Self::Disk { action, path, source: errno.into() },
        }
    }
}
