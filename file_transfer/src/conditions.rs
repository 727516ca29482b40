//! Evaluates validators, preconditions and ranges, in the order of RFC 9110, section 13.2.2. Knows
//! no disk, no clock and no response.

mod range;
mod tags;

use std::time::{Duration, SystemTime};

use common::http::{HeaderMap, HeaderValue, header};

use crate::storage::{Condition, Version};

/// 9999-12-31T23:59:59Z: an HTTP date has four digits for the year.
const LAST_DATE: u64 = 253_402_300_799;

/// How a GET or HEAD is answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selection {
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

/// How old a file has to be for its date to be a strong validator. A younger one may be the second
/// version within a second, or in two on FAT, or the clock was set back (RFC 9110, section 8.8.2.2).
const STRONG_AGE: Duration = Duration::from_secs(60);

/// Evaluates the conditional fields of a GET or a HEAD that arrives `now`.
pub(crate) fn select(
    fields: &HeaderMap,
    is_get: bool,
    version: &Version,
    now: SystemTime,
) -> Selection {
    let is_conditional = fields.keys().any(|name| {
        let name = name.as_str().as_bytes();
        name == b"range" || name.starts_with(b"if-")
    });
    if !is_conditional {
        return Selection::Whole;
    }

    let tag = etag(version);
    if !Preconditions::of(fields).is_unchanged(Some(version), &tag) {
        return Selection::Failed;
    }
    let has_it = if fields.contains_key(header::IF_NONE_MATCH) {
        tags::weakly_include(fields.get_all(header::IF_NONE_MATCH), &tag).unwrap_or(false)
    } else {
        date(fields, &header::IF_MODIFIED_SINCE).is_some_and(|since| modified(version) <= since)
    };
    if has_it {
        return Selection::NotModified;
    }

    match range::parse(fields, version.length) {
        _ if !is_get || !is_same(fields, version, &tag, now) => Selection::Whole,
        None => Selection::Whole,
        Some(range::Range::Part(first, last)) => Selection::Part(first, last),
        Some(range::Range::Unsatisfiable) => Selection::Unsatisfiable,
    }
}

/// `If-Range`: holds for the strong tag, or for exactly the date that we send, once it is strong.
fn is_same(fields: &HeaderMap, version: &Version, tag: &str, now: SystemTime) -> bool {
    let Some(value) = fields.get(header::IF_RANGE) else { return true };
    value.as_bytes() == tag.as_bytes()
        || date(fields, &header::IF_RANGE)
            .is_some_and(|date| date == modified(version) && date + STRONG_AGE <= now)
}

/// The preconditions of a PUT or a DELETE, which are checked more than once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preconditions {
    matches: Vec<HeaderValue>,
    none_matches: Vec<HeaderValue>,
    unmodified_since: Option<SystemTime>,
}

impl Preconditions {
    pub(crate) fn of(fields: &HeaderMap) -> Self {
        Self {
            matches: fields.get_all(header::IF_MATCH).iter().cloned().collect(),
            none_matches: fields.get_all(header::IF_NONE_MATCH).iter().cloned().collect(),
            unmodified_since: date(fields, &header::IF_UNMODIFIED_SINCE),
        }
    }

    /// `If-Match`, or without it `If-Unmodified-Since`.
    fn is_unchanged(&self, version: Option<&Version>, tag: &str) -> bool {
        if !self.matches.is_empty() {
            return version.is_some() && tags::include(&self.matches, tag).unwrap_or(false);
        }
        match (self.unmodified_since, version) {
            (Some(since), Some(version)) => modified(version) <= since,
            _ => true,
        }
    }

    /// `If-None-Match`. If it cannot be parsed, it does not hold.
    fn is_none(&self, version: Option<&Version>, tag: &str) -> bool {
        if self.none_matches.is_empty() {
            return true;
        }
        match tags::weakly_include(&self.none_matches, tag) {
            Some(includes) => version.is_none() || !includes,
            None => false,
        }
    }
}

impl Condition for Preconditions {
    fn holds(&self, version: Option<&Version>) -> bool {
        let tag = version.map(etag).unwrap_or_default();
        self.is_unchanged(version, &tag) && self.is_none(version, &tag)
    }
}

/// A strong validator: versions that differ in a byte have different tags.
pub(crate) fn etag(version: &Version) -> String {
    let Version { seconds, nanoseconds, length, inode, .. } = version;
    format!("\"{seconds:x}.{nanoseconds:x}-{length:x}-{inode:x}\"")
}

