use http::Request;

use super::*;

fn rules() -> BrowserRules {
    BrowserRules {
        prefix: "http",
        hosts: ["gateway.example.com", "*.plant.example", "rpi4"].map(str::to_owned).to_vec(),
        origins: vec!["https://panel.example.com".to_owned()],
        last: Mutex::default(),
    }
}

fn head(method: &str, fields: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().method(method).uri("/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn judge(
    rules: &BrowserRules,
    method: &str,
    host: &str,
    fields: &[(&str, &str)],
) -> ControlFlow<Response<Body>, Option<HeaderValue>> {
    let named = Authority::try_from(host).unwrap();
    let is_certified = |name: &str| name == "certified.example";
    rules.judge(&head(method, fields), Some(&named), false, Some(&is_certified))
}

/// The status of what is answered here; 0 where it goes on.
fn status(judgement: &ControlFlow<Response<Body>, Option<HeaderValue>>) -> u16 {
    match judgement {
        Continue(_) => 0,
        Break(response) => response.status().as_u16(),
    }
}

#[test]
fn our_names_are_answered_and_no_others() {
    for (host, refused) in [
        ("127.0.0.1:8000", false),
        ("192.168.1.6", false),
        ("[::1]:8000", false),
        ("[fe80::1]", false),
        ("127.1:8000", false),
        ("0x7f000001", false),
        ("localhost", false),
        ("LOCALHOST.:8000", false),
        ("a.localhost", false),
        ("rpi4", false),
        ("RPi4.example.org", true),
        ("rpi4.local.", false),
        ("tedge", false),
        ("x.lan", false),
        ("x.y.home.arpa", false),
        ("x.internal", false),
        ("gateway.example.com:8000", false),
        ("a.b.plant.example", false),
        ("certified.example", false),
        ("plant.example", true),
        ("xplant.example", true),
        ("attacker.example", true),
        ("localhost.attacker.example", true),
        ("local.example", true),
        ("rpi4x.example", true),
        ("127.0.0.1.attacker.example", true),
        ("xlan.example", true),
        ("sub.gateway.example.com", true),
        ("1.2.3.4x", true),
    ] {
        let expected = if refused { 421 } else { 0 };
        assert_eq!(status(&judge(&rules(), "GET", host, &[])), expected, "{host}");
    }
    let all = BrowserRules { hosts: vec!["*".to_owned()], ..rules() };
    assert_eq!(status(&judge(&all, "GET", "attacker.example", &[])), 0);
}

#[test]
fn a_host_that_is_ours_is_known_the_next_time_but_never_to_a_page() {
    let rules = rules();
    let ours = head("GET", &[("host", "rpi4:8000")]);
    assert!(!rules.is_usual(&ours));
    let named = Authority::try_from("rpi4:8000").unwrap();
    assert!(rules.judge(&ours, Some(&named), false, Some(&|_: &str| false)).is_continue());
    assert!(rules.is_usual(&ours));
    for (fields, target) in [
        (&[("host", "rpi4:8001")][..], "/"),
        (&[("host", "rpi4:8000"), ("host", "rpi4:8000")], "/"),
        (&[("host", "rpi4:8000"), ("origin", "http://rpi4:8000")], "/"),
        (&[("host", "rpi4:8000"), ("sec-fetch-site", "none")], "/"),
        (&[("host", "rpi4:8000"), ("expect", "100-continue")], "/"),
        (&[("host", "rpi4:8000"), ("transfer-encoding", "gzip")], "/"),
        (&[("host", "rpi4:8000"), ("upgrade", "websocket")], "/"),
        (&[("host", "rpi4:8000")], "http://attacker.example/"),
        (&[], "/"),
    ] {
        let mut head = head("GET", fields);
        head.uri = target.parse().unwrap();
        assert!(!rules.is_usual(&head), "{target} {fields:?}");
    }
    // As long as the certificate is for it, which may change.
    let certified = head("GET", &[("host", "certified.example")]);
    let named = Authority::try_from("certified.example").unwrap();
    assert!(rules.judge(&certified, Some(&named), false, Some(&|_: &str| true)).is_continue());
    assert!(!rules.is_usual(&certified));
}

#[test]
fn pages_of_other_sites_are_refused_whatever_they_send() {
    let same = ("origin", "http://rpi4:8000");
    for (fields, refused) in [
        (&[][..], false),
        (&[("sec-fetch-site", "same-origin")], false),
        (&[("sec-fetch-site", "none")], false),
        (&[("sec-fetch-site", "cross-site")], true),
        (&[("sec-fetch-site", "same-site")], true),
        (&[("sec-fetch-site", "Cross-Site ")], true),
        (&[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")], true),
        (&[("sec-fetch-site", "cross-site"), same], true),
        (&[("sec-fetch-site", "cross-site"), ("origin", "https://panel.example.com")], false),
        (&[("sec-fetch-site", "same-origin"), ("origin", "null")], false),
        (&[same], false),
        (&[("origin", "HTTP://RPI4:8000")], false),
        (&[("origin", "http://rpi4")], true),
        (&[("origin", "http://rpi4:8001")], true),
        (&[("origin", "https://attacker.example")], true),
        (&[("origin", "null")], true),
        (&[("origin", "")], true),
        (&[("origin", "rpi4:8000")], true),
        (&[("origin", "http://user@rpi4:8000")], true),
        (&[("origin", "http://evil.example@rpi4:8000")], true),
        (&[("origin", "https://panel.example.com")], false),
        (&[("origin", "https://panel.example.com.attacker.example")], true),
        (&[("origin", "http://panel.example.com")], true),
        (&[same, ("origin", "https://attacker.example")], true),
    ] {
        for method in ["GET", "POST", "OPTIONS", "PUT", "DELETE"] {
            let expected = if refused { 403 } else { 0 };
            let judgement = judge(&rules(), method, "rpi4:8000", fields);
            assert_eq!(status(&judgement), expected, "{method} {fields:?}");
        }
    }
}

#[test]
fn a_port_that_is_left_out_is_that_of_the_scheme() {
    for (host, origin, refused) in [
        ("rpi4", "http://rpi4", false),
        ("rpi4", "https://rpi4", false),
        ("rpi4:443", "https://rpi4", false),
        ("rpi4:80", "https://rpi4", true),
        ("[::1]", "http://[::1]", false),
        ("[::1]:8000", "http://[::1]:8000", false),
    ] {
        let judgement = judge(&rules(), "GET", host, &[("origin", origin)]);
        assert_eq!(status(&judgement), if refused { 403 } else { 0 }, "{host} {origin}");
    }
}

#[test]
fn a_page_without_tls_is_not_of_a_service_with_it_but_there_may_be_a_proxy_before_one_without() {
    let named = Authority::try_from("rpi4").unwrap();
    for (origin, is_secure, refused) in [
        ("http://rpi4", true, true),
        ("https://rpi4", true, false),
        ("http://rpi4", false, false),
        ("https://rpi4", false, false),
    ] {
        let head = head("GET", &[("origin", origin)]);
        let judgement = rules().judge(&head, Some(&named), is_secure, Some(&|_: &str| false));
        assert_eq!(status(&judgement), if refused { 403 } else { 0 }, "{origin} {is_secure}");
    }
}

#[test]
fn null_is_no_origin_that_can_be_allowed() {
    let rules = BrowserRules { origins: vec![], ..rules() };
    assert_eq!(status(&judge(&rules, "GET", "rpi4", &[("origin", "null")])), 403);
}

#[test]
fn with_client_certificates_any_name_will_do_but_not_any_page() {
    let named = Authority::try_from("attacker.example").unwrap();
    let judge =
        |fields: &[(&str, &str)]| rules().judge(&head("GET", fields), Some(&named), true, None);
    assert_eq!(status(&judge(&[])), 0);
    assert_eq!(status(&judge(&[("sec-fetch-site", "cross-site")])), 403);
    assert_eq!(status(&judge(&[("origin", "https://other.example")])), 403);
}

#[test]
fn a_request_without_a_host_goes_on_unless_a_page_sent_it() {
    let judge = |fields: &[(&str, &str)]| {
        rules().judge(&head("GET", fields), None, false, Some(&|_: &str| false))
    };
    assert_eq!(status(&judge(&[])), 0);
    assert_eq!(status(&judge(&[("origin", "http://rpi4")])), 403);
}

#[test]
fn only_allowed_origins_may_read_answers_and_ask_beforehand() {
    let panel = ("origin", "https://panel.example.com");
    let Continue(Some(origin)) = judge(&rules(), "GET", "rpi4", &[panel]) else {
        panic!("an allowed origin is shared with")
    };
    assert_eq!(origin, panel.1);
    let own = judge(&rules(), "GET", "rpi4", &[("origin", "http://rpi4")]);
    assert!(matches!(own, Continue(None)));

    let asked = [
        panel,
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "content-type,x-a"),
    ];
    let Break(response) = judge(&rules(), "OPTIONS", "rpi4", &asked) else {
        panic!("a preflight is answered here")
    };
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    let field = |name: &str| response.headers()[name].to_str().unwrap();
    assert_eq!(field("access-control-allow-origin"), panel.1);
    assert_eq!(field("access-control-allow-methods"), "PUT");
    assert_eq!(field("access-control-allow-headers"), "content-type,x-a");

    let refused = judge(&rules(), "OPTIONS", "rpi4", &[("origin", "https://x.example"), asked[1]]);
    assert_eq!(status(&refused), 403);
    // A page under a name that is not ours is stopped by the name, allowed or not.
    assert_eq!(status(&judge(&rules(), "OPTIONS", "attacker.example", &asked)), 421);
}
