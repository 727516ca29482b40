//! A web page that is open on the device cannot act as the device in Cumulocity.

use crate::support::device::{Device, SOON};
use crate::support::websocket::WebSocket;

const CROSS: &str = "Sec-Fetch-Site: cross-site\r\nOrigin: https://attacker.example\r\n";
const PANEL: &str = "Sec-Fetch-Site: cross-site\r\nOrigin: https://panel.example.com\r\n";

/// What a form can send, or a script without asking beforehand.
fn post(host: &str, fields: &str) -> String {
    format!(
        "POST /c8y/event/events HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\n\
         Content-Length: 2\r\n{fields}\r\n{{}}"
    )
}

#[test]
fn a_page_of_another_site_reaches_no_cloud() {
    let device = Device::start();
    device.warm();
    let seen = device.cloud().seen().requests.len();
    for fields in [CROSS, "Sec-Fetch-Site: same-site\r\n", "Origin: null\r\n"] {
        let answer = device.ask(post("localhost", fields));
        assert_eq!(answer.status, 403, "{fields}");
        assert!(answer.text().contains("c8y.proxy.allowed_origins"), "{}", answer.text());
        let client = WebSocket::ask(device.connect(), "/c8y/service/echo", fields).unwrap();
        assert_eq!(client.answer.status, 403, "a WebSocket with {fields}");
        let image = format!("GET /c8y/inventory/binaries/1 HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(device.ask(image).status, 403, "an image with {fields}");
    }
    // Nor does one whose name was bound to the device.
    let same = "Sec-Fetch-Site: same-origin\r\nOrigin: http://attacker.example:8001\r\n";
    let answer = device.ask(post("attacker.example:8001", same));
    assert_eq!(answer.status, 421);
    assert!(answer.text().contains("c8y.proxy.allowed_hosts"), "{}", answer.text());
    assert_eq!(device.cloud().seen().requests.len(), seen);
    device.proxy.wait_for("c8y.proxy.allowed_hosts", SOON);
}

#[test]
fn a_page_that_is_allowed_asks_as_others_do() {
    let device = Device::with(|setup| {
        setup.set_own("c8y.proxy.allowed_origins", "\"https://panel.example.com\"");
    });
    device.warm();
    let seen = device.cloud().seen().requests.len();
    let preflight = format!(
        "OPTIONS /c8y/event/events HTTP/1.1\r\nHost: localhost\r\n{PANEL}\
         Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n"
    );
    let answer = device.ask(preflight);
    assert_eq!(answer.status, 204);
    assert_eq!(answer.field("access-control-allow-headers"), Some("content-type"));
    assert_eq!(device.cloud().seen().requests.len(), seen, "it is answered here");

    let got = format!("GET /c8y/tenant/currentTenant HTTP/1.1\r\nHost: localhost\r\n{PANEL}\r\n");
    let answer = device.ask(got);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.values("access-control-allow-origin"), [b"https://panel.example.com"]);
    let client = WebSocket::ask(device.connect(), "/c8y/service/echo", PANEL).unwrap();
    assert!(client.is_open());
    assert_eq!(device.ask(post("localhost", CROSS)).status, 403);
}
