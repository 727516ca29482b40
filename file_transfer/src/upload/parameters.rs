//! Parses the parameters of a media type or a content disposition: `; name=value` and
//! `; name="value"`.

/// The value of a parameter, unquoted.
pub(crate) fn parameter(field: &[u8], wanted: &str) -> Option<Vec<u8>> {
    let mut rest = &field[field.iter().position(|byte| *byte == b';')?..];
    loop {
        rest = rest.strip_prefix(b";")?.trim_ascii_start();
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(rest.len());
        let name = rest[..end].trim_ascii();
        let (value, tail) = match rest[end..].strip_prefix(b"=") {
            Some(value) => split_value(value.trim_ascii_start()),
            None => (Vec::new(), &rest[end..]),
        };
        if name.eq_ignore_ascii_case(wanted.as_bytes()) {
            return Some(value);
        }
        rest = tail.trim_ascii_start();
    }
}

fn split_value(field: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = field.strip_prefix(b"\"") else {
        let end = field.iter().position(|byte| *byte == b';').unwrap_or(field.len());
        return (field[..end].trim_ascii_end().to_vec(), &field[end..]);
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'"' => return (value, &quoted[at + 1..]),
            b'\\' => value.extend(bytes.next().map(|(_, &escaped)| escaped)),
            _ => value.push(byte),
        }
    }
    (value, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_parameter_and_ignores_what_is_quoted() {
        for (field, value) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("multipart/form-data;boundary=\"a;b\"", Some("a;b")),
            ("multipart/form-data; charset=x ; BOUNDARY=abc ; y=z", Some("abc")),
            (r#"x; name="; boundary=no\"; boundary=no"; boundary=yes"#, Some("yes")),
            ("x; boundary", Some("")),
            ("x; boundary=\"unfinished", Some("unfinished")),
            ("x; name=\"a\"boundary=b", None),
            ("x; name=a", None),
            ("boundary=a", None),
            ("", None),
        ] {
            let found = parameter(field.as_bytes(), "boundary");
            assert_eq!(found.as_deref(), value.map(str::as_bytes), "{field}");
        }
    }
}
