//! How the access rules judge a request to Cumulocity: by its methods and its path.

use common::access::{Area, Forbidden, Judge};
use http::{HeaderName, request};
use percent_encoding::percent_decode_str;

use crate::target;

/// A path that is percent-encoded more often than this is not judged but refused.
const DEPTH: usize = 4;

/// Whether a client can name another method in this field. Cumulocity applies `X-HTTP-METHOD` to a
/// POST (its REST documentation, "Limited HTTP clients"). Many servers read `_` as `-` (RFC 3875,
/// 4.1.18).
pub(crate) fn is_override(field: &HeaderName) -> bool {
    const OVERRIDES: [&str; 3] = ["x-http-method", "x-http-method-override", "x-method-override"];
    let field = field.as_str();
    let is = |(a, b): (u8, u8)| a == b || (a == b'_' && b == b'-');
    field.starts_with('x')
        && OVERRIDES
            .iter()
            .any(|name| field.len() == name.len() && field.bytes().zip(name.bytes()).all(is))
}

/// Checks that the rules allow the client to send this, with its method and with each method that
/// one of these fields names.
pub(crate) fn judge(head: &request::Parts, judge: &Judge<'_>) -> Result<(), Forbidden> {
    let Some(target) = target::upstream(&head.uri) else { return Ok(()) };
    let Some(path) = read(target.path()) else {
        return Err(judge.refuse(
            Area::WHOLE,
            head.method.as_str(),
            target.path().trim_start_matches('/'),
        ));
    };
    judge.may(Area::WHOLE, head.method.as_str(), &path)?;
    for (_, value) in head.headers.iter().filter(|(field, _)| is_override(field)) {
        let name = value.as_bytes().trim_ascii().to_ascii_uppercase();
        match std::str::from_utf8(&name) {
            Ok(method) => judge.may(Area::WHOLE, method, &path)?,
            Err(_) => return Err(judge.refuse(Area::WHOLE, head.method.as_str(), &path)),
        }
    }
    Ok(())
}

/// The path, decoded except for slashes, without empty parts, with a slash at its end; empty for
/// the root.
///
/// `None`: a server could find `.` or `..` in the path, by decoding it repeatedly or by cutting
/// parts of it off. A path without these is below the same directory for every server.
pub(crate) fn read(path: &str) -> Option<String> {
    let mut decoded = path.to_owned();
    for depth in 0.. {
        let next = percent_decode_str(&decoded).decode_utf8().ok()?.into_owned();
        if depth == DEPTH || has_dots(&next) {
            return None;
        }
        if next == decoded {
            break;
        }
        decoded = next;
    }
    let mut clean = String::with_capacity(path.len() + 1);
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let part = percent_decode_str(part).decode_utf8().ok()?;
        clean.push_str(&part.replace('/', "%2F"));
        clean.push('/');
    }
    Some(clean)
}

