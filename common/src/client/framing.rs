//! The length of an answer's body, by its header fields (RFC 9112, 6). An answer is refused if its
//! receiver could find another end, or another coding, in it.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::crossing::{has, members};

/// Checks the fields of an answer, and merges several equal `Content-Length` fields into one.
///
/// # Errors
///
/// What is wrong with them, in words.
pub(super) fn check(fields: &mut HeaderMap, has_body: bool) -> Result<(), String> {
    if has(fields, &TRANSFER_ENCODING) {
        return if has_body { check_codings(fields) } else { Ok(()) };
    }
    // Comparing all names is faster than a hash, as in [`has`].
    let mut lengths = fields.iter().filter(|(name, _)| *name == CONTENT_LENGTH);
    match (lengths.next(), lengths.next()) {
        (None, _) => return Ok(()),
        (Some((_, only)), None) if number(only.as_bytes()).is_some() => return Ok(()),
        _ => {}
    }
    let mut lengths = members(fields, CONTENT_LENGTH).map(number);
    let first = lengths.next().flatten();
    let Some(length) = first.filter(|_| lengths.all(|other| other == first)) else {
        return Err(format!("its Content-Length is {}", shown(fields, CONTENT_LENGTH)));
    };
    drop(lengths);
    fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(())
}

/// `chunked` belongs to one connection and is not passed on, so no other coding may be combined
/// with it.
fn check_codings(fields: &HeaderMap) -> Result<(), String> {
    let is = |coding: &[u8], name: &str| coding.eq_ignore_ascii_case(name.as_bytes());
    let mut codings =
        members(fields, TRANSFER_ENCODING).skip_while(|coding| is(coding, "identity"));
    match (codings.next(), codings.next()) {
        (Some(coding), None) if is(coding, "chunked") => Ok(()),
        (None, _) if members(fields, TRANSFER_ENCODING).next().is_some() => Ok(()),
        _ => Err(format!("its Transfer-Encoding is {}", shown(fields, TRANSFER_ENCODING))),
    }
}

fn number(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok()
}

/// The values of a field, at most 200 characters of them.
fn shown(fields: &HeaderMap, name: HeaderName) -> String {
    let values = fields.get_all(name).into_iter().map(|value| value.as_bytes());
    let values = values.collect::<Vec<_>>().join(&b", "[..]);
    format!("{:?}", String::from_utf8_lossy(&values).chars().take(200).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(&name, HeaderValue::from_str(value).unwrap());
        }
        fields
    }

    #[test]
    fn several_lengths_are_one_where_they_are_equal() {
        for (values, length) in [
            (&["5"][..], Ok("5")),
            (&["5", "5"], Ok("5")),
            (&["5, 5"], Ok("5")),
            (&["5,5", "5"], Ok("5")),
            (&["05", "5"], Ok("5")),
            (&["5", "6"], Err(r#"its Content-Length is "5, 6""#)),
            (&["5, 6"], Err(r#"its Content-Length is "5, 6""#)),
            (&["5", ""], Ok("5")),
            (&[""], Err(r#"its Content-Length is """#)),
            (&["+5"], Err(r#"its Content-Length is "+5""#)),
            (&["0x5"], Err(r#"its Content-Length is "0x5""#)),
            (&["-1", "-1"], Err(r#"its Content-Length is "-1, -1""#)),
            (&["18446744073709551616"], Err(r#"its Content-Length is "18446744073709551616""#)),
        ] {
            for has_body in [true, false] {
                let mut fields = fields(CONTENT_LENGTH, values);
                let checked = check(&mut fields, has_body);
                assert_eq!(checked.as_ref().err().map(String::as_str), length.err(), "{values:?}");
                if let Ok(length) = length {
                    assert!(fields.get_all(CONTENT_LENGTH).into_iter().eq([length]), "{values:?}");
                }
            }
        }
    }

    #[test]
    fn a_long_field_is_quoted_in_part() {
        let long = "\u{e9}".repeat(10_000);
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING] {
            let fault = check(&mut fields(name.clone(), &[&long, &long]), true).unwrap_err();
            assert!(fault.ends_with(&format!("is \"{}\"", "\u{e9}".repeat(200))), "{fault}");
        }
    }

    #[test]
    fn a_coding_that_is_not_passed_on_is_refused() {
        for (values, is_passed_on) in [
            (&["chunked"][..], true),
            (&["Chunked"], true),
            (&["identity"], true),
            (&["identity, chunked"], true),
            (&["identity", "chunked"], true),
            (&["gzip, chunked"], false),
            (&["gzip", "chunked"], false),
            (&["chunked, chunked"], false),
            (&["chunked, identity"], false),
            (&["chunked, gzip"], false),
            (&["gzip"], false),
            (&["chunked;x=1"], false),
            (&["x\u{e9}, chunked"], false),
            (&[""], false),
        ] {
            let mut head = fields(TRANSFER_ENCODING, values);
            assert_eq!(check(&mut head, true).is_ok(), is_passed_on, "{values:?}");
            assert!(check(&mut head, false).is_ok(), "there is no body that it is about");
        }
    }
}
