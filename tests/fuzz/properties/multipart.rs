//! The input is a number on a line, a Content-Type on the next, then a body. However the body is
//! cut into chunks, what comes out of it is what a reading of the whole finds.

use base64::Engine;
use common::http::{HeaderMap, HeaderValue, header};

use crate::upload::multipart::{Envelope, Parsed};
use crate::upload::parameters::parameter;
use common::http::digest::BASE64;

const LONGEST_HEADER: usize = 8 * 1024;

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
        while let Parsed::File(content) = envelope.step()? {
            assert!(!content.is_empty(), "a step that gets nowhere");
            file.extend_from_slice(content);
        }
        assert!(envelope.held() <= LONGEST_HEADER + chunk.len(), "holds more than it has to");
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
        let (mut kind, mut encoding) = (PartKind::Field, None);
        let mut head = 0;
        loop {
            let mut end = find(rest, b"\r\n")?;
            while end > 0 && matches!(rest.get(end + 2)?, b' ' | b'\t') {
                end += 2 + find(&rest[end + 2..], b"\r\n")?;
            }
            let field = &rest[..end];
            rest = &rest[end + 2..];
            if field.is_empty() {
                break;
            }
            head += end + 2;
            if head > LONGEST_HEADER {
                return None;
            }
            let Some(colon) = find(field, b":") else { continue };
            let value = &field[colon + 1..];
            match field[..colon].trim_ascii_end().to_ascii_lowercase().as_slice() {
                b"content-disposition" => {
                    let names = ["filename", "filename*"].map(|name| parameter(value, name));
                    let names: Vec<_> = names.into_iter().flatten().collect();
                    match names.iter().any(|name| !name.is_empty()) {
                        true => kind = PartKind::File,
                        false if !names.is_empty() && kind == PartKind::Field => {
                            kind = PartKind::Unnamed
                        }
                        false => {}
                    }
                }
                b"content-transfer-encoding" => {
                    encoding = Some(value.trim_ascii().to_ascii_lowercase());
                }
                _ => {}
            }
        }
        let encoding = encoding.unwrap_or_default();
        let is_base64 = encoding == b"base64";
        let is_plain = [&b"binary"[..], b"8bit", b"7bit", b""].contains(&encoding.as_slice());
        if kind != PartKind::Field && !is_base64 && !is_plain {
            return None;
        }
        let end = find(rest, &delimiter)?;
        if kind == PartKind::File || (kind == PartKind::Unnamed && end > 0) {
            if file.is_some() {
                return None;
            }
            file = Some(if is_base64 { decoded(&rest[..end])? } else { rest[..end].to_vec() });
        }
        rest = &rest[end + delimiter.len()..];
    }
}

#[derive(PartialEq)]
enum PartKind {
    Field,
    Unnamed,
    File,
}

fn decoded(encoded: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> =
        encoded.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(text).ok()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
