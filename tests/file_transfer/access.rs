//! Access rules: each client can only reach its own directory, whatever its name is and however
//! it spells a path.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::support::certificates::{Key, Pair};
use crate::support::client::{Client, tls};
use crate::support::service::{SOON, Setup};
use crate::support::wait::eventually;
use crate::{Secured, curl, put, put_head, request, run, start, stored};

/// The rules of the contract: a directory for each name, everything for the agent, and public files
/// for programs on this machine.
pub(crate) const RULES: &str = r#"
[[rule]]
who = "*"
may = ["read", "write"]
below = ["/{who}/", "/device_{who}__/"]

[[rule]]
who = "main-agent"
may = ["read", "write"]
below = "/"

[[rule]]
from = "127.0.0.0/8"
may = ["read"]
below = "/public/"
"#;

/// Writes the rules, and has the service read them.
pub(crate) fn set_rules(setup: &mut Setup, rules: &str) {
    let file = setup.directory().join("access.toml");
    fs::write(&file, rules).unwrap();
    setup.set_own_path("http.access_path", file);
}

/// A service that demands certificates and has these rules.
fn ruled() -> Secured {
    Secured::start(|setup, authority| {
        setup.set("http.ca_path", &authority.cert);
        set_rules(setup, RULES);
    })
}

/// Files in all corners.
fn fill(service: &crate::Service) {
    for file in ["child1/a", "child2/a", "device_child2__/config_update/x", "public/a", "a"] {
        let path = service.path("data/file-transfer").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "a content").unwrap();
    }
}

fn connect(secured: &Secured, pair: &Pair) -> Client {
    let config = tls(&secured.authority.cert, Some(pair));
    Client::connect_tls(secured.service.address, &config).unwrap()
}

#[test]
fn two_children_and_an_agent_have_their_corners() {
    let secured = ruled();
    fill(&secured.service);
    let [child1, child2, agent] =
        ["child1", "child2", "main-agent"].map(|name| secured.authority.client(name, Key::P256));
    let ask = |pair: &Pair, method: &str, path: &str| {
        let url = secured.service.url(path);
        let curl = crate::Curl::new(&url).tls(&secured.authority.cert, Some(pair));
        let curl = if method == "PUT" { curl.put("new") } else { curl.method(method) };
        let answer = curl.answer();
        (answer.status, answer.text())
    };
    let status = |pair: &Pair, method: &str, path: &str| ask(pair, method, path).0;
    for prefix in ["/tedge/file-transfer", "/te/v1/files"] {
        let at = |path: &str| format!("{prefix}/{path}");
        // What thin-edge.io's mapper, agents and firmware manager have clients do.
        for (pair, path) in [
            (&child1, "child1/log_upload/syslog-c8y-mapper-1"),
            (&child1, "child1/config_snapshot/path:type:A-c8y-mapper-1"),
            (&child2, "child2/config_snapshot/collectd-c8y-mapper-2"),
            (&agent, "main/config_snapshot/tedge.toml-local-3"),
            (&agent, "child2/firmware_update/93d50a297a8c235"),
        ] {
            assert_eq!(status(pair, "PUT", &at(path)), 201, "{path}");
            assert_eq!(ask(pair, "GET", &at(path)), (200, "new".to_owned()), "{path}");
            assert_eq!(status(&agent, "GET", &at(path)), 200, "{path}");
            assert_eq!(status(pair, "DELETE", &at(path)), 202, "{path}");
        }
        assert_eq!(status(&child2, "GET", &at("device_child2__/config_update/x")), 200);
        assert_eq!(status(&child1, "GET", &at("device_child2__/config_update/x")), 403);
        for (method, verb) in [("GET", "read"), ("PUT", "write"), ("DELETE", "write")] {
            for missing in ["a", "none"] {
                let refused = ask(&child1, method, &at(&format!("child2/{missing}")));
                let text = format!("child1 may not {verb} below \"/child2/\"\n");
                assert_eq!(refused, (403, text), "{method} {missing}");
            }
        }
        assert_eq!(status(&child1, "PUT", &at("a")), 403);
        assert_eq!(status(&child1, "PUT", &at("public/a")), 403);
        assert_eq!(status(&child1, "GET", &at("public/a")), 200);
    }
    assert_eq!(status(&child1, "GET", "/health"), 200);
    let kept = stored(&secured.service);
    assert_eq!(kept.len(), 5, "{:?}", kept.keys());
    assert!(kept.values().all(|content| content == b"a content"));
}

