//! Evaluates validators, preconditions and ranges, in the order of RFC 9110, section 13.2.2. Knows
//! no disk, no clock and no response.

mod range;
mod tags;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header};

/// How a GET or HEAD is answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Selection {
    /// The whole file: 200.
    Whole,
    /// The bytes from the first to the last, both included: 206.
    Part(u64, u64),
    /// The client has it already: 304.
    NotModified,
    /// A precondition failed: 412.
    Failed,
    /// No byte of the range is in the file: 416.
    Unsatisfiable,
}

/// The minimum age of a file for its date to be a strong validator. A younger file may be the
/// second version within one second (two on FAT), or the clock was set back (RFC 9110, section
/// 8.8.2.2).
const STRONG_AGE: Duration = Duration::from_secs(60);

/// Identifies a version of a resource.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// The entity tag, as it is sent; empty if there is none.
    pub tag: &'a [u8],
    /// When it was modified, in whole seconds.
    pub modified: Option<SystemTime>,
}

/// Evaluates the conditional fields of a GET or a HEAD that arrives `now`, of a resource of this
/// length in bytes.
pub fn select(
    fields: &HeaderMap,
    is_get: bool,
    of: Validators<'_>,
    length: u64,
    now: SystemTime,
) -> Selection {
    let is_conditional = fields.keys().any(|name| {
        let name = name.as_str().as_bytes();
        name == b"range" || name.starts_with(b"if-")
    });
    if !is_conditional {
        return Selection::Whole;
    }

    if !Preconditions::of(fields).is_unchanged(Some(of)) {
        return Selection::Failed;
    }
    let has_it = if fields.contains_key(header::IF_NONE_MATCH) {
        tags::weakly_include(fields.get_all(header::IF_NONE_MATCH), of.tag).unwrap_or(false)
    } else {
        date(fields, &header::IF_MODIFIED_SINCE)
            .zip(of.modified)
            .is_some_and(|(since, modified)| modified <= since)
    };
    if has_it {
        return Selection::NotModified;
    }

    match range::parse(fields, length) {
        _ if !is_get || !is_same(fields, of, now) => Selection::Whole,
        None => Selection::Whole,
        Some(range::Range::Part(first, last)) => Selection::Part(first, last),
        Some(range::Range::Unsatisfiable) => Selection::Unsatisfiable,
    }
}

/// `If-Range`: true for the strong tag, or for exactly the date that we send, if that is strong.
fn is_same(fields: &HeaderMap, of: Validators<'_>, now: SystemTime) -> bool {
    let Some(value) = fields.get(header::IF_RANGE) else { return true };
    value.as_bytes() == of.tag && !of.tag.starts_with(b"W/")
        || date(fields, &header::IF_RANGE)
            .is_some_and(|date| Some(date) == of.modified && date + STRONG_AGE <= now)
}

/// The preconditions of a PUT or a DELETE, which are checked more than once.
#[derive(Clone, Debug, Default)]
pub struct Preconditions {
    matches: Vec<HeaderValue>,
    none_matches: Vec<HeaderValue>,
    unmodified_since: Option<SystemTime>,
}

impl Preconditions {
    /// The preconditions of a request.
    pub fn of(fields: &HeaderMap) -> Self {
        Self {
            matches: fields.get_all(header::IF_MATCH).iter().cloned().collect(),
            none_matches: fields.get_all(header::IF_NONE_MATCH).iter().cloned().collect(),
            unmodified_since: date(fields, &header::IF_UNMODIFIED_SINCE),
        }
    }

    /// Whether they are true for this version; `None`: there is no file.
    pub fn hold(&self, there: Option<Validators<'_>>) -> bool {
        self.is_unchanged(there) && self.is_none(there)
    }

    /// `If-Match` or, if there is none, `If-Unmodified-Since`.
    fn is_unchanged(&self, there: Option<Validators<'_>>) -> bool {
        if !self.matches.is_empty() {
            return there
                .is_some_and(|there| tags::include(&self.matches, there.tag).unwrap_or(false));
        }
        match (self.unmodified_since, there.and_then(|there| there.modified)) {
            (Some(since), Some(modified)) => modified <= since,
            _ => true,
        }
    }

    /// `If-None-Match`. If it cannot be parsed, it is false.
    fn is_none(&self, there: Option<Validators<'_>>) -> bool {
        if self.none_matches.is_empty() {
            return true;
        }
        let tag = there.map_or(&b""[..], |there| there.tag);
        match tags::weakly_include(&self.none_matches, tag) {
            Some(includes) => there.is_none() || !includes,
            None => false,
        }
    }
}

/// A date that cannot be parsed is ignored (RFC 9110, sections 13.1.3 and 13.1.4).
fn date(fields: &HeaderMap, name: &header::HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(fields.get(name)?.to_str().ok()?).ok()
}