/// Whether a server could read one of the parts as `.` or `..`. A server may take `\` for a slash,
/// cut a part at `;`, `?` or `#`, and drop blanks. A control character may be dropped, or end the
/// path.
fn has_dots(path: &str) -> bool {
    path.contains(char::is_control)
        || path.split(['/', '\\']).any(|part| {
            let name = part.split([';', '?', '#']).next().unwrap_or_default();
            let is_blank = |character: char| character.is_whitespace() || character == '+';
            name.contains('.') && name.chars().all(|c| c == '.' || is_blank(c))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use common::access::{Names, Requester};
    use common::server::RulesFile;

    use super::*;
    use crate::fuzzing::target::Server;

    #[test]
    fn a_path_is_read_decoded_and_without_what_servers_drop() {
        for (path, read_as) in [
            ("/", ""),
            ("/inventory/binaries", "inventory/binaries/"),
            ("/inventory/binaries/", "inventory/binaries/"),
            ("//inventory/binaries//1", "inventory/binaries/1/"),
            ("/inventory%2fbinaries/1", "inventory%2Fbinaries/1/"),
            ("/%69nventory", "inventory/"),
            ("/a;v=1/b", "a;v=1/b/"),
            ("/a%3Fb%23c", "a?b#c/"),
            ("/A%20b+c", "A b+c/"),
            ("/100%25", "100%/"),
            ("/%25zz", "%zz/"),
            ("/a.b/c..d/.e/f.", "a.b/c..d/.e/f./"),
            ("/%C3%BC", "ü/"),
            ("/a%5Cb", "a\\b/"),
        ] {
            assert_eq!(read(path).as_deref(), Some(read_as), "{path}");
        }
    }

    #[test]
    fn a_path_that_has_dots_for_some_server_is_not_read() {
        for path in [
            "/a/..",
            "/./a",
            "/a/.;v=1",
            "/a/../b",
            "/a/%2e%2E/b",
            "/a/%252e%252e/b",
            "/a/..%2Fb",
            "/a/..%252Fb",
            "/a/..;v=1/b",
            "/a/..%3Bv=1/b",
            "/a/..%3F/b",
            "/a/..%23",
            "/a\\..\\b",
            "/a%5C..%5Cb",
            "/a/..%5Cb",
            "/a/%20../b",
            "/a/..+/b",
            "/a/. ./b",
            "/a/.../b",
            "/a/.%00./b",
            "/a%0A",
            "/a%7Fb",
            "/a/%ff%ae",
            "/a/%c0%ae%c0%ae/b",
            "/%2525252525252525",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
    }

    #[test]
    fn a_field_that_names_a_method_is_found_in_every_spelling() {
        for (field, expected) in [
            ("X-HTTP-Method", true),
            ("X_HTTP_METHOD", true),
            ("x-http_method", true),
            ("X_Http-Method_Override", true),
            ("x_method_override", true),
            ("x-method", false),
            ("x-http-methods", false),
            ("xhttp-method", false),
        ] {
            let field = HeaderName::from_bytes(field.as_bytes()).unwrap();
            assert_eq!(is_override(&field), expected, "{field}");
        }
    }

    /// Pieces of paths that servers read in different ways.
    fn any_path() -> impl Strategy<Value = String> {
        const PIECES: &[&str] = &[
            "/",
            "/",
            "inventory",
            "binaries",
            "a",
            ".",
            "..",
            ";",
            "\\",
            "+",
            "%2f",
            "%5c",
            "\\..",
            "%5c..",
            "%2f..",
            "/..",
            "%2e",
            "%2E",
            "%20",
            "%00",
            "%0a",
            "%3f",
            "%23",
            "%3b",
            "%25",
            "252e",
            "252f",
            "/inventory/binaries/",
        ];
        let piece = proptest::sample::select(PIECES);
        let start =
            proptest::sample::select(&["/", "/inventory/binaries/", "/inventory%2fbinaries/"][..]);
        (start, prop::collection::vec(piece, 0..9))
            .prop_map(|(start, pieces)| format!("{start}{}", pieces.concat()))
    }

    /// A child that may fetch binaries and send events.
    const RULES: &str = "[[rule]]\nfrom = \"::1\"\nmay = \"GET\"\nbelow = \"/inventory/binaries\"\n\
        [[rule]]\nfrom = \"::1\"\nmay = \"POST\"\nexactly = \"/event/events\"\n";

    /// Whether the model allows a method at a path: every server finds it in the right place.
    fn is_allowed(method: &str, path: &str) -> bool {
        let is = |names: &[Vec<u8>], expected: &str| names.join(&b"/"[..]) == expected.as_bytes();
        (1..4).all(|times| {
            (0..1 << 7).all(|flags| {
                let names = Server::with(times, flags).names(path);
                match method {
                    "GET" => names.len() > 1 && is(&names[..2], "inventory/binaries"),
                    "POST" => is(&names, "event/events"),
                    _ => false,
                }
            })
        })
    }

    #[expect(clippy::disallowed_methods, reason = "a test blocks nobody")]
    fn what_the_model_refuses_is_refused(cases: u32) {
        let path = std::env::temp_dir().join(format!("tedge-rules-{}-{cases}", std::process::id()));
        std::fs::write(&path, RULES).unwrap();
        let file = RulesFile { key: "rules", path: Some(path.clone()) };
        let rules = file.load().unwrap().unwrap();
        std::fs::remove_file(path).unwrap();
        let names = Names::default();
        let client = Requester { names: &names, address: Some("::1".parse().unwrap()) };
        let method = || proptest::sample::select(&["GET", "GET", "GET", "POST", "HEAD"][..]);
        let allowed = std::cell::Cell::new(0);
        let path = prop_oneof![any_path(), any_path(), Just("/event/events".to_owned())];
        proptest!(ProptestConfig::with_cases(cases), |(
            method in method(), other in prop::option::weighted(0.2, method()), path in path,
            field in "[xX][-_]HTTP[-_]Method",
        )| {
            let request = http::Request::builder().method(method).uri(format!("/c8y{path}"));
            let request = match other {
                Some(other) => request.header(&field, other),
                None => request,
            };
            let Ok(request) = request.body(()) else { return Ok(()) };
            let head = request.into_parts().0;
            let is_refused = judge(&head, &rules.judge(client)).is_err();
            let mut methods = std::iter::once(method).chain(other);
            allowed.set(allowed.get() + u32::from(!is_refused));
            prop_assert!(is_refused || methods.all(|method| is_allowed(method, &path)));
        });
        assert!(allowed.get() > cases / 50, "only {} are allowed", allowed.get());
    }

    #[test]
    fn what_a_server_could_find_elsewhere_is_refused() {
        what_the_model_refuses_is_refused(2_000);
    }

    #[test]
    #[ignore = "takes a minute"]
    fn what_a_server_could_find_elsewhere_is_refused_100_000_times() {
        what_the_model_refuses_is_refused(100_000);
    }
}
