//! Downloads a file: the file is complete or absent, and a partial download is resumed.
//!
//! The data received so far is in a file beside it, whose name contains a hash of what was requested
//! and the entity tag of the whole file. So the same command resumes, or starts again if the service
//! has another version by then (If-Range, RFC 9110, 13.1.5). Others may have write access to the
//! directory: so all operations are relative to its descriptor, and a part is resumed only if nobody
//! else can have written or renamed it.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::fs::{fchmod, fchown, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::process::{geteuid, umask};

use super::progress::ProgressLine;
use crate::error::{Error, chain};
use crate::http::Body;
use crate::walk::{WalkEnd, is_kept, is_owned};

/// The mode of a part: private to its owner. The sticky bit has no meaning on a Linux file. It
/// distinguishes a part from other private files, which users with write access to the directory
/// can rename to a part.
const PART: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::SVTX);

/// A file to write, and its partial download if there is one.
pub(super) struct OutputFile {
    directory: OwnedFd,
    name: OsString,
    /// The path as it was typed.
    path: String,
    /// The file whose owner and mode are kept.
    replaced: Option<Stat>,
    part: Option<Partial>,
    /// The start of a part's name, if parts are resumed in this directory.
    prefix: Option<Vec<u8>>,
}

struct Partial {
    name: OsString,
    file: File,
    tag: HeaderValue,
    length: u64,
    /// The length of the whole file, once the response with the rest says it.
    total: Option<u64>,
}

impl Partial {
    /// The length of the whole file, if the content of a 206 is the rest of this part: of the same
    /// version (RFC 9110, 15.3.7.3), from its end to the end of the file.
    fn total_with(&self, fields: &HeaderMap) -> Option<u64> {
        let range = fields.get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
        let (first, rest) = range.split_once('-')?;
        let (last, total) = rest.split_once('/')?;
        let [first, last, total] = [first, last, total].map(|number| number.parse::<u64>().ok());
        let is_rest =
            first? == self.length && self.length <= last? && last?.checked_add(1) == total;
        let is_same = fields.get(header::ETAG) == Some(&self.tag);
        total.filter(|_| is_rest && is_same)
    }
}

/// Why a response was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    #[error("cannot write to {path}: {source}")]
    Unwritable { path: String, source: io::Error },
    /// The response ended before its end.
    #[error("{reason}")]
    Incomplete { reason: String },
    #[error("{reason} (run the same command again to resume)")]
    Resumable { reason: String },
}

impl From<OutputError> for Error {
    fn from(error: OutputError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl OutputFile {
    /// The file that a walk has found, called `path` in messages, for the content of `source`.
    pub(super) fn open(end: &WalkEnd, path: &str, source: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(&end.parent, ".", flags, Mode::empty())?;
        // Others could rename a part of another version or of another file.
        let prefix =
            is_kept(&fstat(&directory)?).then(|| part_prefix(end.name.as_encoded_bytes(), source));
        let part = match &prefix {
            Some(prefix) => find_part(&directory, prefix)?,
            None => None,
        };
        // Owner and mode of a file that another user may have put there are not kept.
        let replaced = end.stat.filter(|old| end.is_fixed || is_owned(old));
        let (name, path) = (end.name.clone(), path.to_owned());
        Ok(Self { directory, name, path, replaced, part, prefix })
    }

    /// Requests only the missing rest.
    pub(super) fn ask(&self, fields: &mut HeaderMap) {
        let Some(part) = &self.part else { return };
        if let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", part.length)) {
            fields.insert(header::RANGE, range);
            fields.insert(header::IF_RANGE, part.tag.clone());
        }
    }

    /// Whether only the missing rest was requested.
    pub(super) fn is_resumed(&self) -> bool {
        self.part.is_some()
    }

    /// Whether the partial download cannot be resumed, so that the whole file must be requested.
    pub(super) fn is_outdated(&mut self, response: &Response<Body>) -> Result<bool, OutputError> {
        let Some(part) = &mut self.part else { return Ok(false) };
        let is_useful = match response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE => false,
            StatusCode::PARTIAL_CONTENT => {
                part.total = part.total_with(response.headers());
                part.total.is_some()
            }
            _ => true,
        };
        if !is_useful {
            self.drop_part()?;
        }
        Ok(!is_useful)
    }

