//! The input is the target of a request. What goes upstream is what came, byte for byte; and no
//! server, of all those below, serves what costs the token unless the guard says so.

use http::Uri;

use crate::target::{Cost, cost, upstream};

/// Panics where something does not hold.
pub fn check(input: &[u8]) {
    let Ok(uri) = Uri::try_from(input) else { return };
    let asked = uri.path_and_query().map_or("", |asked| asked.as_str());
    let Some(sent) = upstream(&uri) else { return };
    let below = asked.strip_prefix("/c8y").unwrap();
    assert_eq!(sent.as_str().trim_start_matches('/'), below.trim_start_matches('/'));
    assert!(sent.as_str().ends_with(below) && sent.as_str().len() <= below.len() + 1);
    assert!(sent.as_str().starts_with('/'));

    let path = sent.path();
    let guarded = cost(path);
    for times in 0..4 {
        for flags in 0..1 << 7 {
            let server = Server::with(times, flags);
            assert!(guarded >= server.cost(path), "{path} as {server:?} reads it");
        }
    }
    if guarded == Cost::Nothing {
        assert_eq!(cost(&path.to_ascii_uppercase().replace("%2F", "%2f")), Cost::Nothing);
        let encode = |byte| match byte {
            b'/' | b'\\' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        let encoded: String = path.bytes().map(encode).collect();
        let is_deep = (0..7).any(|times| !decode(path.as_bytes(), times).contains(&b'%'));
        assert!(!is_deep || cost(&encoded) == Cost::Nothing, "{path} once more encoded");
    }
}

/// A server, and what it does to a path before it looks at it.
#[derive(Debug)]
pub(crate) struct Server {
    decodes: usize,
    keeps_encoded_slashes: bool,
    cuts_parameters: bool,
    knows_backslashes: bool,
    cuts_ends: bool,
    ends_at_marks: bool,
    collapses_slashes: bool,
    resolves: bool,
}

impl Server {
    pub(crate) fn with(decodes: usize, flags: u32) -> Self {
        let has = |bit: u32| flags >> bit & 1 == 1;
        Self {
            decodes,
            keeps_encoded_slashes: has(0),
            cuts_parameters: has(1),
            knows_backslashes: has(2),
            cuts_ends: has(3),
            ends_at_marks: has(4),
            collapses_slashes: has(5),
            resolves: has(6),
        }
    }

    /// The names in the path, without what it drops.
    pub(crate) fn names(&self, path: &str) -> Vec<Vec<u8>> {
        let path = if self.keeps_encoded_slashes {
            path.to_ascii_lowercase().replace("%2f", "%25252f").replace("%5c", "%25255c")
        } else {
            path.to_owned()
        };
        let read = decode(path.as_bytes(), self.decodes).to_ascii_lowercase();
        let is_mark = |byte: &u8| matches!(byte, b'?' | b'#' | 0 | b'\n');
        let end = read.iter().position(is_mark).filter(|_| self.ends_at_marks);
        let read = &read[..end.unwrap_or(read.len())];
        let is_slash = |byte: &u8| *byte == b'/' || self.knows_backslashes && *byte == b'\\';

        let mut parts: Vec<&[u8]> = Vec::new();
        for part in read.split(is_slash).skip(1) {
            let part = match part.iter().position(|byte| *byte == b';') {
                Some(end) if self.cuts_parameters => &part[..end],
                _ => part,
            };
            match part {
                b"" if self.collapses_slashes => {}
                b"." if self.resolves => {}
                b".." if self.resolves => drop(parts.pop()),
                _ => parts.push(part),
            }
        }
        let trim = |part: &[u8]| {
            let is_cut = |byte: &u8| matches!(byte, b'.' | b'+' | 0..=b' ' | 0x7f);
            let kept = part.iter().rposition(|byte| !is_cut(byte)).map_or(0, |last| last + 1);
            part[..if self.cuts_ends { kept } else { part.len() }].to_vec()
        };
        parts.iter().map(|part| trim(part)).filter(|name| !name.is_empty()).collect()
    }

    fn cost(&self, path: &str) -> Cost {
        let names = self.names(path);
        let is = |index: usize, name: &[u8]| names.get(index).is_some_and(|found| found == name);
        if is(0, b"apps") || names.last().is_some_and(|last| last.ends_with(b".js")) {
            Cost::Token
        } else if is(0, b"user") && is(1, b"logout") {
            Cost::Session
        } else {
            Cost::Nothing
        }
    }
}

fn decode(path: &[u8], times: usize) -> Vec<u8> {
    let mut path = path.to_vec();
    for _ in 0..times {
        let mut decoded = Vec::new();
        let mut rest = &path[..];
        while let Some((&byte, tail)) = rest.split_first() {
            let digits = tail.get(..2).filter(|_| byte == b'%');
            let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
            let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
            let octet = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            decoded.push(octet.unwrap_or(byte));
            rest = if octet.is_some() { &tail[2..] } else { tail };
        }
        path = decoded;
    }
    path
}
