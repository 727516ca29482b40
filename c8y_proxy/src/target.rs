//! The target of a request upstream, byte for byte, and whether it may be asked for. Pure, and no
//! URL parser, which would resolve, decode and encode.

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

/// Where the proxied API is mounted.
const MOUNT: &str = "/c8y";

/// A path that is percent-encoded more often than this counts as one that costs the token.
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
/// The path is judged as the laxest server would read it: decoded any number of times, with or
/// without the encoded slashes; `;` parameters cut, `\` as `/` or not, cut at a decoded `?`, `#` or
/// control character; without trailing slashes, dots, blanks and control characters; `.`, `..` and
/// empty segments resolved; in lower case.
pub(crate) fn revokes_the_token(path: &str) -> bool {
    !is_plain(path) && is_revoking(&path.to_ascii_lowercase())
}

/// Whether the path has nothing to decode or to drop, and neither `pps` nor `.js` anywhere. Nearly
/// every path is plain, and this costs a twentieth of judging how servers would read it.
fn is_plain(path: &str) -> bool {
    let is_kept = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    let is_suspicious = |part: &[u8]| {
        matches!(part, [b'p' | b'P', b'p' | b'P', b's' | b'S'] | [b'.', b'j' | b'J', b's' | b'S'])
    };
    path.bytes().all(is_kept) && !path.as_bytes().windows(3).any(is_suspicious)
}

fn is_revoking(path: &str) -> bool {
    is_of_the_interface(path)
        || leads_to_the_interface(path, decode)
        || leads_to_the_interface(path, decode_all_but_slashes)
}

/// Whether the path is one of the interface once it is decoded, however often.
fn leads_to_the_interface(path: &str, decode: fn(&str) -> String) -> bool {
    let mut encoded = path.to_owned();
    for _ in 0..DEPTH {
        if !encoded.contains('%') {
            return false;
        }
        let decoded = decode(&encoded);
        if decoded == encoded {
            return false;
        }
        if is_of_the_interface(&decoded) {
            return true;
        }
        encoded = decoded;
    }
    true
}

fn decode(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().to_ascii_lowercase()
}

/// To some servers an encoded slash is a character of a segment, which one `..` removes.
fn decode_all_but_slashes(path: &str) -> String {
    decode(&path.replace("%2f", "%252f").replace("%5c", "%255c"))
}

fn is_of_the_interface(path: &str) -> bool {
    let ends = [path.find('?'), path.find('#'), path.find(is_removed), Some(path.len())];
    let mut readings = ends.into_iter().flatten().map(|end| path[..end].replace(is_removed, ""));
    readings.any(|path| is_an_asset(&path, &['/', '\\']) || is_an_asset(&path, &['/']))
}

/// What a server may drop, or take for the end. Bytes that are not UTF-8 were replaced by one.
fn is_removed(character: char) -> bool {
    character.is_control() || character == char::REPLACEMENT_CHARACTER
}

/// `+` is a blank for servers that decode a path as a form.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '+'
}

fn is_an_asset(path: &str, slashes: &[char]) -> bool {
    // How many segments there are at least once dot segments are resolved, in all and below the
    // last one that ends in `.js`.
    let (mut depth, mut below_js) = (0_usize, None);
    for segment in path.split(slashes) {
        let named = segment.split(';').next().unwrap_or_default().trim_matches(is_blank);
        let name = without_end(named);
        if depth == 0 && name == "apps" {
            return true;
        }
        if named == ".." {
            depth = depth.saturating_sub(1);
            below_js = below_js.map(|below: usize| below.saturating_sub(1));
        } else if !name.is_empty() {
            depth += 1;
            below_js = below_js.map(|below| below + 1);
        }
        if name.ends_with(".js") || without_end(segment).ends_with(".js") {
            below_js = Some(0);
        }
    }
    below_js == Some(0)
}

