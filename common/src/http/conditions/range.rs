//! Parses `Range` (RFC 9110, section 14): one range of bytes.

use http::{HeaderMap, header};

/// What a `Range` field asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// The bytes from the first to the last, both included and both in the file.
    Part(u64, u64),
    /// No byte that is in the file.
    Unsatisfiable,
}

/// `None` if the whole file is to be sent: for no range, several, another unit, or a syntax error.
pub(super) fn parse(fields: &HeaderMap, length: u64) -> Option<Range> {
    let mut lines = fields.get_all(header::RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let (unit, set) = line.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges = set.split(',').map(str::trim).filter(|range| !range.is_empty());
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return None };

    let (first, last) = range.split_once('-')?;
    let (first, last) = match (number(first), number(last)) {
        (Some(_), Some(_)) if is_less(last, first) => return None,
        (Some(first), Some(last)) => (first, last.min(length.saturating_sub(1))),
        (Some(first), None) if last.is_empty() => (first, length.saturating_sub(1)),
        // The last bytes of an empty file are all of it (14.1.2), and no Content-Range says so.
        (None, Some(1..)) if first.is_empty() && length == 0 => return None,
        (None, Some(suffix)) if first.is_empty() => (
            if suffix == 0 { length } else { length.saturating_sub(suffix) },
            length.saturating_sub(1),
        ),
        _ => return None,
    };
    Some(if first < length { Range::Part(first, last) } else { Range::Unsatisfiable })
}

/// Parses digits. A number above 64 bits counts as the largest one.
fn number(digits: &str) -> Option<u64> {
    let are_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Compares decimal numbers of any size.
fn is_less(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|digits| digits.trim_start_matches('0'));
    (one.len(), one) < (other.len(), other)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn range(value: &'static str, length: u64) -> Option<Range> {
        let mut fields = HeaderMap::new();
        fields.insert(header::RANGE, HeaderValue::from_static(value));
        parse(&fields, length)
    }

    #[test]
    fn selects_the_bytes_that_are_asked_for() {
        for (value, first, last) in [
            ("bytes=0-0", 0, 0),
            ("bytes=0-", 0, 99),
            ("bytes=99-", 99, 99),
            ("bytes=10-19", 10, 19),
            ("bytes=10-1000", 10, 99),
            ("bytes=10-99999999999999999999999", 10, 99),
            ("bytes=9-010", 9, 10),
            ("bytes=-1", 99, 99),
            ("bytes=-1000", 0, 99),
            ("Bytes=5-6", 5, 6),
            ("bytes= 5-6 ,", 5, 6),
        ] {
            assert_eq!(range(value, 100), Some(Range::Part(first, last)), "{value}");
        }
    }

    #[test]
    fn counts_beyond_four_gigabytes() {
        let six_gib = 6 << 30;
        assert_eq!(range("bytes=5368709120-", six_gib), Some(Range::Part(5 << 30, six_gib - 1)));
    }

    #[test]
    fn says_when_no_byte_is_in_the_file() {
        for value in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(range(value, 100), Some(Range::Unsatisfiable), "{value}");
        }
        for value in ["bytes=0-", "bytes=0-0", "bytes=5-", "bytes=-0"] {
            assert_eq!(range(value, 0), Some(Range::Unsatisfiable), "{value}");
        }
        for value in ["bytes=-5", "bytes=-99999999999999999999999"] {
            assert_eq!(range(value, 0), None, "{value}");
        }
    }

    #[test]
    fn ignores_what_is_not_one_range_of_bytes() {
        for value in [
            "bytes=0-1,3-4",
            "bytes=",
            "bytes=-",
            "bytes=5",
            "bytes=6-5",
            "bytes=010-9",
            "bytes=99999999999999999999999-99999999999999999999998",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-x",
            "bytes 0-1",
            "lines=0-1",
            "",
        ] {
            assert_eq!(range(value, 100), None, "{value}");
        }
        let mut twice = HeaderMap::new();
        twice.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        twice.append(header::RANGE, HeaderValue::from_static("bytes=3-4"));
        assert_eq!(parse(&twice, 100), None);
    }
}
