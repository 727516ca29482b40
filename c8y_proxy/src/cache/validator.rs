//! The validators of entries, and which answers are cached.

use std::time::{Duration, SystemTime};

use common::http::{Body, crossing};
use http::header::{
    ACCEPT_RANGES, AGE, ALT_SVC, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    DATE, ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, SET_COOKIE,
    VARY, WWW_AUTHENTICATE,
};
use http::{HeaderValue, Response, StatusCode};
use http_body::Body as _;

use super::key::{members, says};
use super::status::CACHE_STATUS;

/// Fields in which all requests differ, or that the cache handles itself: it requests no encoding,
/// and only with the device's credentials.
const ALWAYS_THE_SAME: [&str; 2] = ["accept-encoding", "authorization"];

/// Fields that belong to one answer, not to the entry.
const OF_ONE_ANSWER: [HeaderName; 9] = [
    SET_COOKIE,
    HeaderName::from_static("set-cookie2"),
    DATE,
    AGE,
    ACCEPT_RANGES,
    CACHE_STATUS,
    WWW_AUTHENTICATE,
    ALT_SVC,
    CONTENT_LENGTH,
];

/// What distinguishes the version of an entry from upstream's current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Validator {
    /// The field `ETag`.
    Tag,
    /// The field `Last-Modified`.
    Date,
    /// When the managed object was last updated. Its length is that of the binary.
    Object(String),
}

/// The inventory's description of a binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) updated: String,
    pub(super) length: Option<u64>,
}

impl Validator {
    /// The validator in the fields of an answer. A date counts only if the resource cannot have
    /// changed again within its second (RFC 9110, 8.8.2.2).
    pub(super) fn of(fields: &HeaderMap) -> Option<Self> {
        if fields.get(ETAG).is_some_and(is_tag) {
            return Some(Self::Tag);
        }
        let (modified, now) = (date(fields, LAST_MODIFIED)?, date(fields, DATE)?);
        (modified + Duration::from_secs(1) <= now).then_some(Self::Date)
    }

    /// The condition that requests any other version. `None` if there is no such condition.
    pub(super) fn condition(&self, fields: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Tag => Some((IF_NONE_MATCH, fields.get(ETAG)?.clone())),
            Self::Date => Some((IF_MODIFIED_SINCE, fields.get(LAST_MODIFIED)?.clone())),
            Self::Object(_) => None,
        }
    }

    /// The value of `If-Range` for this version, if there is one.
    pub(super) fn range_condition<'a>(&self, fields: &'a HeaderMap) -> Option<&'a HeaderValue> {
        match self {
            Self::Tag => fields.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")),
            Self::Date => fields.get(LAST_MODIFIED),
            Self::Object(_) => None,
        }
    }
}

/// Whether the value of `ETag` is one entity tag (RFC 9110, 8.8.3).
fn is_tag(value: &HeaderValue) -> bool {
    let tag = value.as_bytes();
    let opaque = tag.strip_prefix(b"W/").unwrap_or(tag);
    opaque.len() > 1
        && opaque[0] == b'"'
        && opaque[1..].iter().position(|b| *b == b'"') == Some(opaque.len() - 2)
}

fn date(fields: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(fields.get(name)?.to_str().ok()?).ok()
}

/// How upstream's answer may be cached; `None`: it may not. `object` is the inventory's description
/// just before.
pub(super) fn keepable(response: &Response<Body>, object: Option<Object>) -> Option<Validator> {
    let fields = response.headers();
    let has = |name: HeaderName| fields.contains_key(name);
    let is_kept = response.status() == StatusCode::OK
        && !has(CONTENT_ENCODING)
        && !has(CONTENT_RANGE)
        && may_be_kept(fields);
    if !is_kept {
        return None;
    }
    let length = response.body().size_hint().exact();
    let of_object = object
        .filter(|object| object.length.is_none() || length.is_none() || object.length == length);
    Validator::of(fields).or_else(|| of_object.map(|object| Validator::Object(object.updated)))
}

/// Whether the answer may be cached (RFC 9111, 4.1 and 5.2.2). `private="name"` forbids it too.
pub(super) fn may_be_kept(fields: &HeaderMap) -> bool {
    !says(fields, &["no-store", "private"]) && members(fields, VARY).iter().all(|name| name != "*")
}

