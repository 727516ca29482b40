//! Searches lists of entity tags (RFC 9110, sections 8.8.3 and 13.1.1).

use http::HeaderValue;

/// By the strong comparison: weak tags do not count. `None` if a line cannot be parsed.
pub(super) fn include<'a>(
    lines: impl IntoIterator<Item = &'a HeaderValue>,
    tag: &[u8],
) -> Option<bool> {
    any(lines, |is_weak, listed| !is_weak && listed == tag)
}

/// By the weak comparison. `None` if a line cannot be parsed.
pub(super) fn weakly_include<'a>(
    lines: impl IntoIterator<Item = &'a HeaderValue>,
    tag: &[u8],
) -> Option<bool> {
    let opaque = tag.strip_prefix(b"W/").unwrap_or(tag);
    any(lines, |_, listed| listed == opaque)
}

fn any<'a>(
    lines: impl IntoIterator<Item = &'a HeaderValue>,
    is_it: impl Fn(bool, &[u8]) -> bool,
) -> Option<bool> {
    let mut found = false;
    for line in lines {
        let mut rest = line.as_bytes().trim_ascii();
        if rest == b"*" {
            found = true;
            continue;
        }
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix(b",") {
                rest = tail.trim_ascii_start();
                continue;
            }
            let (is_weak, from_quote) = match rest.strip_prefix(b"W/") {
                Some(tail) => (true, tail),
                None => (false, rest),
            };
            let length = quoted(from_quote)?;
            found |= is_it(is_weak, &from_quote[..length]);
            rest = from_quote[length..].trim_ascii_start();
            if !rest.is_empty() && rest[0] != b',' {
                return None;
            }
        }
    }
    Some(found)
}

/// The length of the quoted tag at the start, quotes included.
fn quoted(bytes: &[u8]) -> Option<usize> {
    let inner = bytes.strip_prefix(b"\"")?;
    let length = inner.iter().position(|byte| *byte == b'"')?;
    inner[..length].iter().all(|byte| *byte > b' ' && *byte != 0x7f).then_some(length + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(line: &'static str) -> Option<bool> {
        include(&[HeaderValue::from_static(line)], b"\"b\"")
    }

    #[test]
    fn finds_a_tag_in_a_list() {
        for line in
            ["\"b\"", "\"a\",\"b\"", "\"a\" , \"b\" ,", ",,\"b\"", "*", " \"b\" ", "\",\", \"b\""]
        {
            assert_eq!(includes(line), Some(true), "{line}");
        }
        for line in ["\"a\"", "W/\"b\"", "\"\"", "\"B\"", ""] {
            assert_eq!(includes(line), Some(false), "{line}");
        }
    }

    #[test]
    fn says_when_a_list_cannot_be_parsed() {
        for line in ["b", "\"b", "\"b\"x", "\"b\" \"b\"", "w/\"b\"", "*, \"b\"", "\"a b\""] {
            assert_eq!(includes(line), None, "{line}");
        }
    }
}
