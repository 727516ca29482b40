//! Takes the one file out of a multipart/form-data body (RFC 7578) as it comes in, without
//! holding more of it than the last chunk. Pure: it reads nothing and stores nothing.
//!
//! By hand, since multer reads from a body for as long as that is ready, whole into memory where
//! the disk is slower than the network.

use common::http::{HeaderMap, header};

use super::parameters::parameter;
use crate::error::Error;

/// The fields before one part, in bytes.
const LONGEST_HEAD: usize = 8 * 1024;
/// RFC 2046, section 5.1.1.
const LONGEST_BOUNDARY: usize = 70;

/// A body under way.
pub(crate) struct Envelope {
    /// The line break that belongs to it, two dashes, and the boundary.
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    /// What is before this in the buffer is done with.
    start: usize,
    state: State,
    files: usize,
}

/// What the next bytes are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    /// Behind a delimiter.
    Delimited,
    /// The fields of a part, of which so many bytes were seen, and whether it is a file.
    Head(usize, bool),
    /// The content of a part, and whether it is a file.
    Content(bool),
    Epilogue,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// The next bytes of the file are these.
    Content(&'a [u8]),
    /// More of the body is needed.
    More,
}

impl Envelope {
    /// `None` where the content is not in an envelope.
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
            // A delimiter may be the very first line.
            buffer: b"\r\n".to_vec(),
            start: 0,
            state: State::Preamble,
            files: 0,
        }
    }

    /// Takes the next chunk of the body.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// Goes on as far as the chunk allows. An error says what is wrong with the envelope.
    pub(crate) fn step(&mut self) -> Result<Step<'_>, &'static str> {
        loop {
            let rest = &self.buffer[self.start..];
            match self.state {
                State::Preamble => match self.find_delimiter() {
                    Ok(at) => self.go_on(at + self.delimiter.len(), State::Delimited),
                    Err(safe) => return Ok(self.wait(safe)),
                },
                State::Delimited => match rest {
                    [] | [b'\r' | b'-'] => return Ok(Step::More),
                    [b' ' | b'\t', ..] => self.go_on(1, State::Delimited),
                    [b'\r', b'\n', ..] => self.go_on(2, State::Head(0, false)),
                    [b'-', b'-', ..] => self.go_on(2, State::Epilogue),
                    _ => return Err("something follows a boundary on its line"),
                },
                State::Head(seen, is_file) => match line(rest) {
                    Some(b"") => {
                        self.files += usize::from(is_file);
                        if self.files > 1 {
                            return Err("it holds more than one file, send one");
                        }
                        self.go_on(2, State::Content(is_file));
                    }
                    Some(field) if seen + field.len() + 2 <= LONGEST_HEAD => {
                        let is_file = is_file || says_file(field);
                        let length = field.len() + 2;
                        self.go_on(length, State::Head(seen + length, is_file));
                    }
                    None if may_fit(rest, LONGEST_HEAD - seen) => return Ok(Step::More),
                    _ => return Err("the fields of a part are longer than 8 KiB"),
                },
                State::Content(is_file) => {
                    let (length, skip, next) = match self.find_delimiter() {
                        Ok(at) => (at, at + self.delimiter.len(), State::Delimited),
                        Err(safe) => (safe, safe, self.state),
                    };
                    let content = self.start..self.start + length;
                    self.go_on(skip, next);
                    if is_file && length > 0 {
                        return Ok(Step::Content(&self.buffer[content]));
                    }
                    if next == State::Content(is_file) {
                        return Ok(Step::More);
                    }
                }
                State::Epilogue => return Ok(self.wait(rest.len())),
            }
        }
    }

    /// The body is at its end.
    pub(crate) fn finish(self) -> Result<(), &'static str> {
        match (self.state, self.files) {
            (State::Epilogue, 1) => Ok(()),
            (State::Epilogue, _) => Err("it holds no file; with curl: -F 'file=@NAME'"),
            _ => Err("it ends without its last boundary"),
        }
    }

    /// How many bytes it keeps.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn go_on(&mut self, length: usize, state: State) {
        self.start += length;
        self.state = state;
    }

    fn wait(&mut self, done: usize) -> Step<'_> {
        self.start += done;
        Step::More
    }

    /// Where the next delimiter is, or else how many bytes are surely not part of one.
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

fn line(bytes: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr_iter(b'\n', bytes).find(|&at| bytes[..at].ends_with(b"\r"))?;
    Some(&bytes[..end - 1])
}

/// Whether a line of which only this is known so far, once it is at its end, can be one that ends
/// a head or is not longer than this: wherever the body is cut, the answer is the same.
fn may_fit(line: &[u8], longest: usize) -> bool {
    let field = line.strip_suffix(b"\r").unwrap_or(line);
    field.is_empty() || field.len() + 2 <= longest
}

/// Whether a field of a part says that the part is a file.
fn says_file(field: &[u8]) -> bool {
    const NAME: &[u8] = b"content-disposition:";
    let Some((name, value)) = field.split_at_checked(NAME.len()) else { return false };
    name.eq_ignore_ascii_case(NAME)
        && ["filename", "filename*"].iter().any(|name| parameter(value, name).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "--xyz\r\nContent-Disposition: form-data; name=\"file\"; \
                        filename=\"foo.txt\"\r\nContent-Type: text/plain\r\n\r\n";
    const FIELD: &str = "--xyz\r\nContent-Disposition: form-data; name=\"filename\"\r\n\r\nx\r\n";

    fn open(body: &[u8], chunk: usize) -> Result<Vec<u8>, &'static str> {
        let mut envelope = Envelope::new(b"xyz");
        let mut file = Vec::new();
        for chunk in body.chunks(chunk) {
            envelope.push(chunk);
            while let Step::Content(content) = envelope.step()? {
                file.extend_from_slice(content);
            }
            assert!(envelope.held() <= LONGEST_HEAD + chunk.len());
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
            (FILE.to_uppercase().replace("XYZ", "xyz") + "a\r\n--xyz--", "a"),
        ] {
            for chunk in 1..body.len() {
                assert_eq!(open(body.as_bytes(), chunk).as_deref(), Ok(content.as_bytes()));
            }
        }
    }

    #[test]
    fn refuses_an_envelope_that_does_not_hold_one_file() {
        let long = format!("--xyz\r\nX: {}\r\n\r\n\r\n--xyz--", "x".repeat(LONGEST_HEAD));
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
        let rest = LONGEST_HEAD - "Content-Disposition: x; filename=a\r\n".len();
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