    fn drop_part(&mut self) -> Result<(), OutputError> {
        let Some(part) = self.part.take() else { return Ok(()) };
        let removed = unlinkat(&self.directory, &part.name, AtFlags::empty());
        removed.map_err(|errno| self.unwritable(errno))
    }

    /// Writes the content to a temporary file, and renames it when it is complete.
    pub(super) async fn save(mut self, response: Response<Body>) -> Result<(), OutputError> {
        let (head, mut body) = response.into_parts();
        if head.status != StatusCode::PARTIAL_CONTENT {
            self.drop_part()?;
        }
        let tag = head.headers.get(header::ETAG).filter(|tag| is_strong(tag));
        let tag = tag.filter(|_| self.prefix.is_some());
        let exact = http_body::Body::size_hint(&body).exact();
        let (name, mut file, mut done, total) = match self.part.take() {
            Some(part) => (part.name, part.file, part.length, part.total),
            None => {
                let (name, file) = self.create(tag).map_err(|errno| self.unwritable(errno))?;
                (name, file, 0, exact)
            }
        };
        let mut progress = ProgressLine::new(total, done);
        while let Some(chunk) = body.chunk().await {
            let chunk = chunk.map_err(|error| self.broken(chain(&*error), tag, &name))?;
            file.write_all(&chunk).map_err(|error| self.unwritable(error))?;
            done += chunk.len() as u64;
            if let Some(progress) = &mut progress {
                progress.add(chunk.len());
            }
        }
        if total.is_some_and(|total| total != done) {
            let reason = "the content does not have the length that its Content-Range states";
            return Err(self.broken(reason.to_owned(), None, &name));
        }
        self.install(&file, &name).map_err(|error| self.unwritable(error))
    }

    /// Creates a file that only its owner can read, with the name of a partial download if
    /// possible.
    fn create(&self, tag: Option<&HeaderValue>) -> Result<(OsString, File), Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY;
        let create = |name: &OsString| openat(&self.directory, name, flags | OFlags::CLOEXEC, PART);
        let name = match (&self.prefix, tag) {
            (Some(prefix), Some(tag)) => part_name(prefix, tag),
            _ => with_end(self.name.as_encoded_bytes(), "part"),
        };
        // An existing one was not resumed, so it is useless or belongs to another user.
        let _ = unlinkat(&self.directory, &name, AtFlags::empty());
        match create(&name) {
            Err(Errno::EXIST) => {
                let name = random_name(self.name.as_encoded_bytes())?;
                create(&name).map(|file| (name, file.into()))
            }
            created => created.map(|file| (name, file.into())),
        }
    }

    fn install(&self, file: &File, name: &OsString) -> io::Result<()> {
        let mode = match &self.replaced {
            Some(old) => {
                // Only root may change the owner; for others the file is a new one.
                let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
                let _ = fchown(file, Some(uid), Some(gid));
                old.st_mode & 0o777
            }
            None => {
                let mask = umask(Mode::empty());
                umask(mask);
                0o666 & !mask.bits()
            }
        };
        fchmod(file, Mode::from_raw_mode(mode))?;
        file.sync_all()?;
        Ok(renameat(&self.directory, name, &self.directory, &self.name)?)
    }

    fn broken(&self, reason: String, tag: Option<&HeaderValue>, name: &OsString) -> OutputError {
        if tag.is_some() {
            return OutputError::Resumable { reason };
        }
        let _ = unlinkat(&self.directory, name, AtFlags::empty());
        OutputError::Incomplete { reason }
    }

    fn unwritable(&self, error: impl Into<io::Error>) -> OutputError {
        OutputError::Unwritable { path: self.path.clone(), source: error.into() }
    }
}

/// The first partial download with this prefix that only the caller can have written.
fn find_part(directory: &OwnedFd, prefix: &[u8]) -> io::Result<Option<Partial>> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let Some(tag) = tag_of(entry.file_name().to_bytes(), prefix) else { continue };
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = flags | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Ok(file) = openat(directory, entry.file_name(), flags, Mode::empty()) else { continue };
        let found = fstat(&file)?;
        let is_ours = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
            && found.st_uid == geteuid().as_raw()
            && found.st_mode & 0o7777 == PART.bits()
            && found.st_nlink == 1;
        if let (true, Ok(length @ 1..)) = (is_ours, u64::try_from(found.st_size)) {
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
            return Ok(Some(Partial { name, file: file.into(), tag, length, total: None }));
        }
    }
    Ok(None)
}

