//! Extracts the one file from a multipart/form-data body (RFC 7578) as it arrives, and keeps at
//! most the last chunk. It neither reads the body nor stores the file.
//!
//! multer is not used: it reads ahead for as long as the body is ready, so with a slow disk the
//! whole body would be in memory.

use std::ops::Range;

use common::http::{HeaderMap, header};

use super::parameters::parameter;
use super::part::{Base64, Header, PartKind, next_field};
use crate::error::Error;

/// The maximum length of a part's header, in bytes.
const LONGEST_HEADER: usize = 8 * 1024;
/// The maximum length of a boundary (RFC 2046, section 5.1.1).
const LONGEST_BOUNDARY: usize = 70;

/// A body that is being parsed.
pub(crate) struct Envelope {
    /// The delimiter: a line break, two dashes, and the boundary.
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    /// Where the rest of the buffer begins. The bytes before it are parsed.
    start: usize,
    state: State,
    files: usize,
    /// The buffer for decoded content, if the part is in base64.
    base64: Option<Base64>,
    decoded: Vec<u8>,
}

/// The state of the parser: what the next bytes are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    /// After a delimiter.
    Delimited,
    /// The header of a part, and its length so far.
    Header(usize, Header),
    Content(PartKind),
    Epilogue,
}

/// The next action of the caller.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// Take these bytes of the file.
    File(&'a [u8]),
    /// Push the next chunk.
    Push,
}

impl Envelope {
    /// `None` if the content type is not multipart/form-data.
    pub(crate) fn of(fields: &HeaderMap) -> Result<Option<Self>, Error> {
        let Some(media_type) = fields.get(header::CONTENT_TYPE) else { return Ok(None) };
        let media_type = media_type.as_bytes();
        let essence = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
        if !essence.trim_ascii().eq_ignore_ascii_case(b"multipart/form-data") {
            return Ok(None);
        }
        match parameter(media_type, "boundary") {
            Some(boundary) if (1..=LONGEST_BOUNDARY).contains(&boundary.len()) => {
                Ok(Some(Self::new(&boundary)))
            }
            _ => Err(Error::Envelope("Content-Type needs a boundary of 1 to 70 characters")),
        }
    }

    fn new(boundary: &[u8]) -> Self {
        Self {
            delimiter: [b"\r\n--", boundary].concat(),
            // The first line may be a delimiter.
            buffer: b"\r\n".to_vec(),
            start: 0,
            state: State::Preamble,
            files: 0,
            base64: None,
            decoded: Vec::new(),
        }
    }

    /// Adds the next chunk of the body.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// Parses up to the next bytes of the file.
    ///
    /// # Errors
    ///
    /// The body is malformed.
    pub(crate) fn step(&mut self) -> Result<Parsed<'_>, &'static str> {
        loop {
            let rest = &self.buffer[self.start..];
            match self.state {
                State::Preamble => match self.find_delimiter() {
                    Ok(at) => self.advance(at + self.delimiter.len(), State::Delimited),
                    Err(safe) => return Ok(self.skip(safe)),
                },
                State::Delimited => match rest {
                    [] | [b'\r' | b'-'] => return Ok(Parsed::Push),
                    [b' ' | b'\t', ..] => self.advance(1, State::Delimited),
                    [b'\r', b'\n', ..] => self.advance(2, State::Header(0, Header::default())),
                    [b'-', b'-', ..] => self.advance(2, State::Epilogue),
                    _ => return Err("a boundary is followed by other text on its line"),
                },
                State::Header(seen, mut header) => match next_field(rest) {
                    Some(b"") => {
                        self.base64 = header.is_base64()?.then(Base64::default);
                        if header.kind == PartKind::File {
                            self.count_file()?;
                        }
                        self.advance(2, State::Content(header.kind));
                    }
                    Some(field) if seen + field.len() + 2 <= LONGEST_HEADER => {
                        header.add(field);
                        let length = field.len() + 2;
                        self.advance(length, State::Header(seen + length, header));
                    }
                    None if may_fit(rest, LONGEST_HEADER - seen) => return Ok(Parsed::Push),
                    _ => return Err("the header of a part is longer than 8 KiB"),
                },
                State::Content(kind) => {
                    let delimiter = self.find_delimiter();
                    let (length, skip) = match delimiter {
                        Ok(at) => (at, at + self.delimiter.len()),
                        Err(safe) => (safe, safe),
                    };
                    let kind = if kind == PartKind::Unnamed && length > 0 {
                        self.count_file()?;
                        PartKind::File
                    } else {
                        kind
                    };
                    let content = self.start..self.start + length;
                    let is_over = delimiter.is_ok();
                    let next = if is_over { State::Delimited } else { State::Content(kind) };
                    self.advance(skip, next);
                    if kind == PartKind::File {
                        if self.decode(content.clone(), is_over)? {
                            if !self.decoded.is_empty() {
                                return Ok(Parsed::File(&self.decoded));
                            }
                        } else if length > 0 {
                            return Ok(Parsed::File(&self.buffer[content]));
                        }
                    }
                    if !is_over {
                        return Ok(Parsed::Push);
                    }
                }
                State::Epilogue => return Ok(self.skip(rest.len())),
            }
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    ///
    /// The body is incomplete, or contained no file.
    pub(crate) fn finish(self) -> Result<(), &'static str> {
        match (self.state, self.files) {
            (State::Epilogue, 1) => Ok(()),
            (State::Epilogue, _) => Err("it holds no file; with curl: -F 'file=@NAME'"),
            _ => Err("it ends without its last boundary"),
        }
    }

    /// The number of bytes in memory.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn count_file(&mut self) -> Result<(), &'static str> {
        self.files += 1;
        if self.files > 1 { Err("it holds more than one file, send one") } else { Ok(()) }
    }

