//! The input is a length on a line, then field lines; `$` stands for the file's entity tag.
//! Ranges lie within the file and are the ones asked for; preconditions agree with each other.

use std::str::FromStr;
use std::time::SystemTime;

use common::http::conditions::{Preconditions, Selection};
use common::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::conditions::{self, etag};
use crate::storage::{Condition, Version};

/// Long after the file was written.
fn select(fields: &HeaderMap, is_get: bool, version: &Version) -> Selection {
    conditions::select(fields, is_get, version, etag(version).as_bytes(), SystemTime::now())
}

/// Panics where something does not hold.
pub fn check(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let length = std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let length = u64::from_str(length).unwrap_or(100);
    let version = Version { seconds: 1000, nanoseconds: 5, length, inode: 7, mode: 0o644 };
    let tag = etag(&version);
    let fields = fields(lines, tag.as_bytes());

    let get = select(&fields, true, &version);
    let head = select(&fields, false, &version);
    match get {
        Selection::Part(first, last) => {
            assert!(first <= last && last < length, "{first}-{last} of {length}");
        }
        Selection::Whole | Selection::Unsatisfiable => {}
        Selection::NotModified | Selection::Failed => assert_eq!(get, head),
    }
    if matches!(get, Selection::Whole | Selection::Part(..) | Selection::Unsatisfiable) {
        assert_eq!(head, Selection::Whole, "a HEAD has no range");
    }

    check_range(&fields, &version);
    check_preconditions(&fields, &version, &tag, &get);
}

fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>, tag: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let value: Vec<_> = line[colon + 1..]
            .trim_ascii()
            .iter()
            .flat_map(|byte| if *byte == b'$' { tag } else { std::slice::from_ref(byte) })
            .copied()
            .collect();
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&value)) {
            fields.append(name, value);
        }
    }
    fields
}

/// Without conditions, the range alone decides.
fn check_range(fields: &HeaderMap, version: &Version) {
    let mut alone = HeaderMap::new();
    for value in fields.get_all(header::RANGE) {
        alone.append(header::RANGE, value.clone());
    }
    let lines: Vec<_> = alone.get_all(header::RANGE).iter().collect();
    let expected = match lines[..] {
        [line] => line.to_str().ok().and_then(|line| plain(line, version.length.into())),
        _ => None,
    };
    assert_eq!(select(&alone, true, version), expected.unwrap_or(Selection::Whole), "{lines:?}");
}

/// RFC 9110, section 14.1.2, in numbers that cannot overflow.
fn plain(line: &str, length: u128) -> Option<Selection> {
    let (unit, set) = line.split_once('=')?;
    let items: Vec<_> = set.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    let [item] = items[..] else { return None };
    let (first, last) = item.split_once('-')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !unit.trim().eq_ignore_ascii_case("bytes") || !is_number(first) || !is_number(last) {
        return None;
    }
    let number = |text: &str| match text.trim_start_matches('0') {
        "" => 0,
        long if long.len() > 30 => u128::MAX,
        digits => digits.parse().unwrap_or(u128::MAX),
    };
    let (first, last) = match (first, last) {
        ("", "") => return None,
        ("", suffix) if length == 0 && number(suffix) > 0 => return None,
        ("", suffix) => (length - length.min(number(suffix)), u128::MAX),
        (first, "") => (number(first), u128::MAX),
        (first, last) => (number(first), number(last)),
    };
    if first > last {
        return None;
    }
    if first >= length {
        return Some(Selection::Unsatisfiable);
    }
    let last = last.min(length - 1);
    Some(Selection::Part(u64::try_from(first).ok()?, u64::try_from(last).ok()?))
}

fn check_preconditions(fields: &HeaderMap, version: &Version, tag: &str, get: &Selection) {
    let admits = |fields: &HeaderMap, version| Preconditions::of(fields).holds(version);
    let mut changed = fields.clone();
    changed.remove(header::IF_NONE_MATCH);
    assert_eq!(!admits(&changed, Some(version)), *get == Selection::Failed, "GET and PUT differ");

    let has_if_match = fields.contains_key(header::IF_MATCH);
    assert!(!(has_if_match && admits(fields, None)), "no file matches, yet there is none");

    // A list that makes sense and lacks the tag has it once it is appended.
    let mut lacking = HeaderMap::new();
    let lines: Vec<_> = fields.get_all(header::IF_NONE_MATCH).iter().collect();
    let [line] = lines[..] else { return };
    lacking.insert(header::IF_NONE_MATCH, line.clone());
    if admits(&lacking, Some(version)) {
        assert_eq!(select(&lacking, true, version), Selection::Whole);
        let value = [line.as_bytes(), b",W/", tag.as_bytes()].concat();
        let value = HeaderValue::from_bytes(&value).unwrap();
        lacking.insert(header::IF_NONE_MATCH, value);
        assert!(!admits(&lacking, Some(version)), "{lacking:?}");
        assert_eq!(select(&lacking, true, version), Selection::NotModified);
    }
}