/// Replaces the fields of the entry by those of a `304 Not Modified`, except those that describe
/// its body (RFC 9111, 3.2 and 4.3.4).
pub(super) fn update(kept: &mut HeaderMap, mut confirmed: HeaderMap) {
    crossing::to_client(&mut confirmed);
    strip(&mut confirmed);
    for name in [CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED] {
        confirmed.remove(name);
    }
    for name in confirmed.keys() {
        kept.remove(name.clone());
    }
    copy(&confirmed, kept, |_| true);
}

/// Adds the fields of these names.
pub(super) fn copy(from: &HeaderMap, to: &mut HeaderMap, is_named: impl Fn(&HeaderName) -> bool) {
    for (name, value) in from {
        if is_named(name) {
            to.append(name, value.clone());
        }
    }
}

/// Whether the answer to a request without these fields also answers one with them.
pub(super) fn answers(kept: &HeaderMap, asked: &HeaderMap) -> bool {
    members(kept, VARY).into_iter().all(|name| {
        let has = |name| asked.contains_key::<HeaderName>(name);
        ALWAYS_THE_SAME.contains(&&*name) || !HeaderName::try_from(name).is_ok_and(has)
    })
}

/// Whether the answer may be served without asking upstream (RFC 9111, 5.2.2).
pub(super) fn may_be_stale(fields: &HeaderMap) -> bool {
    !says(fields, &["no-cache", "must-revalidate", "proxy-revalidate"])
}

/// Removes the fields that belong to one answer, not to the entry.
pub(super) fn strip(fields: &mut HeaderMap) {
    for name in OF_ONE_ANSWER {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(fields: &[(&'static str, &str)]) -> Response<Body> {
        let mut response = Response::new(Body::text("body"));
        for (name, value) in fields {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    }

    fn kept(fields: &[(&'static str, &str)]) -> Option<Validator> {
        keepable(&answer(fields), None)
    }

    const AT: (&str, &str) = ("date", "Thu, 01 Jan 1970 00:16:41 GMT");

    #[test]
    fn an_answer_is_kept_if_it_says_which_version_it_is() {
        assert_eq!(kept(&[("etag", "\"a\"")]), Some(Validator::Tag));
        assert_eq!(kept(&[("etag", "W/\"a\"")]), Some(Validator::Tag));
        for tag in ["a", "a\"", "\"", "\"a\", \"b\"", "w/\"a\""] {
            assert_eq!(kept(&[("etag", tag)]), None, "{tag}");
        }
        let modified = |seconds| ("last-modified", seconds);
        let before = modified("Thu, 01 Jan 1970 00:16:40 GMT");
        assert_eq!(kept(&[AT, before]), Some(Validator::Date));
        assert_eq!(kept(&[before]), None);
        assert_eq!(kept(&[AT, modified("Thu, 01 Jan 1970 00:16:41 GMT")]), None);
        let object = |length| Some(Object { updated: "now".into(), length });
        assert_eq!(kept(&[]), None);
        let by_object = Some(Validator::Object("now".into()));
        assert_eq!(keepable(&answer(&[]), object(Some(4))), by_object);
        assert_eq!(keepable(&answer(&[]), object(None)), by_object);
        assert_eq!(keepable(&answer(&[]), object(Some(5))), None);
    }

    #[test]
    fn what_must_not_be_kept_is_not() {
        let tag = ("etag", "\"a\"");
        for field in [
            ("cache-control", "no-store"),
            ("cache-control", "max-age=9, No-Store=\"1\""),
            ("cache-control", "max-age=1, Private"),
            ("cache-control", "private=\"x\""),
            ("cache-control", "no-store;"),
            ("cache-control", "max-age=1 no-store"),
            ("cache-control", "\u{e9}, no-store"),
            ("content-encoding", "gzip"),
            ("content-range", "bytes 0-3/9"),
            ("vary", "*"),
        ] {
            assert_eq!(kept(&[tag, field]), None, "{field:?}");
        }
        for field in [("cache-control", "no-cache"), ("vary", "Accept-Encoding, Origin")] {
            assert_eq!(kept(&[tag, field]), Some(Validator::Tag), "{field:?}");
        }
        let mut partial = answer(&[tag]);
        *partial.status_mut() = StatusCode::PARTIAL_CONTENT;
        assert_eq!(keepable(&partial, None), None);
    }

    #[test]
    fn an_answer_that_depends_on_a_field_is_for_requests_without_it() {
        let kept = answer(&[("vary", "Accept-Encoding, Origin")]).into_parts().0.headers;
        let asked = |name| answer(&[(name, "x")]).into_parts().0.headers;
        assert!(answers(&kept, &asked("accept-encoding")));
        assert!(!answers(&kept, &asked("origin")));
    }
}