/// When the file was written, in whole seconds, as in an HTTP date.
pub(crate) fn modified(version: &Version) -> SystemTime {
    let seconds = u64::try_from(version.seconds).unwrap_or(0).min(LAST_DATE);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A date that cannot be parsed is ignored (RFC 9110, sections 13.1.3 and 13.1.4).
fn date(fields: &HeaderMap, name: &header::HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(fields.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Version =
        Version { seconds: 1000, nanoseconds: 5, length: 100, inode: 7, mode: 0o644 };
    const TAG: &str = "\"3e8.5-64-7\"";
    const WHEN: &str = "Thu, 01 Jan 1970 00:16:40 GMT";
    const BEFORE: &str = "Thu, 01 Jan 1970 00:16:39 GMT";

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_str(value).unwrap());
        }
        fields
    }

    fn get(lines: &[(&'static str, &str)]) -> Selection {
        select(&fields(lines), true, &FILE, modified(&FILE) + STRONG_AGE)
    }

    #[test]
    fn says_not_modified_if_the_client_has_this_version() {
        assert_eq!(get(&[]), Selection::Whole);
        assert_eq!(get(&[("if-none-match", TAG)]), Selection::NotModified);
        assert_eq!(get(&[("if-none-match", &format!("W/{TAG}"))]), Selection::NotModified);
        assert_eq!(get(&[("if-none-match", "*")]), Selection::NotModified);
        assert_eq!(get(&[("if-none-match", "\"a\", \"b\"")]), Selection::Whole);
        assert_eq!(get(&[("if-modified-since", WHEN)]), Selection::NotModified);
        assert_eq!(get(&[("if-modified-since", BEFORE)]), Selection::Whole);
        assert_eq!(get(&[("if-modified-since", "yesterday")]), Selection::Whole);
    }

    #[test]
    fn a_tag_takes_precedence_over_a_date() {
        let other_tag = [("if-none-match", "\"a\""), ("if-modified-since", WHEN)];
        assert_eq!(get(&other_tag), Selection::Whole);
        let same_tag = [("if-match", TAG), ("if-unmodified-since", BEFORE)];
        assert_eq!(get(&same_tag), Selection::Whole);
    }

    #[test]
    fn fails_if_the_client_expects_another_version() {
        assert_eq!(get(&[("if-match", "\"a\"")]), Selection::Failed);
        assert_eq!(get(&[("if-match", &format!("W/{TAG}"))]), Selection::Failed);
        assert_eq!(get(&[("if-match", "nonsense")]), Selection::Failed);
        assert_eq!(get(&[("if-unmodified-since", BEFORE)]), Selection::Failed);
        let first_things_first = [("if-match", "\"a\""), ("if-none-match", TAG)];
        assert_eq!(get(&first_things_first), Selection::Failed);
    }

    #[test]
    fn gives_a_range_of_the_version_that_the_client_knows() {
        let range = ("range", "bytes=10-19");
        assert_eq!(get(&[range]), Selection::Part(10, 19));
        assert_eq!(get(&[range, ("if-range", TAG)]), Selection::Part(10, 19));
        assert_eq!(get(&[range, ("if-range", WHEN)]), Selection::Part(10, 19));
        assert_eq!(get(&[range, ("if-range", &format!("W/{TAG}"))]), Selection::Whole);
        assert_eq!(get(&[range, ("if-range", BEFORE)]), Selection::Whole);
        assert_eq!(get(&[range, ("if-none-match", TAG)]), Selection::NotModified);
        assert_eq!(get(&[("range", "bytes=100-")]), Selection::Unsatisfiable);
        assert_eq!(get(&[("range", "bytes=100-"), ("if-range", "\"a\"")]), Selection::Whole);
        let later = modified(&FILE) + STRONG_AGE;
        assert_eq!(select(&fields(&[range]), false, &FILE, later), Selection::Whole);
    }

    #[test]
    fn gives_no_range_by_the_date_of_a_file_that_is_young_or_from_the_future() {
        let fields = fields(&[("range", "bytes=10-19"), ("if-range", WHEN)]);
        for (now, selected) in [
            (1000 + 60, Selection::Part(10, 19)),
            (1000 + 59, Selection::Whole),
            (1000, Selection::Whole),
            (999, Selection::Whole),
            (0, Selection::Whole),
        ] {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
            assert_eq!(select(&fields, true, &FILE, now), selected, "{now:?}");
        }
    }

    #[test]
    fn allows_a_change_of_the_version_that_the_client_knows() {
        let holds = |lines: &[(&'static str, &str)], version: Option<&Version>| {
            Preconditions::of(&fields(lines)).holds(version)
        };
        for (lines, on_file, on_nothing) in [
            (&[][..], true, true),
            (&[("if-match", TAG)], true, false),
            (&[("if-match", "*")], true, false),
            (&[("if-match", "\"a\"")], false, false),
            (&[("if-none-match", "*")], false, true),
            (&[("if-none-match", TAG)], false, true),
            (&[("if-none-match", "\"a\"")], true, true),
            (&[("if-none-match", "a")], false, false),
            (&[("if-none-match", "\"a\""), ("if-none-match", TAG)], false, true),
            (&[("if-unmodified-since", WHEN)], true, true),
            (&[("if-unmodified-since", BEFORE)], false, true),
        ] {
            assert_eq!(holds(lines, Some(&FILE)), on_file, "{lines:?}");
            assert_eq!(holds(lines, None), on_nothing, "{lines:?}");
        }
    }

    #[test]
    fn any_time_on_the_disk_is_a_date() {
        for seconds in [i64::MIN, -1, 0, i64::MAX] {
            httpdate::fmt_http_date(modified(&Version { seconds, ..FILE }));
        }
    }
}
