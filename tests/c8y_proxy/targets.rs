//! Path and query are forwarded byte for byte; only `/c8y` is removed.

use crate::support::device::{Device, SOON};

fn sent(device: &Device, target: &str) -> String {
    device.cloud().forget();
    let answer = device.get(&format!("/c8y{target}"));
    let seen = device.cloud().seen().requests;
    assert_eq!(seen.len(), 1, "{target}: {} {}", answer.status, answer.text());
    String::from_utf8_lossy(seen[0].target()).into_owned()
}

#[test]
fn path_and_query_are_not_touched() {
    let device = Device::start();
    device.warm();
    for target in [
        "/inventory/managedObjects",
        "/inventory/managedObjects?pageSize=5&query=%24filter%3D(name+eq+%27a%27)",
        "/identity/externalIds/c8y_Serial/ns=2;s=Machine%2FLine%3A1",
        "/service/echo/a;b;c",
        "/service/echo/a%2Fb%2fc",
        "/service/echo/a%3Ab:c",
        "/service/echo//double///slashes//",
        "/service/echo/../up",
        "/service/echo/%2e%2e/up/./here",
        "/service/echo/%25%20%00%ff%C3%A4",
        "/service/echo/!$&'()*+,;=:@-._~",
        "/service/echo/|^{}\"\\[]",
        "/service/echo/?",
        "/service/echo/??a=?",
        "/service/echo/?a=%2F/;&b[]=[{|}]",
        "/service/echo/c8y/c8y",
        "//service/echo",
    ] {
        assert_eq!(sent(&device, target), target);
    }
}

#[test]
fn what_no_target_can_contain_is_refused_and_not_repaired() {
    // RFC 3986, 3.3 and 3.4; a client has to encode these. Some are let through in a path.
    let device = Device::start();
    for target in ["/x?a=\"b\"", "/x?a=<b>", "/<x>", "/a b", "/a\tb", "/a\x7fb"] {
        let answer = device.get(&format!("/c8y{target}"));
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
    }
    assert!(device.cloud().seen().requests.is_empty());
    // Clients do not send a fragment (RFC 3986, 3.5).
    assert_eq!(sent(&device, "/x?a=b#c"), "/x?a=b");
}

#[test]
fn ids_of_many_kilobytes_cross() {
    let device = Device::start();
    device.warm();
    let id = "ns=4;s=%7C".repeat(2_000);
    let target = format!("/identity/externalIds/c8y_OpcUa/{id}?x={}", "y".repeat(2_000));
    assert_eq!(sent(&device, &target), target);
}

#[test]
fn the_root_of_the_api_is_the_root_of_the_cloud() {
    let device = Device::start();
    device.warm();
    assert_eq!(sent(&device, ""), "/");
    assert_eq!(sent(&device, "/"), "/");
    assert_eq!(sent(&device, "?a=b"), "/?a=b");
    assert_eq!(sent(&device, "/?a=b"), "/?a=b");
}

#[test]
fn other_paths_are_not_found_and_not_forwarded() {
    let device = Device::start();
    for target in ["/", "/c8yfoo", "/C8Y/x", "/c8", "/x/c8y/y", "//c8y/x", "/te/v1/files/x"] {
        assert_eq!(device.get(target).status, 404, "{target}");
    }
    assert!(device.cloud().seen().requests.is_empty());
}

#[test]
fn every_method_of_cumulocity_crosses() {
    let device = Device::start();
    device.warm();
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let head = format!("{method} /c8y/service/echo/m HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(device.ask(head).status, 200, "{method}");
        let seen = device.cloud().seen().requests;
        assert_eq!(seen.last().unwrap().method(), method.as_bytes());
    }
}

#[test]
fn other_methods_are_not_allowed_and_the_answer_says_which_are() {
    let device = Device::start();
    for method in ["TRACE", "CONNECT", "PROPFIND", "get", "BREW"] {
        let head = format!("{method} /c8y/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = device.ask(head);
        // CONNECT has no path: a server may refuse the target before it looks at the method.
        let expected: &[u16] = if method == "CONNECT" { &[400, 404, 405] } else { &[405] };
        assert!(expected.contains(&answer.status), "{method}: {}", answer.status);
        if answer.status == 405 {
            let allow = answer.field("allow").unwrap();
            let mut allowed: Vec<_> = allow.split(',').map(str::trim).collect();
            allowed.sort_unstable();
            assert_eq!(allowed, ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]);
        }
    }
    assert!(device.cloud().seen().requests.is_empty());
}

#[test]
fn health_tells_the_state_of_token_and_broker() {
    let mut device = Device::start();
    let health = |device: &Device| {
        let answer = device.get("/health");
        assert_eq!(answer.status, 200);
        let health: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(health["status"], "up");
        ["token", "broker"].map(|key| health[key].as_str().unwrap().to_owned())
    };
    device.proxy.wait_for("connected to the broker", SOON);
    assert_eq!(health(&device), ["none", "connected"]);
    device.warm();
    assert_eq!(health(&device), ["valid", "connected"]);
    device.outside.stop_broker();
    device.proxy.wait_for(" is not available: ", SOON);
    assert_eq!(health(&device), ["valid", "disconnected"]);
}
