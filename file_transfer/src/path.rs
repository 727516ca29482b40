//! The path of a stored file. Parsing is the only way to get one.
//!
//! The target of the request is parsed as it was sent, percent-encoded. A target that does not name
//! a file below the directory is refused. Scripts that join paths send `a//b`, `a/./b` and `a/b/`:
//! parts that are empty or `.` are dropped, as a file system does. `..` is never resolved: no
//! client needs it, and a proxy in front of the service may read such a path differently. Accesses
//! no disk, and knows nothing of HTTP except the target.

use std::fmt;

// A path with a part that begins like this is refused.
pub(crate) use common::storage::temporary::RESERVED;
use percent_encoding::percent_decode_str;

/// The maximum length of one part of a path in Linux, in bytes.
const LONGEST_PART: usize = 255;
/// The maximum length of a path, in bytes.
const LONGEST_PATH: usize = 1024;
/// The maximum number of parts of a path. Each directory costs an inode and a sync.
const MOST_PARTS: usize = 32;

/// The prefixes under which files are served: that of the documentation, and that of thin-edge.io 2.
pub(crate) const PREFIXES: &[&str] = &["/tedge/file-transfer/", "/te/v1/files/"];

/// The path of a file below the directory. It is relative and decoded, and no part is empty, `.` or
/// `..`.
#[derive(Clone, PartialEq, Eq)]
pub struct FilePath(String);

/// Why a target does not name a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    /// It has none of our prefixes, or nothing after the prefix.
    Elsewhere,
    /// It leaves the directory.
    Outside(String),
    /// It cannot be a file: the path, and its fault.
    Invalid(String, &'static str),
    /// It has too many parts, or is too long.
    TooDeep,
}

impl FilePath {
    /// Parses the path of a request's target.
    ///
    /// As in thin-edge.io, `%2F` separates parts like `/`, and a `%` without two hexadecimal digits
    /// is an ordinary character.
    pub(crate) fn parse(target: &str) -> Result<Self, PathError> {
        let encoded = PREFIXES
            .iter()
            .find_map(|prefix| target.strip_prefix(prefix))
            .filter(|rest| !rest.is_empty())
            .ok_or(PathError::Elsewhere)?;
        let Ok(path) = percent_decode_str(encoded).decode_utf8() else {
            return Err(PathError::Invalid(encoded.to_owned(), "it is not UTF-8 after decoding"));
        };

        if is_outside(&path) {
            return Err(PathError::Outside(path.into_owned()));
        }
        let mut clean = String::with_capacity(path.len());
        let mut count = 0;
        for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
            if let Some(flaw) = flaw(part) {
                return Err(PathError::Invalid(path.into_owned(), flaw));
            }
            if count > 0 {
                clean.push('/');
            }
            clean.push_str(part);
            count += 1;
        }
        match count {
            0 => Err(PathError::Invalid(path.into_owned(), "it does not name a file")),
            1..=MOST_PARTS if clean.len() <= LONGEST_PATH => Ok(Self(clean)),
            _ => Err(PathError::TooDeep),
        }
    }

    /// The path, relative to the directory.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory, unless it is the root, and the name of the file.
    pub(crate) fn split(&self) -> (Option<&str>, &str) {
        match self.0.rsplit_once('/') {
            Some((directories, name)) => (Some(directories), name),
            None => (None, &self.0),
        }
    }
}

/// The path quoted and escaped, for messages.
impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Whether a path is absolute, or leaves the directory with `..`.
fn is_outside(path: &str) -> bool {
    let mut depth = 0_usize;
    for part in path.split('/') {
        match part {
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            "" | "." => {}
            _ => depth += 1,
        }
    }
    path.starts_with('/')
}

fn flaw(part: &str) -> Option<&'static str> {
    match part {
        ".." => Some("write it without .."),
        _ if part.contains('\0') => Some("it contains a NUL"),
        _ if part.len() > LONGEST_PART => Some("one of its parts is longer than 255 bytes"),
        _ if is_reserved(part) => Some("names that begin like this are reserved"),
        _ => None,
    }
}

