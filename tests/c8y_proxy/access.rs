//! Access rules: which client may send which requests to Cumulocity.

use std::fs;

use rustix::process::Signal;

use crate::support::certificates::{Authority, Key, Pair};
use crate::support::client::{Client, tls};
use crate::support::device::{Device, SOON};
use crate::support::service::Setup;
use crate::support::websocket::WebSocket;

/// A child may fetch binaries, and send events and nothing else; another one may listen to
/// notifications; the agent may do everything.
const RULES: &str = r#"
[[rule]]
who = "child1"
may = ["GET"]
below = "/inventory/binaries/"

[[rule]]
who = "child1"
may = ["POST"]
exactly = "/event/events"

[[rule]]
who = "child2"
may = ["read"]
exactly = ["/service/echo", "/notification2/consumer/"]

[[rule]]
who = "main-agent"
may = ["read", "write", "OPTIONS"]
below = "/"
"#;

struct Ruled {
    device: Device,
    authority: Authority,
}

/// Makes the proxy require certificates of an authority, which is returned, and apply rules.
pub(crate) fn demand_certificates(setup: &mut Setup, rules: &str) -> Authority {
    let authority = Authority::new(setup.directory(), "local-ca");
    let server = authority.server("proxy", Key::P256);
    setup.set("c8y.proxy.cert_path", &server.cert);
    setup.set("c8y.proxy.key_path", &server.key);
    setup.set("c8y.proxy.ca_path", &authority.cert);
    let file = setup.directory().join("access.toml");
    fs::write(&file, rules).unwrap();
    setup.set_own_path("c8y.proxy.access_path", file);
    authority
}

impl Ruled {
    fn new() -> Self {
        let mut made = None;
        let device = Device::with(|setup| made = Some(demand_certificates(setup, RULES)));
        Self { device, authority: made.unwrap() }
    }

    fn client(&self, name: &str) -> Pair {
        self.authority.client(name, Key::P256)
    }

    fn connect(&self, pair: &Pair) -> Client {
        let config = tls(&self.authority.cert, Some(pair));
        Client::connect_tls(self.device.proxy.address, &config).unwrap()
    }

    /// What Cumulocity has seen since the last call: methods and targets.
    fn crossed(&self) -> Vec<String> {
        let seen = self.device.cloud().seen().requests;
        self.device.cloud().forget();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        seen.iter().map(|r| format!("{} {}", text(r.method()), text(r.target()))).collect()
    }
}

fn head(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{fields}\r\n")
}

#[test]
fn a_child_may_fetch_binaries_and_send_events_and_nothing_else() {
    let ruled = Ruled::new();
    let pair = ruled.client("child1");
    let mut client = ruled.connect(&pair);
    let answer = client.exchange(head("POST", "/c8y/event/events", ""));
    assert_ne!(answer.status, 403, "{}", answer.text());
    assert_eq!(ruled.crossed(), ["POST /event/events"]);
    for target in [
        "/inventory/binaries",
        "/inventory/binaries/",
        "/inventory/binaries/1?x=/../../y",
        "//inventory//binaries/1",
        "/inventor%79/binaries/a%2Fb%3Bc",
        "/inventory/binaries/ns=2;s=a.b",
    ] {
        let answer = client.exchange(head("GET", &format!("/c8y{target}"), ""));
        assert_ne!(answer.status, 403, "{target}: {}", answer.text());
        assert_eq!(ruled.crossed(), [format!("GET {target}")]);
        let absolute = format!("https://localhost/c8y{target}");
        assert_ne!(client.exchange(head("GET", &absolute, "")).status, 403, "{absolute}");
        assert_eq!(ruled.crossed(), [format!("GET {target}")]);
    }

    for (method, target) in [
        ("HEAD", "/inventory/binaries/1"),
        ("POST", "/inventory/binaries"),
        ("DELETE", "/inventory/binaries/1"),
        ("OPTIONS", "/inventory/binaries/1"),
        ("GET", "/event/events"),
        ("POST", "/event/events/1"),
        ("POST", "/event/events/1/binaries"),
        ("POST", "/event/events;v=1"),
        ("POST", "/event/events%3Fx"),
        ("PUT", "/event/events"),
        ("GET", ""),
        ("GET", "/"),
        ("GET", "/?/inventory/binaries/"),
        ("GET", "/inventory/managedObjects/1"),
        ("GET", "/inventory"),
        ("GET", "/Inventory/Binaries/1"),
        ("GET", "/inventory/binariesx"),
        ("GET", "/inventory%2Fbinaries/1"),
        ("GET", "/inventory%5Cbinaries/1"),
        ("GET", "/inventory;v=1/binaries/1"),
        ("GET", "/inventory/binaries;v=1/1"),
        ("GET", "/inventory/binaries/../managedObjects/1"),
        ("GET", "/inventory/binaries/%2e%2E/managedObjects/1"),
        ("GET", "/inventory/binaries/%252e%252e/managedObjects/1"),
        ("GET", "/inventory/binaries/..%2fmanagedObjects/1"),
        ("GET", "/inventory/binaries/..;/managedObjects/1"),
        ("GET", "/inventory/binaries/..%3bx/managedObjects/1"),
        ("GET", "/inventory/binaries/..\\managedObjects/1"),
        ("GET", "/inventory/binaries/..%5C..%5Cuser"),
        ("GET", "/inventory/binaries/.%00./user"),
        ("GET", "/inventory/binaries/%c0%ae%c0%ae/user"),
        ("GET", "/user/../inventory/binaries/1"),
        ("GET", "/./inventory/binaries/1"),
        ("GET", "/apps/../inventory/binaries/1"),
    ] {
        for start in ["", "https://localhost"] {
            let target = format!("{start}/c8y{target}");
            let mut client = ruled.connect(&pair);
            client.send(head(method, &target, "")).unwrap();
            let answer = client.answer_to(method).unwrap();
            assert_eq!(answer.status, 403, "{method} {target}");
        }
    }
    let answer = client.exchange(head("DELETE", "/c8y/inventory/binaries/1", ""));
    assert_eq!(answer.text(), "child1 may not write below \"/inventory/binaries/\"\n");
    assert_eq!(ruled.crossed(), [""; 0]);
    assert_eq!(client.exchange(head("GET", "/health", "")).status, 200);
}

