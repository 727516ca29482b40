//! The errors of a request for a file or an entity.
//!
//! The client gets the message of a 4xx and of a 507: it says what to change, and contains no path
//! outside the directory. The message of any other 5xx is only logged.

use std::io;

use common::client;
use common::http::respond::Failure;
use common::http::{BodyError, HeaderMap, HeaderValue, StatusCode, header};
use common::staging::user;
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::path::{FilePath, PathError};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target is not below the path of the files.
    #[error("Not Found")]
    Elsewhere,
    /// The path leaves the directory.
    #[error("Invalid file path: {0:?}")]
    Outside(String),
    /// The path cannot be a file.
    #[error("Invalid file path: {0:?}: {1}")]
    InvalidPath(String, &'static str),
    /// The path has too many parts, or is too long.
    #[error("The path has more than 32 parts or 1,024 bytes")]
    TooDeep,
    /// The file system does not allow such a name.
    #[error("Invalid file path: {0}: the file system does not allow such a name")]
    BadName(FilePath),
    /// There is no regular file at this path.
    #[error("File not found: {0}")]
    NotFound(FilePath),
    /// The path is that of a directory.
    #[error("Cannot upload: {0} is a directory, not a file")]
    UploadOntoDirectory(FilePath),
    /// A directory of the path is a file.
    #[error("Cannot upload: {path}: {file:?} is a file, not a directory")]
    UploadBelowFile {
        /// The requested path.
        path: FilePath,
        /// The directory that is a file.
        file: String,
    },
    /// A part of the path is a symbolic link, a FIFO or a device.
    #[error("Cannot upload: {path}: {special:?} is neither a file nor a directory")]
    UploadOntoSpecial {
        /// The requested path.
        path: FilePath,
        /// The part of it that is neither a file nor a directory.
        special: String,
    },
    /// The path is that of a directory, which cannot be deleted.
    #[error("Cannot delete: {0} is a directory, not a file")]
    DeleteDirectory(FilePath),
    /// A part of the path is a symbolic link, a FIFO or a device.
    #[error("Cannot delete: {path}: {special:?} is neither a file nor a directory")]
    DeleteSpecial {
        /// The requested path.
        path: FilePath,
        /// The part of it that is neither a file nor a directory.
        special: String,
    },
    /// The method is not allowed for this path.
    #[error("Method not allowed: use one of {0}")]
    Method(&'static str),
    /// The condition in `If-Match`, `If-None-Match` or `If-Unmodified-Since` is false.
    #[error("A precondition of the request is false for {0}: get the file again")]
    Precondition(FilePath),
    /// The file has no byte of the range.
    #[error("The range begins after the end of the file, which has {length} bytes")]
    Range {
        /// The length of the file, in bytes.
        length: u64,
    },
    /// HTTP/1.0 without `Content-Length`.
    #[error("Cannot upload: HTTP/1.0 needs a Content-Length")]
    LengthRequired,
    /// A header field is malformed.
    #[error("Cannot upload: {field}: {flaw}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// Its fault.
        flaw: &'static str,
    },
    /// The multipart/form-data body is malformed, or does not contain exactly one file.
    #[error("Cannot upload: multipart/form-data: {0}")]
    Envelope(&'static str),
    /// The content does not match the stated digest.
    #[error("Cannot upload: the content does not match its {field}: send it again")]
    Digest {
        /// `Content-Digest` or `Repr-Digest`.
        field: &'static str,
    },
    /// The body is shorter or longer than stated, or the connection broke.
    #[error("Cannot upload: the body does not have the stated length: send it again")]
    Short(#[source] Option<BodyError>),
    /// The file is larger than the settings allow.
    #[error("Cannot upload: {path} is larger than the {max} bytes of http.upload.max_size")]
    TooLarge {
        /// The requested path.
        path: FilePath,
        /// The limit, in bytes.
        max: u64,
    },
    /// The file is larger than the file system can store.
    #[error("Cannot upload: {0} is larger than the file system can store")]
    TooLargeForDisk(FilePath),
    /// The disk is full, a quota is used up, or less than http.upload.min_free would stay free.
    #[error("cannot store {path}: {reason}; delete files, or change http.upload.min_free")]
    NoSpace {
        /// The requested path.
        path: FilePath,
        /// The resource that is used up.
        reason: &'static str,
    },
    /// All files together would exceed the limit of the settings.
    #[error(
        "cannot store {path}: all files together would take more than the {limit} bytes of \
         http.files.max_total; delete files, or change it"
    )]
    NoRoom {
        /// The requested path.
        path: FilePath,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The directory of the files was removed, and cannot be created again.
    #[error(transparent)]
    NoDirectory(common::error::Error),
    /// The user of the service may not change a directory.
    #[error(
        "Cannot {action}: {path}: {user} may not write to the directory {directory:?}: let this \
         user own it"
    )]
    Denied {
        /// The failed operation: a verb.
        action: &'static str,
        /// The requested path.
        path: FilePath,
        /// The directory, or the one above that may not be entered.
        directory: String,
        /// The user of the service.
        user: String,
    },
    /// The system protects the file, or its directory, from the user of the service.
    #[error(
        "Cannot {action}: {path}: it is protected: it or its directory is immutable (lsattr), or \
         another user owns it in a directory with the sticky bit"
    )]
    Protected {
        /// The failed operation: a verb.
        action: &'static str,
        /// The requested path.
        path: FilePath,
    },
    /// The file system is mounted read-only.
    #[error("cannot {action} {path}: the file system is read-only: mount it for writing")]
    ReadOnly {
        /// The failed operation: a verb.
        action: &'static str,
        /// The requested path.
        path: FilePath,
    },
    /// The disk failed, or the service lacks another permission.
    #[error("cannot {action} {path}")]
    Disk {
        /// The failed operation: a verb.
        action: &'static str,
        /// The path of the file.
        path: FilePath,
        /// The error of the system.
        source: io::Error,
    },
    /// Nothing answers at http.agent.address, or the setting has no value.
    #[error(
        "The entity store belongs to thin-edge.io's tedge-agent, which cannot be reached: \
         install or start it, and check http.agent.address"
    )]
    NoAgent,
    /// The agent gives no answer that can be passed on.
    #[error("no answer from tedge-agent")]
    Agent(#[source] client::Error),
}