#[test]
fn no_spelling_of_a_path_leads_to_the_corner_of_another() {
    let secured = ruled();
    fill(&secured.service);
    let child = secured.authority.client("child1", Key::P256);
    let mut client = connect(&secured, &child);
    let mut ask = |target: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.exchange(head).status
    };
    for prefix in ["/tedge/file-transfer", "/te/v1/files"] {
        for (path, status) in [
            ("child1/a", 200),
            ("child1//a", 200),
            ("./child1/./a", 200),
            ("%63hild1%2Fa", 200),
            ("child1/a/", 200),
            ("child1/a?b=/child2/a", 200),
            ("child2/a", 403),
            ("child2/a/", 403),
            ("child2//a", 403),
            (".//child2/a", 403),
            ("%63hild2%2fa", 403),
            ("child%32/a", 403),
            ("child2/%61", 403),
            ("Child1/a", 403),
            ("child1;v=1/a", 403),
            ("child1%00/a", 400),
            ("child1%5Ca", 403),
            ("child1\\a", 403),
            ("child1", 403),
            ("child1/", 403),
            ("child1/../child2/a", 400),
            ("child1/%2e%2e/child2/a", 400),
            ("child1/..;/child2/a", 404),
            ("child1/%252e%252e/child2/a", 404),
            ("../child2/a", 404),
            ("сhild1/a", 403),
        ] {
            let target: String = if path.is_ascii() {
                format!("{prefix}/{path}")
            } else {
                path.bytes().fold(format!("{prefix}/"), |target, byte| {
                    if byte.is_ascii() {
                        target + &char::from(byte).to_string()
                    } else {
                        target + &format!("%{byte:02X}")
                    }
                })
            };
            assert_eq!(ask(&target), status, "{target}");
            let absolute = format!("https://localhost{target}");
            assert_eq!(ask(&absolute), status, "{absolute}");
        }
    }
    for target in ["/TE/V1/FILES/child2/a", "/te/v1/files%2Fchild2/a", "//te/v1/files/child2/a"] {
        assert_eq!(ask(target), 404, "{target}");
    }
}

#[test]
fn what_is_refused_is_refused_alike_whether_it_exists_or_not() {
    let secured = ruled();
    fill(&secured.service);
    let child = secured.authority.client("child1", Key::P256);
    let fields = |answer: &crate::support::answer::Answer| {
        let kept = answer.fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
        kept.cloned().collect::<Vec<_>>()
    };
    for more in [
        "",
        "Range: bytes=0-1\r\n",
        "If-None-Match: *\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    ] {
        for method in ["GET", "HEAD", "DELETE", "POST", "PATCH", "OPTIONS", "get", "TRACE"] {
            let [there, missing] = ["a", "none"].map(|name| {
                let mut client = connect(&secured, &child);
                let target = format!("/te/v1/files/child2/{name}");
                let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
                client.send(head).unwrap();
                client.answer_to(method).unwrap()
            });
            assert_eq!(there.status, 403, "{method} {more}");
            assert_eq!((fields(&there), there.body), (fields(&missing), missing.body), "{method}");
        }
    }
    let mut client = connect(&secured, &child);
    assert_eq!(client.exchange(request("POST", "child1/a")).status, 405, "allowed, but not here");
}

