//! Web pages of other sites get nothing, whatever requests a browser sends for them, and whatever
//! name they use for the service.

use rustix::process::Signal;

use crate::support::certificates::Key;
use crate::support::client::{Client, ask, tls};
use crate::support::service::{SOON, Service};
use crate::{FILES, Secured, assert_stored, start, stored};

const CROSS: &str = "Sec-Fetch-Site: cross-site\r\n";
const ORIGIN: &str = "Origin: https://attacker.example\r\n";
const PANEL: &str = "Origin: https://panel.example.com\r\nSec-Fetch-Site: cross-site\r\n";

/// A whole request under this name.
fn named(method: &str, host: &str, fields: &str) -> String {
    let body = if method == "PUT" { "Content-Length: 4\r\n\r\nevil" } else { "\r\n" };
    format!("{method} {FILES}/x HTTP/1.1\r\nHost: {host}\r\n{fields}{body}")
}

fn status(service: &Service, host: &str, fields: &str) -> u16 {
    ask(service.address, named("GET", host, fields)).unwrap().status
}

#[test]
fn a_page_of_another_site_reads_and_writes_nothing() {
    let service = start(|_| {});
    for fields in [CROSS, "Sec-Fetch-Site: same-site\r\n", ORIGIN, "Origin: null\r\n"] {
        for method in ["GET", "PUT", "DELETE", "OPTIONS", "POST"] {
            let answer = ask(service.address, named(method, "localhost", fields)).unwrap();
            assert_eq!(answer.status, 403, "{method} {fields}");
            let text = answer.text();
            let first = "This service does not answer web pages of other sites.";
            assert!(text.starts_with(first) && text.contains("http.allowed_origins"), "{text}");
            assert_eq!(answer.field("access-control-allow-origin"), None);
            assert_eq!(answer.values("vary"), [b"Origin"]);
        }
        let health = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        assert_eq!(ask(service.address, health).unwrap().status, 403);
    }
    assert!(stored(&service).is_empty());
    let log = service.wait_for("http.allowed_origins", SOON);
    let lines = log.lines().filter(|line| line.contains("http.allowed_origins"));
    assert_eq!(lines.count(), 1, "{log}");
}

#[test]
fn a_name_that_was_bound_to_the_device_is_not_answered() {
    let service = start(|_| {});
    for host in ["attacker.example", "attacker.example:8000", "localhost.attacker.example"] {
        let answer = ask(service.address, named("GET", host, "")).unwrap();
        let name = host.split(':').next().unwrap();
        assert_eq!(answer.status, 421, "{host}");
        let text = answer.text();
        assert!(text.starts_with(&format!("This is not {name}")), "{text}");
        assert!(text.contains("http.allowed_hosts"), "{text}");
        // The page is of the same site as the name, and the browser says so.
        let fields = "Sec-Fetch-Site: same-origin\r\n";
        let put = ask(service.address, named("PUT", host, fields)).unwrap();
        assert_eq!(put.status, 421);
    }
    // An attacker who guesses the device's name can register it below a domain of his own.
    let uname = rustix::system::uname();
    let name = uname.nodename().to_str().unwrap().split('.').next().unwrap();
    assert_eq!(status(&service, &format!("{name}.attacker.example"), ""), 421);
    // What the target says counts more than Host (RFC 9112, 3.2.2).
    let absolute = "GET http://attacker.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(ask(service.address, absolute).unwrap().status, 421);
    assert!(stored(&service).is_empty());
    service.wait_for("http.allowed_hosts", SOON);
}

#[test]
fn our_names_are_answered() {
    let service = start(|setup| setup.set("http.client.host", "gateway.example.com"));
    let uname = rustix::system::uname();
    let name = uname.nodename().to_str().unwrap();
    for host in [
        "127.0.0.1",
        "192.0.2.1:8000",
        "[::1]:8000",
        "[fe80::1]",
        "localhost",
        "LocalHost.:8000",
        "tedge",
        "rpi4.local",
        "gateway.example.com",
        name,
    ] {
        assert_eq!(status(&service, host, ""), 404, "{host}");
        let own = format!("Origin: http://{host}\r\n");
        assert_eq!(status(&service, host, &own), 404, "a page of {host}");
        assert_eq!(status(&service, host, "Sec-Fetch-Site: none\r\n"), 404, "typed: {host}");
    }
    // HTTP/1.0 may say nothing.
    assert_eq!(ask(service.address, "GET /health HTTP/1.0\r\n\r\n").unwrap().status, 200);
}