/// In upper and lower case, which a FAT file system does not distinguish.
pub(crate) fn is_reserved(part: &str) -> bool {
    part.get(..RESERVED.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(RESERVED))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn serves_the_same_file_under_both_prefixes() {
        for target in ["/tedge/file-transfer/a/b", "/te/v1/files/a/b"] {
            assert_eq!(FilePath::parse(target).unwrap().as_str(), "a/b");
        }
    }

    #[test]
    fn decodes_percent_encoding_and_drops_empty_parts_and_dots() {
        for (written, path) in [
            ("a%20b", "a b"),
            ("a%2Fb", "a/b"),
            ("a/", "a"),
            ("a%2f", "a"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%25%32e", "%2e"),
            ("...", "..."),
            (".hidden", ".hidden"),
            ("%C3%BC", "ü"),
            ("ü", "ü"),
            ("a//b", "a/b"),
            ("a%2f%2F/b//", "a/b"),
            ("./a/./b/.", "a/b"),
            ("a/%2e/b", "a/b"),
            (".%2F/a", "a"),
        ] {
            let target = format!("/te/v1/files/{written}");
            assert_eq!(FilePath::parse(&target).unwrap().as_str(), path, "{written}");
        }
    }

    #[test]
    fn refuses_a_path_that_leaves_the_directory() {
        for written in [
            "..",
            "../",
            "../a",
            "%2e%2e/a",
            ".%2E/a",
            "%2E%2e%2fa",
            "a/../../b",
            "./../b",
            "/etc/passwd",
            "%2Fetc/passwd",
            "/",
        ] {
            let refusal = FilePath::parse(&format!("/tedge/file-transfer/{written}")).unwrap_err();
            assert!(matches!(refusal, PathError::Outside(_)), "{written}: {refusal:?}");
        }
    }

    #[test]
    fn refuses_what_cannot_be_a_file() {
        let long = "x".repeat(256);
        for written in [
            "a/../b",
            "a/..",
            ".",
            ".//./",
            "a%00b",
            "%ff",
            "a/%c3%28",
            &long,
            "a//.tedge-uploads/1-1",
            "./.Tedge-Uploads/1-1",
            ".TEDGE-UPLOADS",
            ".tedge-uploads",
            ".tedge-uploads/1-1",
            "a/%2Etedge-uploads/1-1",
            ".tedge-uploads.1-1",
        ] {
            let refusal = FilePath::parse(&format!("/tedge/file-transfer/{written}")).unwrap_err();
            assert!(matches!(refusal, PathError::Invalid(..)), "{written}: {refusal:?}");
        }
    }

    #[test]
    fn refuses_a_path_of_more_than_32_parts_or_1024_bytes() {
        let parse = |path: &str| FilePath::parse(&format!("/te/v1/files/{path}"));
        let long = format!("{}/{}", "x".repeat(255), "y".repeat(255));
        let long = format!("{long}/{long}");
        for accepted in ["d/".repeat(32), "//d/.".repeat(32)[2..].to_owned(), long.clone() + "/"] {
            assert!(parse(&accepted).is_ok(), "{accepted}");
        }
        for refused in ["d/".repeat(33), "d%2f".repeat(33), long + "/zz"] {
            assert_eq!(parse(&refused), Err(PathError::TooDeep), "{refused}");
        }
    }

    #[test]
    fn refuses_a_target_without_a_prefix_or_a_path() {
        for target in ["/tedge/file-transfer", "/tedge/file-transfer/", "/te/v1/files/", "/", ""] {
            assert_eq!(FilePath::parse(target), Err(PathError::Elsewhere), "{target}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_names_a_file_below_the_directory(
            written in "([./%0-9a-fA-F]|%2[eEfF]|%00|\\PC){0,40}"
        ) {
            if let Ok(path) = FilePath::parse(&format!("/te/v1/files/{written}")) {
                let path = std::path::Path::new(path.as_str());
                let mut parts = path.components();
                prop_assert!(parts.all(|part| matches!(part, std::path::Component::Normal(_))));
                let written_parts = path.to_str().unwrap().split('/').count();
                prop_assert_eq!(path.components().count(), written_parts);
                prop_assert!(!path.to_str().unwrap().contains('\0'));
            }
        }
    }
}