/// The maximum length of an entity tag in a file name, in bytes.
const TAG_MAX: usize = 64;
/// The maximum length of a name that fits with such a tag into a file name of 255 bytes.
const NAME_MAX: usize =
    255 - ".".len() - ".".len() - 2 * SOURCE - ".".len() - 2 * TAG_MAX - ".part".len();
/// The length of the hash of what was requested, in bytes.
const SOURCE: usize = 16;

/// The start of the name of a partial download of a file: `.name.<hash of what was requested>.`
fn part_prefix(name: &[u8], source: &str) -> Vec<u8> {
    let digest = digest(&SHA256, source.as_bytes());
    with_end(name, &(hexadecimal(&digest.as_ref()[..SOURCE]) + ".")).into_vec()
}

/// The name of a partial download: `<prefix><entity tag in hexadecimal>.part`.
fn part_name(prefix: &[u8], tag: &HeaderValue) -> OsString {
    let end = hexadecimal(tag.as_bytes()) + ".part";
    OsString::from_vec([prefix, end.as_bytes()].concat())
}

/// A random name, which other users cannot guess.
fn random_name(name: &[u8]) -> Result<OsString, Errno> {
    let mut number = [0; 16];
    SystemRandom::new().fill(&mut number).map_err(|_| Errno::IO)?;
    Ok(with_end(name, &(hexadecimal(&number) + ".new")))
}

/// The entity tag in the name of a partial download with this prefix.
fn tag_of(part: &[u8], prefix: &[u8]) -> Option<HeaderValue> {
    let digits = part.strip_prefix(prefix)?.strip_suffix(b".part")?;
    let pairs = digits.chunks(2);
    let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    HeaderValue::from_bytes(&bytes.collect::<Option<Vec<u8>>>()?).ok().filter(is_strong)
}

/// Whether a tag is strong (RFC 9110, 8.8.1) and short enough for a file name.
fn is_strong(tag: &HeaderValue) -> bool {
    let tag = tag.as_bytes();
    tag.starts_with(b"\"") && tag.len() > 2 && tag.len() <= TAG_MAX
}

fn with_end(name: &[u8], end: &str) -> OsString {
    let digest = digest(&SHA256, name);
    let hashed = hexadecimal(digest.as_ref());
    let name = if name.len() > NAME_MAX { hashed.as_bytes() } else { name };
    OsString::from_vec([b".", name, b".", end.as_bytes()].concat())
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_part_tells_what_it_is_a_part_of() {
        let strong = HeaderValue::from_static("\"a/1\"");
        let prefix = part_prefix(b"x.bin", "localhost/te/v1/files/x");
        let part = part_name(&prefix, &strong);
        assert_eq!(tag_of(part.as_bytes(), &prefix), Some(strong));
        let others = [part_prefix(b"x.bin", "localhost/te/v1/files/y"), part_prefix(b"y", "x")];
        for other in others {
            assert_eq!(tag_of(part.as_bytes(), &other), None);
        }
        for digits in ["2", "zz", "0a"] {
            let other = [prefix.as_slice(), digits.as_bytes(), b".part"].concat();
            assert_eq!(tag_of(&other, &prefix), None, "{digits}");
        }
    }

    #[test]
    fn the_longest_name_with_the_longest_tag_fits() {
        let longest = HeaderValue::from_str(&format!("\"{}\"", "x".repeat(TAG_MAX - 2))).unwrap();
        for length in [1, NAME_MAX, NAME_MAX + 1, 255] {
            let name = vec![b'n'; length];
            let prefix = part_prefix(&name, "localhost/te/v1/files/x");
            let part = part_name(&prefix, &longest);
            assert!(part.len() <= 255, "{}", part.len());
            assert_eq!(tag_of(part.as_bytes(), &prefix), Some(longest.clone()));
            assert!(random_name(&name).unwrap().len() <= 255);
        }
    }
}
