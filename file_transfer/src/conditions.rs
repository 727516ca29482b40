//! The validators of a file, and the result of a request's conditional fields.

use std::time::{Duration, SystemTime};

use common::http::HeaderMap;
use common::http::conditions::{self, Preconditions, Selection, Validators};

use crate::storage::{Condition, Version};

/// The maximum length of an entity tag, in bytes.
const LONGEST_TAG: usize = 5 + 16 + 8 + 16 + 16;
/// 9999-12-31T23:59:59Z: an HTTP date has four digits for the year.
const LAST_DATE: u64 = 253_402_300_799;

/// Evaluates the conditional fields of a GET or a HEAD of a file. `tag` is the file's [`etag`], and
/// `now` the time of the request.
pub(crate) fn select(
    fields: &HeaderMap,
    is_get: bool,
    version: &Version,
    tag: &[u8],
    now: SystemTime,
) -> Selection {
    conditions::select(fields, is_get, validators(version, tag), version.length, now)
}

fn validators<'a>(version: &Version, tag: &'a [u8]) -> Validators<'a> {
    Validators { tag, modified: Some(modified(version)) }
}

impl Condition for Preconditions {
    fn holds(&self, version: Option<&Version>) -> bool {
        let tag = version.map(etag).unwrap_or_default();
        self.hold(version.map(|version| validators(version, tag.as_bytes())))
    }
}

/// A strong validator: two versions that differ in a byte have different tags.
pub(crate) fn etag(version: &Version) -> String {
    let Version { seconds, nanoseconds, length, inode, .. } = version;
    let mut tag = Vec::with_capacity(LONGEST_TAG);
    let numbers = [*seconds as u64, u64::from(*nanoseconds), *length, *inode];
    for (before, number) in b"\".--".iter().zip(numbers) {
        tag.push(*before);
        // As `{:x}`, in a tenth of the instructions.
        let digits = (u64::BITS - (number | 1).leading_zeros()).div_ceil(4);
        for place in (0..digits).rev() {
            tag.push(b"0123456789abcdef"[(number >> (4 * place) & 0xf) as usize]);
        }
    }
    tag.push(b'"');
    String::from_utf8(tag).unwrap_or_default()
}

/// When the file was written, in whole seconds, as in an HTTP date.
pub(crate) fn modified(version: &Version) -> SystemTime {
    let seconds = u64::try_from(version.seconds).unwrap_or(0).min(LAST_DATE);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use common::http::HeaderValue;
    use common::http::conditions::Selection;

    use super::*;

    const STRONG_AGE: Duration = Duration::from_secs(60);

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
        select(&fields(lines), true, &FILE, TAG.as_bytes(), modified(&FILE) + STRONG_AGE)
    }

    #[test]
    fn a_tag_is_written_in_hexadecimal() {
        let mut version = FILE;
        for number in [0, 1, 15, 16, 255, 0x1234_5678_9abc_def0, u64::MAX] {
            (version.seconds, version.length, version.inode) = (number as i64, number, !number);
            let (tag, rest) = (etag(&version), !number);
            assert_eq!(tag, format!("\"{number:x}.5-{number:x}-{rest:x}\""));
            assert!(tag.len() <= LONGEST_TAG);
        }
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
        assert_eq!(
            select(&fields(&[range]), false, &FILE, TAG.as_bytes(), later),
            Selection::Whole
        );
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
            assert_eq!(select(&fields, true, &FILE, TAG.as_bytes(), now), selected, "{now:?}");
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