    /// Decodes a piece of the buffer, if it is encoded. Returns whether it is.
    fn decode(&mut self, content: Range<usize>, is_over: bool) -> Result<bool, &'static str> {
        let Some(base64) = &mut self.base64 else { return Ok(false) };
        self.decoded.clear();
        base64.decode(&self.buffer[content], &mut self.decoded)?;
        if is_over {
            std::mem::take(base64).finish(&mut self.decoded)?;
        }
        Ok(true)
    }

    fn advance(&mut self, length: usize, state: State) {
        self.start += length;
        self.state = state;
    }

    fn skip(&mut self, done: usize) -> Parsed<'_> {
        self.start += done;
        Parsed::Push
    }

    /// The position of the next delimiter. If there is none, the number of bytes that are certainly
    /// not part of one.
    fn find_delimiter(&self) -> Result<usize, usize> {
        let rest = &self.buffer[self.start..];
        for at in memchr::memchr_iter(b'\r', rest) {
            let here = &rest[at..];
            if here.starts_with(&self.delimiter) {
                return Ok(at);
            }
            if self.delimiter.starts_with(here) {
                return Err(at);
            }
        }
        Err(rest.len())
    }
}

/// Whether an incomplete field can become an empty line, or a field of acceptable length. The
/// result of parsing must not depend on where the body is split.
fn may_fit(field: &[u8], longest: usize) -> bool {
    let field = field.strip_suffix(b"\n").unwrap_or(field);
    let field = field.strip_suffix(b"\r").unwrap_or(field);
    field.is_empty() || field.len() + 2 <= longest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "--xyz\r\nContent-Disposition: form-data; name=\"file\"; \
                        filename=\"foo.txt\"\r\nContent-Type: text/plain\r\n\r\n";
    const FIELD: &str = "--xyz\r\nContent-Disposition: form-data; name=\"filename\"\r\n\r\nx\r\n";

    /// What a browser sends for an input without a file.
    const EMPTY: &str = "--xyz\r\nContent-Disposition: form-data; name=\"more\"; filename=\"\"\r\n\
                         Content-Type: application/octet-stream\r\n\r\n\r\n";
    const FOLDED: &str = "--xyz\r\nContent-Disposition : form-data;\r\n name=\"file\";\r\n\t\
                          filename=\"foo.txt\"\r\n\r\n";
    const BASE64: &str = "--xyz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\
                          Content-Transfer-Encoding: BASE64\r\n\r\n";

    fn open(body: &[u8], chunk: usize) -> Result<Vec<u8>, &'static str> {
        let mut envelope = Envelope::new(b"xyz");
        let mut file = Vec::new();
        for chunk in body.chunks(chunk) {
            envelope.push(chunk);
            while let Parsed::File(content) = envelope.step()? {
                file.extend_from_slice(content);
            }
            assert!(envelope.held() <= LONGEST_HEADER + chunk.len());
        }
        envelope.finish().map(|()| file)
    }

    #[test]
    fn takes_the_file_out_wherever_the_body_is_cut() {
        for (body, content) in [
            (format!("{FILE}hello\r\n--xyz--\r\n"), "hello"),
            (format!("{FILE}\r\n--xyz--"), ""),
            (format!("{FIELD}{FILE}hello\r\n{FIELD}--xyz--\r\nepilogue"), "hello"),
            (format!("preamble\r\n{FILE}\r\n--xy\r\r\n--xyz--"), "\r\n--xy\r"),
            (format!("{FILE}a\r\n--xyz \t\r\n\r\nno name\r\n--xyz--"), "a"),
            (format!("{EMPTY}{FILE}hello\r\n{EMPTY}--xyz--"), "hello"),
            (format!("{}hello\r\n--xyz--", EMPTY.strip_suffix("\r\n").unwrap()), "hello"),
            (format!("{FOLDED}hello\r\n--xyz--"), "hello"),
            (format!("{BASE64}aGVs\r\nbG8=\r\n\r\n--xyz--"), "hello"),
            (format!("{BASE64}aGVsbG8\r\n{FIELD}--xyz--"), "hello"),
            (format!("{}aGVsbG8=\r\n--xyz--", BASE64.replace("BASE64", " 8bit")), "aGVsbG8="),
            (FILE.to_uppercase().replace("XYZ", "xyz") + "a\r\n--xyz--", "a"),
        ] {
            for chunk in 1..body.len() {
                assert_eq!(open(body.as_bytes(), chunk).as_deref(), Ok(content.as_bytes()));
            }
        }
    }

    #[test]
    fn refuses_an_envelope_that_does_not_hold_one_file() {
        let long = format!("--xyz\r\nX: {}\r\n\r\n\r\n--xyz--", "x".repeat(LONGEST_HEADER));
        for body in [
            "",
            "hello",
            "--xyz--",
            FILE,
            &format!("{FILE}hello"),
            &format!("{FILE}hello\r\n--xyz"),
            &format!("{FILE}hello\r\n--xyz-"),
            &format!("{FILE}hello\r\n--xyzw--"),
            &format!("{FIELD}--xyz--"),
            &format!("{FILE}a\r\n{FILE}b\r\n--xyz--"),
            &format!("{EMPTY}{EMPTY}--xyz--"),
            &format!("{FILE}a\r\n{}b\r\n--xyz--", EMPTY.strip_suffix("\r\n").unwrap()),
            &format!("{BASE64}aGVsb\r\n--xyz--"),
            &format!("{BASE64}hello!\r\n--xyz--"),
            &format!("{}a=3D\r\n--xyz--", BASE64.replace("BASE64", "quoted-printable")),
            &long,
        ] {
            for chunk in [1, 7, 100_000] {
                assert!(open(body.as_bytes(), chunk).is_err(), "{body}");
            }
        }
    }

    #[test]
    fn the_length_of_a_head_counts_the_same_wherever_the_body_is_cut() {
        let start = "--xyz\r\nContent-Disposition: x; filename=a\r\n";
        let rest = LONGEST_HEADER - "Content-Disposition: x; filename=a\r\n".len();
        for (length, content) in [(rest - 2, Some(&b"a"[..])), (rest - 1, None), (rest, None)] {
            let body = format!("{start}{}\r\n\r\na\r\n--xyz--", "x".repeat(length));
            for chunk in [1, body.len()] {
                assert_eq!(open(body.as_bytes(), chunk).ok().as_deref(), content, "{length}");
            }
        }
    }

    #[test]
    fn knows_what_is_in_an_envelope() {
        let of = |media_type: &'static str| {
            let mut fields = HeaderMap::new();
            fields.insert(header::CONTENT_TYPE, media_type.parse().unwrap());
            Envelope::of(&fields)
        };
        assert!(of("text/plain").unwrap().is_none());
        assert!(of("multipart/mixed; boundary=a").unwrap().is_none());
        assert!(of("Multipart/Form-Data ; boundary=\"a b\"").unwrap().is_some());
        assert!(of("multipart/form-data").is_err());
        assert!(of("multipart/form-data; boundary=").is_err());
        assert!(Envelope::of(&HeaderMap::new()).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn stores_whatever_was_sent(
            content in proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'x'), any::<u8>()], 0..200
            ),
            chunk in 1_usize..50,
        ) {
            let is_delimiter = content.windows(7).any(|bytes| bytes == b"\r\n--xyz");
            prop_assume!(!is_delimiter);
            let body = [FILE.as_bytes(), &content, b"\r\n--xyz--\r\n"].concat();
            prop_assert_eq!(open(&body, chunk).unwrap(), content);
        }

        #[test]
        fn no_body_ends_in_a_panic(
            body in "(--xyz|\r\n|-|\r|content-disposition: x; filename=|\\PC){0,30}",
            chunk in 1_usize..50,
        ) {
            open(body.as_bytes(), chunk).ok();
        }
    }
}
