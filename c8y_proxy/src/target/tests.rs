//! Paths that cost the token, in every spelling, and paths that do not.

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
        assert_eq!(cost(path), Cost::Token, "{path}");
    }
}

#[test]
fn guards_the_paths_that_end_a_session() {
    for path in [
        "/user/logout",
        "/user/logout/",
        "/User/LogOut",
        "/user/logout/t12345/allUsers",
        "//user//logout",
        "/./user/./logout",
        "/user/x/../logout",
        "/x/../user/logout",
        "/user/.../../logout",
        "/.../../user/logout",
        "/../user/logout",
        "/%75ser/%6Cogout",
        "/user%2Flogout",
        "/user%5Clogout",
        "/user\\logout",
        "/user%252Flogout",
        "/user/x%2F..%2Flogout",
        "/user/%2e%2e%2Fuser/logout",
        "/user;v=1/logout;v=1",
        "/x/..;/user/logout",
        "/user%3Bv=1/logout%3Bv=1",
        "/user./logout.",
        "/user%20/%20logout%20",
        "/user+/logout+",
        "/user/logout%00",
        "/user/logout%0a.png",
        "/user/lo%00gout",
        "/user/logout%3Fx",
        "/user/logout%23x",
        "/user/logout.json",
        "/user/%ff/../logout",
    ] {
        assert_eq!(cost(path), Cost::Session, "{path}");
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
        "/user/currentUser",
        "/user/t1/users/logout",
        "/user/logouts",
        "/users/logout",
        "/logout",
        "/service/user/logout",
        "/user;logout",
        "/user/t1/logout",
    ] {
        assert_eq!(cost(path), Cost::Nothing, "{path}");
    }
}

/// Pieces of paths, of which some cost the token to some servers.
fn any_path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just("apps"),
        Just("user"),
        Just("/logout"),
        Just("lOg"),
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
        let is_user = segments[0].eq_ignore_ascii_case("user");
        prop_assume!(!has_js && !is_user && !segments[0].eq_ignore_ascii_case("apps"));
        let path = format!("/{}", segments.join(&slash));
        prop_assert_eq!(cost(&path), Cost::Nothing);
    }

    #[test]
    fn no_plain_path_costs_the_token(
        pieces in prop::collection::vec("/|ap|aP|user/|lO|gO|go|ut|%70s|ps|Ps|pS|[.]j|[.]J|s|S|;|[+]|\u{1}", 0..8),
    ) {
        let path = format!("/{}", pieces.concat());
        let judged = cost_in_lower_case(&path.to_ascii_lowercase());
        prop_assert!(!is_plain(&path) || judged == Cost::Nothing);
    }

    #[test]
    fn no_path_is_too_odd_to_be_judged(path in "\\PC{0,40}") {
        let _ = cost(&path);
    }
}
