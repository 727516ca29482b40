//! Where the answer of `tedge http get` goes: standard output, or a file that is whole or not
//! there.
//!
//! What has come so far is kept beside the file, under a name that holds the entity tag of what
//! it is a part of. Thus the same command goes on where the last one broke off, and starts anew
//! where the service has something else by now (If-Range, RFC 9110, 13.1.5).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::progress::Progress;
use super::unreadable;
use crate::cli::Stop;
use crate::error::chain;
use crate::http::Body;

/// The longest entity tag that fits a file's name, in bytes.
const LONGEST_TAG: usize = 64;

/// The target of an answer.
pub(super) enum Output {
    Standard,
    File { path: PathBuf, part: Option<Part> },
}

/// What an earlier try has left.
pub(super) struct Part {
    path: PathBuf,
    tag: HeaderValue,
    length: u64,
}

impl Output {
    /// Standard output for nothing and for `-`.
    pub(super) fn open(path: Option<&str>) -> Result<Self, Stop> {
        let path = match path {
            None | Some("-") => return Ok(Self::Standard),
            Some(path) => PathBuf::from(path),
        };
        if path.is_dir() || path.file_name().is_none() {
            let error = io::Error::other("it is a directory");
            return Err(unreadable(&format!("cannot write {}", path.display()), &error));
        }
        let part = find_part(&path)
            .map_err(|error| unreadable(&format!("cannot write {}", path.display()), &error))?;
        Ok(Self::File { path, part })
    }

    /// Asks for no more than is missing.
    pub(super) fn ask(&self, fields: &mut HeaderMap) {
        if let Self::File { part: Some(part), .. } = self {
            if let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", part.length)) {
                fields.insert(header::RANGE, range);
                fields.insert(header::IF_RANGE, part.tag.clone());
            }
        }
    }

    /// Whether what was kept is of no use, so that all of it has to be asked for.
    pub(super) fn is_outdated(&mut self, answer: &Response<Body>) -> Result<bool, Stop> {
        let Self::File { part, .. } = self else { return Ok(false) };
        let fits = match (answer.status(), &*part) {
            (_, None) => return Ok(false),
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => false,
            (StatusCode::PARTIAL_CONTENT, Some(part)) => {
                let range = answer.headers().get(header::CONTENT_RANGE);
                let start = format!("bytes {}-", part.length);
                range.is_some_and(|range| range.as_bytes().starts_with(start.as_bytes()))
            }
            _ => true,
        };
        if !fits {
            if let Some(part) = part.take() {
                let removed = fs::remove_file(&part.path);
                removed.map_err(|error| unreadable("cannot start anew", &error))?;
            }
        }
        Ok(!fits)
    }

    /// Takes the content. That nobody reads on is no error.
    pub(super) async fn take(self, answer: Response<Body>) -> Result<(), String> {
        match self {
            Self::Standard => print(answer).await,
            Self::File { path, part } => save(answer, &path, part).await,
        }
    }
}

async fn print(answer: Response<Body>) -> Result<(), String> {
    let mut body = answer.into_body();
    let mut output = io::stdout().lock();
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|error| chain(&*error))?;
        match output.write_all(&chunk).and_then(|()| output.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => {
                written.map_err(|error| format!("cannot write to standard output: {error}"))?;
            }
        }
    }
    Ok(())
}

async fn save(answer: Response<Body>, path: &Path, part: Option<Part>) -> Result<(), String> {
    let unwritable = |error: io::Error| format!("cannot write {}: {error}", path.display());
    let (head, mut body) = answer.into_parts();
    let is_rest = head.status == StatusCode::PARTIAL_CONTENT;
    let tag = head.headers.get(header::ETAG).filter(|tag| is_lasting(tag));
    let kept = match (&part, is_rest) {
        (Some(part), true) => part.path.clone(),
        (Some(part), false) => {
            fs::remove_file(&part.path).map_err(unwritable)?;
            part_path(path, tag)
        }
        (None, _) => part_path(path, tag),
    };
    let mut file = if is_rest {
        File::options().append(true).open(&kept).map_err(unwritable)?
    } else {
        File::create(&kept).map_err(unwritable)?
    };
    let done = part.filter(|_| is_rest).map_or(0, |part| part.length);
    let total = http_body::Body::size_hint(&body).exact().map(|rest| done + rest);
    let mut progress = Progress::new(total, done);
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|error| {
            let error = chain(&*error);
            match tag {
                Some(_) => format!("{error} (the same command goes on from there)"),
                None => {
                    let _ = fs::remove_file(&kept);
                    error
                }
            }
        })?;
        file.write_all(&chunk).map_err(unwritable)?;
        if let Some(progress) = &mut progress {
            progress.add(chunk.len());
        }
    }
    file.sync_all().and_then(|()| fs::rename(&kept, path)).map_err(unwritable)
}

/// `.name.<tag in hexadecimal>.part`, or `.name.part` for what cannot be gone on with.
fn part_path(path: &Path, tag: Option<&HeaderValue>) -> PathBuf {
    let mut name = start_of_part(path);
    if let Some(tag) = tag {
        name.extend(tag.as_bytes().iter().map(|byte| format!("{byte:02x}")));
        name.push('.');
    }
    path.with_file_name(name + "part")
}

fn start_of_part(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

fn find_part(path: &Path) -> io::Result<Option<Part>> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let start = start_of_part(path);
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let tag = name.to_str().and_then(|name| name.strip_prefix(&start)?.strip_suffix(".part"));
        let Some(tag) = tag.and_then(decode) else { continue };
        let length = entry.metadata()?.len();
        if is_lasting(&tag) && length > 0 {
            return Ok(Some(Part { path: path.with_file_name(name), tag, length }));
        }
    }
    Ok(None)
}

fn decode(digits: &str) -> Option<HeaderValue> {
    let pairs = digits.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    HeaderValue::from_bytes(&bytes.collect::<Option<Vec<u8>>>()?).ok()
}

/// A weak entity tag does not say that bytes are the same.
fn is_lasting(tag: &HeaderValue) -> bool {
    let tag = tag.as_bytes();
    tag.starts_with(b"\"") && tag.len() > 2 && tag.len() <= LONGEST_TAG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_part_tells_what_it_is_a_part_of() {
        let tag = HeaderValue::from_static("\"a/1\"");
        let part = part_path(Path::new("/tmp/x.bin"), Some(&tag));
        assert_eq!(part, Path::new("/tmp/.x.bin.22612f3122.part"));
        assert_eq!(decode("22612f3122"), Some(tag));
        assert_eq!(
            (decode("2"), decode("zz"), decode("0a")),
            (HeaderValue::from_str("\u{2}").ok(), None, None)
        );
    }
}