impl Failure for Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::Elsewhere
            | Self::Outside(_)
            | Self::NotFound(_)
            | Self::UploadOntoSpecial { .. }
            | Self::DeleteDirectory(_)
            | Self::DeleteSpecial { .. }
            | Self::NoAgent => StatusCode::NOT_FOUND,
            Self::Agent(error) if error.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
            Self::Agent(_) => StatusCode::BAD_GATEWAY,
            Self::InvalidPath(..)
            | Self::TooDeep
            | Self::BadName(_)
            | Self::Field { .. }
            | Self::Envelope(_)
            | Self::Digest { .. }
            | Self::Short(_) => StatusCode::BAD_REQUEST,
            Self::Denied { .. } | Self::Protected { .. } => StatusCode::FORBIDDEN,
            Self::UploadOntoDirectory(_) | Self::UploadBelowFile { .. } => StatusCode::CONFLICT,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::LengthRequired => StatusCode::LENGTH_REQUIRED,
            Self::Precondition(_) => StatusCode::PRECONDITION_FAILED,
            Self::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::TooLarge { .. } | Self::TooLargeForDisk(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoSpace { .. } | Self::NoRoom { .. } | Self::ReadOnly { .. } => {
                StatusCode::INSUFFICIENT_STORAGE
            }
            Self::NoDirectory(_) | Self::Disk { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn public(&self) -> Option<String> {
        match self {
            Self::NoSpace { path, reason } => {
                Some(format!("Cannot upload: {path}: {reason}: delete files"))
            }
            Self::ReadOnly { action, path } => {
                Some(format!("Cannot {action}: {path}: the file system is read-only"))
            }
            Self::Agent(error) => Some(format!("Error communicating with tedge-agent: {error}")),
            Self::NoRoom { path, limit } => Some(format!(
                "Cannot upload: {path}: all files together may take {limit} bytes \
                 (http.files.max_total): delete files"
            )),
            _ => None,
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

impl From<PathError> for Error {
    fn from(refusal: PathError) -> Self {
        match refusal {
            PathError::Elsewhere => Self::Elsewhere,
            PathError::Outside(path) => Self::Outside(path),
            PathError::Invalid(path, flaw) => Self::InvalidPath(path, flaw),
            PathError::TooDeep => Self::TooDeep,
        }
    }
}

impl Error {
    /// An upload failed. Another process may have replaced a part of its path meanwhile.
    pub(crate) fn not_stored(path: &FilePath, errno: Errno) -> Self {
        let (path, special) = (path.clone(), path.as_str().to_owned());
        match errno {
            Errno::ISDIR => Self::UploadOntoDirectory(path),
            Errno::NOTDIR | Errno::LOOP => Self::UploadOntoSpecial { path, special },
            Errno::ACCESS => Self::denied("upload", &path, path.split().0),
            Errno::PERM => Self::Protected { action: "upload", path },
            _ => Self::disk("upload", &path, errno),
        }
    }

    /// A deletion failed. Another process may have replaced a part of its path meanwhile.
    pub(crate) fn not_deleted(path: &FilePath, errno: Errno) -> Self {
        let (path, special) = (path.clone(), path.as_str().to_owned());
        match errno {
            Errno::ISDIR => Self::DeleteDirectory(path),
            Errno::NOTDIR | Errno::LOOP => Self::DeleteSpecial { path, special },
            Errno::ACCESS => Self::denied("delete", &path, path.split().0),
            Errno::PERM => Self::Protected { action: "delete", path },
            _ => Self::disk("delete", &path, errno),
        }
    }

    /// The service may not change a directory; `None` is that of all files. Blocks on the disk.
    pub(crate) fn denied(action: &'static str, path: &FilePath, directory: Option<&str>) -> Self {
        let (path, directory) = (path.clone(), directory.unwrap_or(".").to_owned());
        Self::Denied { action, path, directory, user: user(geteuid().as_raw()) }
    }

    /// Classifies an error of the system by who can correct it.
    pub(crate) fn disk(action: &'static str, path: &FilePath, errno: Errno) -> Self {
        let path = path.clone();
        match errno {
            Errno::NOSPC => Self::NoSpace { path, reason: "the disk is full" },
            Errno::DQUOT => Self::NoSpace { path, reason: "the quota is used up" },
            Errno::ROFS => Self::ReadOnly { action, path },
            Errno::FBIG => Self::TooLargeForDisk(path),
            Errno::NAMETOOLONG | Errno::ILSEQ | Errno::INVAL => Self::BadName(path),
            _ => Self::Disk { action, path, source: errno.into() },
        }
    }
}