#[test]
fn a_refusal_comes_before_the_body() {
    let secured = ruled();
    let child = secured.authority.client("child1", Key::P256);
    for more in ["", "Expect: 100-continue\r\n"] {
        let mut client = connect(&secured, &child);
        // Of 100 MB not one byte is sent.
        let answer = client.exchange(put_head("child2/a", 100_000_000, more));
        assert_eq!(answer.status, 403);
        assert_eq!(answer.interim, [0; 0]);
        assert_eq!(answer.field("connection"), Some("close"));
    }
    // A request without a body leaves the connection open.
    let mut client = connect(&secured, &child);
    for _ in 0..3 {
        assert_eq!(client.exchange(request("DELETE", "child2/a")).status, 403);
    }
    assert_eq!(client.exchange(put("child1/a", "mine")).status, 201);
    assert_eq!(stored(&secured.service).len(), 1);
}

#[test]
fn a_hostile_name_opens_nothing() {
    let secured = ruled();
    fill(&secured.service);
    // openssl takes a backslash before a slash in a subject.
    for (index, (subject, alternative, corner)) in [
        ("/CN=child1", "", Some("child1")),
        ("/CN=child2", "DNS:child1", Some("child1")),
        ("/CN=child2", "URI:child1", Some("child1")),
        ("/CN=child2", "email:child1", Some("child1")),
        ("/CN=child2", "DNS:other,DNS:child1", Some("child1")),
        ("/CN=child1", "IP:192.0.2.1", Some("child1")),
        ("/CN=child1", "DNS:child2", Some("child2")),
        ("/CN=child1", "email:a@b.example", None),
        ("/CN=CHILD1", "", None),
        ("/CN=сhild1", "", None),
        ("/CN=child1\u{200b}", "", None),
        ("/CN=child1 ", "", None),
        ("/CN=child1\\/", "", None),
        ("/CN=\\/", "", None),
        ("/CN=\\/child1", "", None),
        ("/CN=..", "", None),
        ("/CN=.", "", None),
        ("/CN=..\\/child1", "", None),
        ("/CN=*", "", None),
        ("/CN={who}", "", None),
        ("/CN=%63hild1", "", None),
        ("/CN=child1\\/..\\/child1", "", None),
        ("/O=child1", "", None),
        ("/CN=main-agent\u{1}", "", None),
        ("/CN=child1", "DNS:*", None),
        ("/CN=child1", "URI:/", None),
        ("/CN=child1", "URI:..", None),
    ]
    .into_iter()
    .enumerate()
    {
        let pair = secured.authority.client_named(&format!("c{index}"), subject, alternative);
        let mut client = connect(&secured, &pair);
        for place in ["child1", "child2", "main-agent", ".", "%2A"] {
            let status = if corner == Some(place) { 200 } else { 403 };
            let answer = client.exchange(request("GET", &format!("{place}/a")));
            assert_eq!(answer.status, status, "{subject} {alternative} {place}");
        }
    }
}

#[test]
fn without_certificates_the_network_decides() {
    let configure = |rules: &'static str| move |setup: &mut Setup| set_rules(setup, rules);
    let service = start(configure(RULES));
    fill(&service);
    let refused = curl(&service, "child1/a").answer();
    let text = "127.0.0.1 may not read below \"/child1/\"\n";
    assert_eq!((refused.status, refused.text().as_str()), (403, text));
    assert_eq!(curl(&service, "public/a").answer().status, 200);
    assert_eq!(curl(&service, "public/b").answer().status, 404);
    assert_eq!(curl(&service, "public/a").put("x").answer().status, 403);
    let said = "names clients (line 2), but without http.ca_path they have no names";
    assert!(service.log().contains(said), "{}", service.log());

    // Level 2.
    let secured = Secured::start(|setup, _| set_rules(setup, RULES));
    fill(&secured.service);
    let status = |path: &str| secured.curl(&format!("/te/v1/files/{path}")).answer().status;
    assert_eq!((status("public/a"), status("child1/a")), (200, 403));

    let elsewhere = "[[rule]]\nfrom = \"192.0.2.0/24\"\nmay = [\"read\"]\nbelow = \"/\"\n";
    let service = start(configure(elsewhere));
    fill(&service);
    assert_eq!(curl(&service, "public/a").answer().status, 403);
    assert!(!service.log().contains(said));
}

