//! The header of one part of a multipart/form-data body, and the base64 decoding of its content.

use base64::Engine;

use super::parameters::parameter;
use common::http::digest::BASE64;

/// What the header of a part has stated so far.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: PartKind,
    encoding: Encoding,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum PartKind {
    #[default]
    Field,
    /// `filename=""`: a browser's input without a selected file, if the content is empty.
    Unnamed,
    File,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Encoding {
    #[default]
    Binary,
    Base64,
    Other,
}

impl Header {
    /// Adds a header field. As old libraries write it, it may be folded and have blanks before its
    /// colon.
    pub(super) fn add(&mut self, field: &[u8]) {
        let Some(colon) = field.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = (field[..colon].trim_ascii_end(), &field[colon + 1..]);
        if name.eq_ignore_ascii_case(b"content-disposition") {
            for name in ["filename", "filename*"] {
                match parameter(value, name) {
                    Some(name) if !name.is_empty() => self.kind = PartKind::File,
                    Some(_) if self.kind == PartKind::Field => self.kind = PartKind::Unnamed,
                    _ => {}
                }
            }
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            let value = value.trim_ascii().to_ascii_lowercase();
            self.encoding = match value.as_slice() {
                b"binary" | b"8bit" | b"7bit" | b"" => Encoding::Binary,
                b"base64" => Encoding::Base64,
                _ => Encoding::Other,
            };
        }
    }

    /// Whether the content is in base64 (RFC 7578, section 4.7, still written by old libraries).
    pub(super) fn is_base64(&self) -> Result<bool, &'static str> {
        match self.encoding {
            Encoding::Other if self.kind != PartKind::Field => {
                Err("the only Content-Transfer-Encodings that are supported are binary and base64")
            }
            encoding => Ok(encoding == Encoding::Base64),
        }
    }
}

/// The next header field of a part, with its folded lines and without the line break at its end.
/// Empty at the end of the header; `None` if the end of the field has not arrived.
pub(super) fn next_field(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.starts_with(b"\r\n") {
        return Some(b"");
    }
    memchr::memchr_iter(b'\n', bytes).find_map(|at| {
        let is_end = bytes[..at].ends_with(b"\r") && !matches!(bytes.get(at + 1)?, b' ' | b'\t');
        is_end.then(|| &bytes[..at - 1])
    })
}

/// Decodes base64 as it arrives. Ignores line breaks and blanks.
#[derive(Default)]
pub(super) struct Base64 {
    /// Characters of an incomplete group of four.
    pending: Vec<u8>,
    /// Whether padding has arrived: this is the end.
    is_over: bool,
}

impl Base64 {
    /// Appends the decoded characters.
    pub(super) fn decode(&mut self, encoded: &[u8], to: &mut Vec<u8>) -> Result<(), &'static str> {
        self.pending.extend(encoded.iter().filter(|byte| !byte.is_ascii_whitespace()));
        self.decode_pending(self.pending.len() / 4 * 4, to)
    }

    /// Appends the rest.
    pub(super) fn finish(mut self, to: &mut Vec<u8>) -> Result<(), &'static str> {
        self.decode_pending(self.pending.len(), to)
    }

    fn decode_pending(&mut self, count: usize, to: &mut Vec<u8>) -> Result<(), &'static str> {
        const FLAW: &str = "its content is not the base64 that its header announces";
        if self.is_over && !self.pending.is_empty() {
            return Err(FLAW);
        }
        let group = &self.pending[..count];
        BASE64.decode_vec(group, to).map_err(|_| FLAW)?;
        self.is_over = group.ends_with(b"=");
        self.pending.drain(..count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_ends_where_the_next_line_is_not_folded() {
        for (bytes, field) in [
            (&b"\r\nrest"[..], Some(&b""[..])),
            (b"a: b\r\nrest", Some(b"a: b")),
            (b"a: b\r\n c\r\n\td\r\n\r\n", Some(b"a: b\r\n c\r\n\td")),
            (b"a: b\nc\r\n\r\n", Some(b"a: b\nc")),
            (b"a: b\r\n", None),
            (b"a: b\r\n c\r\n", None),
            (b"a", None),
        ] {
            assert_eq!(next_field(bytes), field, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn decodes_base64_wherever_it_is_cut() {
        let decode = |text: &str, length| {
            let (mut base64, mut decoded) = (Base64::default(), Vec::new());
            for chunk in text.as_bytes().chunks(length) {
                base64.decode(chunk, &mut decoded).ok()?;
            }
            base64.finish(&mut decoded).ok().map(|()| String::from_utf8(decoded).unwrap())
        };
        for length in 1..12 {
            for (text, decoded) in [
                ("aGVsbG8=", Some("hello")),
                ("aGVs\r\nbG8=\r\n", Some("hello")),
                ("aGVsbG8", Some("hello")),
                ("", Some("")),
                ("aGVsbG8=aGVs", None),
                ("aGVsb", None),
                ("aGV$bG8=", None),
                ("=", None),
            ] {
                assert_eq!(decode(text, length).as_deref(), decoded, "{text} by {length}");
            }
        }
    }
}
