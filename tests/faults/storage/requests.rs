//! Steps, as a client and strace are told of them.

use super::steps::{Condition, Envelope, Fault, Range};
use crate::{put, put_head};

/// `validators` are tag and date of the file, where there is one.
pub(super) fn condition_line(
    condition: Condition,
    validators: Option<&(String, String)>,
) -> String {
    const LONG_AGO: &str = "Thu, 01 Jan 1970 00:00:00 GMT";
    let (tag, date) = validators.map_or(("\"nothing\"", LONG_AGO), |(tag, date)| (tag, date));
    let (name, value) = match condition {
        Condition::None => return String::new(),
        Condition::MatchSame => ("If-Match", tag),
        Condition::MatchOther => ("If-Match", "\"other\""),
        Condition::MatchAny => ("If-Match", "*"),
        Condition::NoneMatchSame => ("If-None-Match", tag),
        Condition::NoneMatchOther => ("If-None-Match", "\"other\""),
        Condition::NoneMatchAny => ("If-None-Match", "*"),
        Condition::UnmodifiedSinceSame => ("If-Unmodified-Since", date),
        Condition::UnmodifiedSinceLongAgo => ("If-Unmodified-Since", LONG_AGO),
        Condition::ModifiedSinceSame => ("If-Modified-Since", date),
        Condition::ModifiedSinceLongAgo => ("If-Modified-Since", LONG_AGO),
    };
    format!("{name}: {value}\r\n")
}

pub(super) fn range_lines(range: Range) -> String {
    match range {
        Range::None => String::new(),
        Range::Part(first, last) => format!("Range: bytes={first}-{last}\r\n"),
        Range::From(first) => format!("Range: bytes={first}-\r\n"),
        Range::Last(count) => format!("Range: bytes=-{count}\r\n"),
        Range::Several => "Range: bytes=0-0,2-3\r\n".to_owned(),
        Range::PartOfOther => "Range: bytes=0-0\r\nIf-Range: \"other\"\r\n".to_owned(),
    }
}

/// These lines more in the head of a request.
pub(super) fn with(request: impl AsRef<[u8]>, lines: &str) -> Vec<u8> {
    let request = request.as_ref();
    let end = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 2;
    [&request[..end], lines.as_bytes(), &request[end..]].concat()
}

pub(super) fn wrapped(path: &str, content: &[u8], envelope: Envelope) -> Vec<u8> {
    match envelope {
        Envelope::Plain => put(path, content),
        Envelope::Chunked => {
            let head =
                put_head(path, 0, "").replace("Content-Length: 0", "Transfer-Encoding: chunked");
            let mut bytes = head.into_bytes();
            for chunk in content.chunks(5000) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            bytes
        }
        Envelope::Form => {
            let begin = "--boundary\r\nContent-Disposition: form-data; name=\"file\"; \
                         filename=\"foo\"\r\n\r\n";
            let body = [begin.as_bytes(), content, b"\r\n--boundary--\r\n"].concat();
            let line = "Content-Type: multipart/form-data; boundary=boundary\r\n";
            [put_head(path, body.len() as u64, line).as_bytes(), &body].concat()
        }
    }
}

pub(super) fn inject(fault: Fault) -> String {
    match fault {
        Fault::Fails { call, error, nth: 0 } => format!("inject={call}:error={error}"),
        Fault::Fails { call, error, nth } => format!("inject={call}:error={error}:when={nth}"),
        Fault::Slow { call, delay } => format!("inject={call}:delay_enter={}", delay * 1000),
    }
}