#[test]
fn a_method_that_cumulocity_would_take_it_for_counts() {
    let ruled = Ruled::new();
    let (child, agent) = (ruled.client("child1"), ruled.client("main-agent"));
    let fields = ["X-HTTP-METHOD", "x-http-method-override", "X-Method-Override"];
    for field in fields {
        for value in ["PUT", "delete", " DELETE ", "", "POST, DELETE", "\u{e4}"] {
            let more = format!("{field}: {value}\r\n");
            let mut client = ruled.connect(&child);
            let answer = client.exchange(head("POST", "/c8y/event/events", &more));
            assert_eq!(answer.status, 403, "{more}");
        }
        let twice = format!("{field}: POST\r\n{field}: DELETE\r\n");
        let mut client = ruled.connect(&child);
        assert_eq!(client.exchange(head("POST", "/c8y/event/events", &twice)).status, 403);
    }
    assert_eq!(ruled.crossed(), [""; 0]);
    let same = client_status(&ruled, &child, "X-HTTP-METHOD: POST\r\n");
    let agents = client_status(&ruled, &agent, "X-HTTP-METHOD: DELETE\r\n");
    assert!(same != 403 && agents != 403, "{same} {agents}");
}

fn client_status(ruled: &Ruled, pair: &Pair, fields: &str) -> u16 {
    ruled.connect(pair).exchange(head("POST", "/c8y/event/events", fields)).status
}

#[test]
fn a_websocket_needs_a_rule() {
    let ruled = Ruled::new();
    let [child1, child2] = ["child1", "child2"].map(|name| ruled.client(name));
    let ask = |pair: &Pair| WebSocket::ask(ruled.connect(pair), "/c8y/service/echo", "").unwrap();
    let refused = ask(&child1);
    assert_eq!(refused.answer.status, 403);
    assert_eq!(ruled.crossed(), [""; 0]);
    let mut open = ask(&child2);
    assert!(open.is_open(), "{:?}", open.answer);
    open.echo("hello");
    // Allowed is the path, whatever it is used for.
    let answer = ruled.connect(&child2).exchange(head("GET", "/c8y/service/echo/../x", ""));
    assert_eq!(answer.status, 403);
}

#[test]
fn a_refusal_needs_no_token_and_reads_no_body() {
    let ruled = Ruled::new();
    let pair = ruled.client("child1");
    for more in ["", "Expect: 100-continue\r\n"] {
        let mut client = ruled.connect(&pair);
        let answer = client.exchange(format!(
            "POST /c8y/inventory/managedObjects HTTP/1.1\r\nHost: localhost\r\n\
             Content-Length: 100000000\r\n{more}\r\n"
        ));
        assert_eq!((answer.status, answer.interim.len()), (403, 0));
    }
    assert_eq!(ruled.device.bridge().asked(), 0);
    let stranger = ruled.authority.client_named("none", "/O=thin-edge", "");
    assert_eq!(client_status(&ruled, &stranger, ""), 403);
}

#[test]
fn new_rules_hold_for_open_connections() {
    let ruled = Ruled::new();
    let pair = ruled.client("child1");
    let mut client = ruled.connect(&pair);
    let mut status = || client.exchange(head("GET", "/c8y/tenant/currentTenant", "")).status;
    assert_eq!(status(), 403);
    let rules = format!("{RULES}\n[[rule]]\nwho = \"*\"\nmay = \"read\"\nbelow = \"/tenant\"\n");
    fs::write(ruled.device.proxy.path("access.toml"), rules).unwrap();
    ruled.device.proxy.signal(Signal::HUP);
    ruled.device.proxy.wait_for("reloaded: 5 access rules", SOON);
    assert_eq!(status(), 200);
}