#[test]
fn settings_let_names_and_pages_in() {
    let service = start(|setup| {
        setup.set_own("http.allowed_hosts", "\"one.example,*.two.example\"");
        setup.set_own("http.allowed_origins", "\"https://panel.example.com\"");
    });
    for (host, expected) in
        [("one.example", 404), ("a.b.two.example", 404), ("two.example", 421), ("x.example", 421)]
    {
        assert_eq!(status(&service, host, ""), expected, "{host}");
    }

    let preflight = format!("{PANEL}Access-Control-Request-Method: PUT\r\n");
    let answer = ask(service.address, named("OPTIONS", "localhost", &preflight)).unwrap();
    assert_eq!(answer.status, 204);
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://panel.example.com"));
    assert_eq!(answer.field("access-control-allow-methods"), Some("PUT"));
    assert!(answer.values("vary").contains(&&b"Origin"[..]));

    let answer = ask(service.address, named("PUT", "localhost", PANEL)).unwrap();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://panel.example.com"));
    assert_stored(&service, &[("x", b"evil")]);
    // A GET that has an express answer, too.
    let answer = ask(service.address, named("GET", "localhost", PANEL)).unwrap();
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://panel.example.com"));
    assert_eq!(answer.values("vary"), [b"Origin"]);

    let answer = ask(service.address, named("GET", "localhost", "")).unwrap();
    assert_eq!((answer.status, answer.field("access-control-allow-origin")), (200, None));
    // A cache keeps no answer for another origin.
    for (method, host, fields, status) in [
        ("GET", "localhost", "", 200),
        ("GET", "localhost", ORIGIN, 403),
        ("GET", "localhost", "Transfer-Encoding: gzip, chunked\r\n", 501),
        ("GET", "x.example", "", 421),
        ("PUT", "localhost", "", 201),
        ("POST", "localhost", "", 405),
    ] {
        let answer = ask(service.address, named(method, host, fields)).unwrap();
        assert_eq!(answer.status, status, "{method} {host} {fields}");
        assert_eq!(answer.values("vary"), [b"Origin"], "{method} {host} {fields}");
    }
}

#[test]
fn names_of_the_certificate_are_ours_as_long_as_it_is_served() {
    let mut pairs = Vec::new();
    let secured = Secured::start(|setup, authority| {
        for (name, names) in [("old", "DNS:old.example"), ("new", "DNS:*.new.example")] {
            pairs.push(authority.server_for(name, &format!("DNS:localhost,{names}")));
        }
        setup.set("http.cert_path", &pairs[0].cert);
        setup.set("http.key_path", &pairs[0].key);
    });
    let status = |host: &str| secured.client().exchange(named("GET", host, "")).status;
    assert_eq!((status("old.example"), status("a.new.example")), (404, 421));
    std::fs::copy(&pairs[1].key, &pairs[0].key).unwrap();
    std::fs::copy(&pairs[1].cert, &pairs[0].cert).unwrap();
    secured.service.signal(Signal::HUP);
    secured.service.wait_for("reloaded: ", SOON);
    assert_eq!((status("old.example"), status("a.new.example")), (421, 404));
    assert_eq!((status("new.example"), status("a.b.new.example")), (421, 421));
}

#[test]
fn with_client_certificates_any_name_is_answered_but_not_any_page() {
    let secured = Secured::start(|setup, authority| setup.set("http.ca_path", &authority.cert));
    let child = secured.authority.client("child", Key::P256);
    let config = tls(&secured.authority.cert, Some(&child));
    let status = |fields: &str| {
        let mut client = Client::connect_tls(secured.service.address, &config).unwrap();
        client.exchange(named("GET", "attacker.example", fields)).status
    };
    let other = "Origin: https://other.example\r\n";
    assert_eq!((status(""), status(CROSS), status(other)), (404, 403, 403));
}

#[test]
fn a_setting_that_is_no_origin_or_no_name_stops_the_start() {
    for (key, value) in [
        ("http.allowed_origins", "panel.example.com"),
        ("http.allowed_origins", "null"),
        ("http.allowed_hosts", "https://panel.example.com"),
    ] {
        let ended = crate::run(|setup| setup.set_own(key, format!("\"{value}\"")));
        assert_eq!(ended.code(), 78);
        assert!(ended.log.contains(key) && ended.log.contains(value), "{}", ended.log);
    }
}
