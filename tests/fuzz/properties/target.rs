//! The input is the target of a request. What goes upstream is what came, byte for byte; and no
//! reading of it asks for what costs the token unless the guard says so.

use http::Uri;

use crate::target::{revokes_the_token, upstream};

/// Panics where something does not hold.
pub fn check(input: &[u8]) {
    let Ok(uri) = Uri::try_from(input) else { return };
    let asked = uri.path_and_query().map_or("", |asked| asked.as_str());
    let Some(sent) = upstream(&uri) else { return };
    let below = asked.strip_prefix("/c8y").unwrap();
    assert_eq!(sent.as_str().trim_start_matches('/'), below.trim_start_matches('/'));
    assert!(sent.as_str().ends_with(below) && sent.as_str().len() <= below.len() + 1);
    assert!(sent.as_str().starts_with('/'));

    let path = sent.path();
    let guarded = revokes_the_token(path);
    for times in 0..4 {
        let read = decode(path.as_bytes(), times).to_ascii_lowercase();
        if asks_for_a_page(&read) {
            assert!(guarded, "{path}, decoded {times} times");
        }
    }
    if !guarded {
        assert!(!revokes_the_token(&path.to_ascii_uppercase().replace("%2F", "%2f")));
        let encoded: String = path.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let is_deep = (0..7).any(|times| !decode(path.as_bytes(), times).contains(&b'%'));
        assert!(!is_deep || !revokes_the_token(&encoded), "{path} once more encoded");
    }
}

/// What a server might take for a page of the user interface.
fn asks_for_a_page(path: &[u8]) -> bool {
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    let mut written = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
    path.ends_with(b".js")
        || parts.first() == Some(&&b"apps"[..])
        || written.next() == Some(b"apps")
}

fn decode(path: &[u8], times: usize) -> Vec<u8> {
    let mut path = path.to_vec();
    for _ in 0..times {
        let mut decoded = Vec::new();
        let mut rest = &path[..];
        while let Some((&byte, tail)) = rest.split_first() {
            let digits = tail.get(..2).filter(|_| byte == b'%');
            let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
            let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
            let octet = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            decoded.push(octet.unwrap_or(byte));
            rest = if octet.is_some() { &tail[2..] } else { tail };
        }
        path = decoded;
    }
    path
}
