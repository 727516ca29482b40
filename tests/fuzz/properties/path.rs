//! The input is the target of a request. Whatever is accepted names a file below the directory,
//! and is what a plain reading of the rules accepts.

use std::path::{Component, Path};

use crate::path::{FilePath, RESERVED};

const PREFIXES: [&str; 2] = ["/tedge/file-transfer/", "/te/v1/files/"];

/// Panics where something does not hold.
pub fn check(target: &[u8]) {
    let Ok(target) = std::str::from_utf8(target) else { return };
    let _ = FilePath::parse(target).map_err(|refusal| format!("{refusal:?}"));

    let written = PREFIXES.iter().find_map(|prefix| target.strip_prefix(prefix)).unwrap_or(target);
    let [one, other] = PREFIXES.map(|prefix| FilePath::parse(&format!("{prefix}{written}")));
    assert_eq!(one, other, "the prefixes differ");
    let accepted = one.ok();
    assert_eq!(accepted.as_ref().map(FilePath::as_str), plain(written).as_deref());
    if let Some(path) = accepted {
        check_accepted(&path);
    }
}

fn check_accepted(path: &FilePath) {
    let text = path.as_str();
    assert!(text.len() <= 1024 && !text.contains('\0'));
    assert!(text.split('/').count() <= 32);
    for part in text.split('/') {
        assert!(
            (1..=255).contains(&part.len()) && !part.to_ascii_lowercase().starts_with(RESERVED),
            "{part:?}"
        );
    }
    let mut components = Path::new(text).components();
    assert!(components.all(|component| matches!(component, Component::Normal(_))), "{text:?}");
    assert!(Path::new("/data").join(text).starts_with("/data"));

    let (directories, name) = path.split();
    let whole = directories.map_or_else(|| name.to_owned(), |above| format!("{above}/{name}"));
    assert!(whole == text && !name.contains('/'));
    assert!(!path.to_string().contains(char::is_control), "shown with a control character");

    let escape = |byte: u8| format!("%{byte:02x}");
    let all: String = text.bytes().map(escape).collect();
    let percent = text.replace('%', "%25");
    for again in [all, percent] {
        let again = FilePath::parse(&format!("{}{again}", PREFIXES[0]));
        assert_eq!(again.as_ref().map(FilePath::as_str), Ok(text), "it does not come back");
    }
}

/// The rules once more, without care for speed or for why something is refused.
fn plain(written: &str) -> Option<String> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < written.len() {
        let escape = written.get(at..at + 3).and_then(|text| text.strip_prefix('%'));
        let digits = escape.filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(written.as_bytes()[at]);
                at += 1;
            }
        }
    }
    let decoded = String::from_utf8(decoded).ok()?;
    let parts: Vec<_> = decoded.split('/').filter(|part| !["", "."].contains(part)).collect();
    let is_name = |part: &&str| {
        *part != ".."
            && part.len() <= 255
            && !part.contains('\0')
            && !part.to_ascii_lowercase().starts_with(".tedge-uploads")
    };
    let path = parts.join("/");
    let is_short = (1..=32).contains(&parts.len()) && path.len() <= 1024;
    (is_short && !decoded.starts_with('/') && parts.iter().all(is_name)).then_some(path)
}