/// A name without the dots and blanks at its end, which some file systems ignore.
fn without_end(name: &str) -> &str {
    name.trim_end_matches(|character| character == '.' || is_blank(character))
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
            // Parameters, and what they hide.
            "/x.js;v=1",
            "/x.js;v=1/",
            "/x.js%3Bv=1",
            "/a;x.js",
            "/apps;v=1/x",
            "/;v=1/apps",
            "/a/..;/apps",
            "/a/..;v=1/apps/x",
            "/a/%2e%2e%3B/apps",
            "/a/.;/../apps",
            // What is cut at the end.
            "/x.js/",
            "/x.js//",
            "/x.js/.",
            "/x.js/./",
            "/x.js/a/..",
            "/x.js/a//..",
            "/x.js.",
            "/x.js..",
            "/x.js%20",
            "/x.js%20.%20",
            "/x.js%00",
            "/x.js%0a",
            "/x.js%09",
            "/x.js%7f",
            "/x.js%c2%a0",
            "/x.js%ff",
            "/x.js+",
            "/x.js%2F",
            "/x.js%5C",
            "/x.js%252F",
            "/apps./x",
            "/apps%20/x",
            "/%20apps/x",
            "/apps%00/x",
            "/apps%0d%0a/x",
            "/apps+/x",
            // Where it may be taken to end.
            "/x.js%3F",
            "/x.js%3Fa=b",
            "/x.js%253Fa",
            "/x.js%23a",
            "/x.js%00.png",
            "/x.js%0a.png",
            "/x.js%3Fa%23b/c",
            "/x%23/y.js%3Fz",
            "/apps%3Fx",
            "/apps%23",
            "/a%3F/../apps",
            // Characters that are dropped.
            "/ap%00ps/x",
            "/x.j%09s",
            "/a/.%00./apps",
            // The other slash, and slashes that stay encoded.
            "/\\apps\\x",
            "/%5Capps",
            "/a%5C..%5Capps",
            "/a\\x.js",
            "/a%2Fb/../apps",
            "/a%2Fb/%2e%2e/apps",
            "/a%252Fb/%252e%252e/apps",
            "/a%5Cb/%2e%2e/apps",
            "/x.js;\\y",
            // Segments that are empty for one server and not for another.
            "/b/../apps//../x",
            "/a//../apps",
            "/.../apps",
            "/%20/apps",
            "/../../apps",
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
            "/a/b/../apps",
            "/a;apps",
            "/a;apps/x",
            "/;apps",
            "/apps-x",
            "/apps..x",
            "/.apps",
            "/a%3Bapps/apps",
            "/x.js;v=1/y",
            "/x.js/a/b/..",
            "/x.js%2Fy",
            "/a.js%20b",
            "/inventory/managedObjects/ns=2;s=Demo.App/x",
            "/identity/externalIds/c8y_Serial/a%2Fb%3Fc%23d",
            "/measurement/measurements/",
            "/service/x/%5Capps",
        ] {
            assert!(!revokes_the_token(path), "{path}");
        }
    }

    /// Pieces of paths, of which some cost the token to some servers.
    fn any_path() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("/"),
            Just("apps"),
            Just("a"),
            Just(".js"),
            Just("."),
            Just(".."),
            Just(";"),
            Just("\\"),
            Just("+"),
            Just("%2f"),
            Just("%5c"),
            Just("%2e"),
            Just("%20"),
            Just("%00"),
            Just("%0a"),
            Just("%3f"),
            Just("%23"),
            Just("%3b"),
            Just("%25"),
            Just("252e"),
            Just("JS"),
        ];
        prop::collection::vec(piece, 0..10).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn whatever_costs_the_token_to_any_server_is_guarded(path in any_path()) {
            crate::fuzzing::target::check(format!("/c8y{path}").as_bytes());
        }

        #[test]
        fn no_honest_path_is_guarded(
            segments in prop::collection::vec("[a-zA-Z0-9_=.-]{0,6}[a-zA-Z0-9_=-]", 1..6),
            slash in "/|//|%2F",
        ) {
            let has_js = segments.iter().any(|segment| segment.to_lowercase().ends_with(".js"));
            prop_assume!(!has_js && !segments[0].eq_ignore_ascii_case("apps"));
            let path = format!("/{}", segments.join(&slash));
            prop_assert!(!revokes_the_token(&path));
        }

        #[test]
        fn no_plain_path_costs_the_token(
            pieces in prop::collection::vec("/|ap|aP|%70s|ps|Ps|pS|[.]j|[.]J|s|S|;|[+]|\u{1}", 0..6),
        ) {
            let path = format!("/{}", pieces.concat());
            prop_assert!(!is_plain(&path) || !is_revoking(&path.to_ascii_lowercase()));
        }

        #[test]
        fn no_path_is_too_odd_to_be_judged(path in "\\PC{0,40}") {
            let _ = revokes_the_token(&path);
        }
    }
}
