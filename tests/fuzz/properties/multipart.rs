//! The input is a number on a line, a Content-Type on the next, then a body. However the body is
//! cut into chunks, what comes out of it is what a reading of the whole finds.

use common::http::{HeaderMap, HeaderValue, header};

use crate::upload::multipart::{Envelope, Step};
use crate::upload::parameters::parameter;

const LONGEST_HEAD: usize = 8 * 1024;

/// Panics where something does not hold.
pub fn check(input: &[u8]) {
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (chunk, media_type, body) = (line(), line(), line());
    let chunk = std::str::from_utf8(chunk).ok().and_then(|text| text.parse().ok()).unwrap_or(7);

    let Ok(value) = HeaderValue::from_bytes(media_type) else { return };
    let mut fields = HeaderMap::new();
    fields.insert(header::CONTENT_TYPE, value);
    if !matches!(Envelope::of(&fields), Ok(Some(_))) {
        return;
    }
    let boundary = parameter(media_type, "boundary").unwrap();
    assert!((1..=70).contains(&boundary.len()));

    let expected = plain(&boundary, body);
    for chunk in [1, chunk, usize::MAX] {
        let found = take_out(&fields, body, chunk.clamp(1, body.len().max(1)));
        assert_eq!(found.ok(), expected, "in chunks of {chunk}");
    }
}

fn take_out(fields: &HeaderMap, body: &[u8], chunk: usize) -> Result<Vec<u8>, &'static str> {
    let mut envelope = Envelope::of(fields).unwrap().unwrap();
    let mut file = Vec::new();
    for chunk in body.chunks(chunk) {
        envelope.push(chunk);
        while let Step::File(content) = envelope.step()? {
            assert!(!content.is_empty(), "a step that gets nowhere");
            file.extend_from_slice(content);
        }
        assert!(envelope.held() <= LONGEST_HEAD + chunk.len(), "holds more than it has to");
    }
    envelope.finish().map(|()| file)
}

/// The content of the one file, with the whole body in hand.
fn plain(boundary: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let delimiter = [b"\r\n--", boundary].concat();
    let body = [b"\r\n", body].concat();
    let mut rest = &body[find(&body, &delimiter)? + delimiter.len()..];
    let mut file = None;
    loop {
        while let [b' ' | b'\t', tail @ ..] = rest {
            rest = tail;
        }
        if rest.starts_with(b"--") {
            return file;
        }
        rest = rest.strip_prefix(b"\r\n")?;
        let mut is_file = false;
        let mut head = 0;
        loop {
            let end = find(rest, b"\r\n")?;
            let line = &rest[..end];
            rest = &rest[end + 2..];
            if line.is_empty() {
                break;
            }
            head += end + 2;
            if head > LONGEST_HEAD {
                return None;
            }
            is_file |= names_file(line);
        }
        let end = find(rest, &delimiter);
        if is_file && file.is_some() {
            return None;
        }
        let end = end?;
        if is_file {
            file = Some(rest[..end].to_vec());
        }
        rest = &rest[end + delimiter.len()..];
    }
}

fn names_file(line: &[u8]) -> bool {
    let name = b"content-disposition:";
    line.len() >= name.len()
        && line[..name.len()].eq_ignore_ascii_case(name)
        && ["filename", "filename*"].iter().any(|name| parameter(line, name).is_some())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
