//! The target of a request upstream, byte for byte, and whether it may be asked for. Pure, and no
//! URL parser, which would resolve, decode and encode.

use http::Uri;
use http::uri::PathAndQuery;

/// Where the proxied API is mounted.
const MOUNT: &str = "/c8y";

/// How often a path may be percent-encoded, and once more.
const DEPTH: usize = 8;

/// The target upstream of a request for `/c8y`, `/c8y/` or something below it.
pub(crate) fn upstream(uri: &Uri) -> Option<PathAndQuery> {
    let target = uri.path_and_query()?.as_str();
    let rest = target.strip_prefix(MOUNT)?;
    match rest.as_bytes().first() {
        Some(b'/') => PathAndQuery::try_from(rest).ok(),
        None | Some(b'?') => PathAndQuery::try_from(format!("/{rest}")).ok(),
        Some(_) => None,
    }
}

/// Whether Cumulocity would answer this path by revoking the device's token, as it does for the
/// parts of its user interface: what ends in `.js`, and what is below `apps`.
///
/// The path is judged as a server might read it: decoded once, more often or not at all, with dot
/// segments resolved or not and slashes collapsed, in lower case. One that is encoded more often
/// than anybody would in earnest counts as such a path.
pub(crate) fn revokes_the_token(path: &str) -> bool {
    let mut path = path.as_bytes().to_ascii_lowercase();
    for _ in 0..DEPTH {
        if is_of_the_interface(&path) {
            return true;
        }
        if !path.contains(&b'%') {
            return false;
        }
        let decoded = decode_once(&path).to_ascii_lowercase();
        if decoded.len() == path.len() {
            return false;
        }
        path = decoded;
    }
    true
}

fn is_of_the_interface(path: &[u8]) -> bool {
    let as_written = path.split(|byte| *byte == b'/').find(|segment| !segment.is_empty());
    path.ends_with(b".js")
        || as_written == Some(b"apps")
        || resolve(path).first() == Some(&&b"apps"[..])
}

fn decode_once(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let octet = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        decoded.push(octet.unwrap_or(*first));
        rest = if octet.is_some() { &rest[3..] } else { tail };
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The segments that are left when `.`, `..` and empty ones are resolved (RFC 3986, 5.2.4).
fn resolve(path: &[u8]) -> Vec<&[u8]> {
    let mut segments = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn path_and_query_go_upstream_byte_for_byte() {
        for (asked, sent) in [
            ("/c8y", Some("/")),
            ("/c8y/", Some("/")),
            ("/c8y?a=b", Some("/?a=b")),
            ("/c8y/?", Some("/?")),
            ("/c8y/inventory/managedObjects?q=%20x;y", Some("/inventory/managedObjects?q=%20x;y")),
            ("/c8y//a//b", Some("//a//b")),
            ("/c8y/a%2Fb%3A;v=1/../c/%2e%2E", Some("/a%2Fb%3A;v=1/../c/%2e%2E")),
            ("/c8y/c8y/x", Some("/c8y/x")),
            ("/c8y/a|b^c\"d", Some("/a|b^c\"d")),
            ("/c8yfoo", None),
            ("/c8", None),
            ("/C8Y/a", None),
            ("/", None),
            ("*", None),
            ("/%638y/a", None),
        ] {
            let uri: Uri = asked.parse().unwrap();
            assert_eq!(upstream(&uri).as_ref().map(PathAndQuery::as_str), sent, "{asked}");
        }
        let absolute: Uri = "http://127.0.0.1:8001/c8y/a?b".parse().unwrap();
        assert_eq!(upstream(&absolute).unwrap(), "/a?b");
    }

    #[test]
    fn guards_the_paths_that_cost_the_token() {
        for path in [
            "/x.js",
            "/a/b/main.JS",
            "/x%2ejs",
            "/x%2E%6a%73",
            "/x%252ejs",
            "/x%25252ejs",
            "/.js",
            "/apps",
            "/apps/",
            "/apps/cockpit",
            "//apps/x",
            "/APPS/x",
            "/%61pps",
            "/%2Fapps/x",
            "/%2561pps/x",
            "/./apps",
            "/a/../apps/x",
            "/a/%2e%2e/apps",
            "/apps/../x",
            "/apps%2Fx",
            "/./apps/y/%2e%2E/%2e%2E",
            "/%2525252525252525252525252525",
        ] {
            assert!(revokes_the_token(path), "{path}");
        }
    }

    #[test]
    fn lets_all_other_paths_pass() {
        for path in [
            "/",
            "",
            "/application/apps",
            "/appsx",
            "/app",
            "/x.json",
            "/js",
            "/inventory/x.js/y",
            "/%",
            "/%2",
            "/%zz",
            "/inventory/binaries/1",
            "/a.jsx",
            "/alarm/apps",
        ] {
            assert!(!revokes_the_token(path), "{path}");
        }
    }

    fn encode(path: &str, times: usize) -> String {
        let mut encoded = path.to_owned();
        for _ in 0..times {
            encoded = encoded.bytes().map(|byte| format!("%{byte:02x}")).collect();
        }
        encoded
    }

    proptest! {
        #[test]
        fn no_encoding_gets_past_the_guard(tail in "[a-z./]{0,8}", times in 0..4usize) {
            let path = format!("/{}", encode(&format!("apps/{tail}"), times));
            prop_assert!(revokes_the_token(&path));
            let path = format!("/{}", encode(&format!("{tail}.js"), times));
            prop_assert!(revokes_the_token(&path));
        }

        #[test]
        fn no_path_is_too_odd_to_be_judged(path in "\\PC{0,40}") {
            let _ = revokes_the_token(&path);
        }
    }
}