#[test]
fn a_rule_about_entities_opens_no_file() {
    let service = start(|setup| {
        let all = "from = \"127.0.0.0/8\"\nmay = [\"read\", \"write\"]";
        let below = "below = [\"/te/v1/entities/device/a//\", \"/te/v1/other/\"]";
        set_rules(setup, &format!("[[rule]]\n{all}\n{below}\n"));
    });
    assert_eq!(curl(&service, "te/v1/other/a").put("x").answer().status, 201);
    assert_eq!(curl(&service, "te/v1/entities/device/a/x").put("x").answer().status, 403);
    assert_eq!(curl(&service, "te/v1/entities").put("x").answer().status, 403);
    for (path, status) in [("a//", 404), ("a", 404), ("b//", 403)] {
        let url = service.url(&format!("/te/v1/entities/device/{path}"));
        assert_eq!(crate::Curl::new(&url).answer().status, status, "{path}");
    }
}

#[test]
fn new_rules_hold_for_open_connections_and_bad_ones_keep_the_old() {
    let secured = ruled();
    fill(&secured.service);
    let child = secured.authority.client("child1", Key::P256);
    let mut client = connect(&secured, &child);
    let mut status = |path: &str| client.exchange(request("GET", path)).status;
    assert_eq!((status("child1/a"), status("child2/a")), (200, 403));
    let log = secured.service.log();
    let serving = log.lines().find(|line| line.contains("Serving ")).unwrap();
    assert!(serving.ends_with(", clients need a certificate from 1 CA, 3 access rules"), "{log}");
    let rules = secured.service.path("access.toml");
    let reload = |text: &str, said: &str| {
        fs::write(&rules, text).unwrap();
        secured.service.signal(Signal::HUP);
        secured.service.wait_for(said, SOON);
    };
    reload(&RULES.replace("{who}", "child2"), "reloaded: 3 access rules");
    assert_eq!((status("child1/a"), status("child2/a")), (403, 200));
    reload("[[rule]]\nmay = []\n", "the old rules stay in use: http.access_path: ");
    assert!(
        secured.service.log().contains("/access.toml cannot be used: line 2: expected a string"),
        "{}",
        secured.service.log()
    );
    assert_eq!((status("child1/a"), status("child2/a")), (403, 200));
    fs::remove_file(&rules).unwrap();
    secured.service.signal(Signal::HUP);
    secured.service.wait_for("access.toml does not exist", SOON);
    assert_eq!((status("child1/a"), status("child2/a")), (403, 200));
}

#[test]
fn bad_rules_stop_the_start() {
    for (rules, said) in [
        ("", "access.toml cannot be used: line 1: there is no rule, so no client may do anything"),
        ("\n[[rule]]\nwhom = \"a\"\n", "access.toml cannot be used: line 3: no such key"),
        ("[[rule]]\nmay = \"all\"\n", "access.toml cannot be used: line 2: expected \"read\""),
    ] {
        for check in [false, true] {
            let ended = run(|setup| {
                set_rules(setup, rules);
                if check {
                    setup.argument("--check");
                }
            });
            assert_eq!(ended.code(), 78, "{rules}");
            assert!(ended.log.contains("http.access_path: "), "{}", ended.log);
            assert!(ended.log.contains(said), "{}", ended.log);
        }
    }
    let missing = |setup: &mut Setup| {
        setup.set_own_path("http.access_path", Path::new("/nowhere/access.toml"));
    };
    let ended = run(missing);
    let said = "http.access_path: /nowhere/access.toml does not exist";
    assert!(ended.code() == 78 && ended.log.contains(said), "{}", ended.log);
}

#[test]
fn the_log_tells_once_who_was_refused() {
    let secured = ruled();
    let child = secured.authority.client("child1", Key::P256);
    let mut client = connect(&secured, &child);
    for number in 0..20 {
        client.exchange(request("GET", &format!("child2/{number}")));
    }
    let said = "child1 may not read below \"/child2/\"";
    eventually("the log has a line", SOON, || secured.service.log().contains(said));
    assert_eq!(secured.service.log().matches(said).count(), 1);
}
