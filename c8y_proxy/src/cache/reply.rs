//! The answer to a request from the cache: conditions, ranges, fields. Does not access the disk.

use std::time::SystemTime;

use common::http::Body;
use common::http::conditions::{Selection, Validators, select};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, ETAG, EXPIRES,
    HeaderName, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::validator;
use crate::upstream::Head;

/// The fields that go with `304 Not Modified` (RFC 9110, 15.4.5).
const OF_NOT_MODIFIED: [HeaderName; 6] =
    [ETAG, LAST_MODIFIED, CACHE_CONTROL, CONTENT_LOCATION, EXPIRES, VARY];

/// Answers a GET or a HEAD. `length` is that of the body, if it is known. Also returns the part of
/// the body to send, if any: its first byte, and the end (exclusive) if it is not the end of the
/// body.
pub(super) fn reply(
    head: &Head,
    kept: &HeaderMap,
    length: Option<u64>,
) -> (Response<Body>, Option<(u64, Option<u64>)>) {
    let tag = kept.get(ETAG).map_or(&b""[..], HeaderValue::as_bytes);
    let modified = kept.get(LAST_MODIFIED).and_then(|value| value.to_str().ok());
    let modified = modified.and_then(|date| httpdate::parse_http_date(date).ok());
    let is_get = head.method == Method::GET;
    let of = Validators { tag, modified };
    let now = SystemTime::now();
    let selection = select(&head.fields, is_get, of, length.unwrap_or(u64::MAX), now);

    let mut response = Response::new(Body::Empty);
    let (first, end) = match (&selection, length) {
        (Selection::Failed, _) => {
            *response.status_mut() = StatusCode::PRECONDITION_FAILED;
            return (response, None);
        }
        (Selection::NotModified, _) => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            let fields = response.headers_mut();
            validator::copy(kept, fields, |name| OF_NOT_MODIFIED.contains(name));
            return (response, None);
        }
        (Selection::Unsatisfiable, Some(length)) => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            let range = number(format!("bytes */{length}"));
            response.headers_mut().insert(CONTENT_RANGE, range);
            return (response, None);
        }
        (Selection::Part(first, last), Some(_)) => (*first, Some(last + 1)),
        // Without a length there are no ranges.
        _ => (0, length),
    };

    let fields = response.headers_mut();
    fields.clone_from(kept);
    if let (Some(length), Some(end)) = (length, end) {
        fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        fields.insert(CONTENT_LENGTH, (end - first).into());
        if let Selection::Part(..) = selection {
            let range = number(format!("bytes {first}-{}/{length}", end - 1));
            fields.insert(CONTENT_RANGE, range);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
    }
    (response, is_get.then_some((first, end)))
}

#[expect(clippy::unwrap_used, reason = "visible ASCII is a value")]
fn number(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap()
}
