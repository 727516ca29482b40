//! Header fields are forwarded in both directions, byte for byte, except those of a single
//! connection.

use std::collections::BTreeSet;

use crate::support::cloud::Script;
use crate::support::device::Device;

fn names(fields: &[(&[u8], &[u8])]) -> BTreeSet<String> {
    fields.iter().map(|(name, _)| String::from_utf8_lossy(name).to_lowercase()).collect()
}

#[test]
fn a_bare_request_gets_nothing_but_host_and_authorization() {
    let device = Device::start();
    device.warm();
    device.ask("GET /c8y/service/echo HTTP/1.1\r\nHost: whatever:1234\r\n\r\n");
    let request = device.cloud().seen().requests.remove(0);
    assert_eq!(names(&request.fields()), ["authorization", "host"].map(String::from).into());
    let host = format!("localhost:{}", device.cloud().address().port());
    assert_eq!(request.all("host"), [host.as_bytes()]);
    assert!(request.bearer().is_some());
    assert_eq!(request.length, 0);
}

#[test]
fn values_cross_byte_for_byte_on_the_way_up() {
    let device = Device::start();
    device.warm();
    let mut head = b"GET /c8y/service/echo HTTP/1.1\r\nHost: a\r\n".to_vec();
    let latin: Vec<u8> = (0x80..=0xff).collect();
    let values: [&[u8]; 5] =
        ["Grüße, 世界".as_bytes(), &latin, b"a,  b ;c=\"d\\\"\"", b"", b"Dupli, cate"];
    for value in values {
        head.extend_from_slice(b"X-Value: ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"User-Agent: mine/1\r\nCookie: a=b; c=d\r\nAccept-Encoding: br\r\n");
    head.extend_from_slice(b"X-Cumulocity-Processing-Mode: TRANSIENT\r\nVia: 1.1 x\r\n\r\n");
    assert_eq!(device.ask(head).status, 200);
    let request = device.cloud().seen().requests.remove(0);
    assert_eq!(request.all("x-value"), values);
    assert_eq!(request.field("user-agent").unwrap(), b"mine/1");
    assert_eq!(request.field("cookie").unwrap(), b"a=b; c=d");
    assert_eq!(request.field("accept-encoding").unwrap(), b"br");
    assert_eq!(request.field("x-cumulocity-processing-mode").unwrap(), b"TRANSIENT");
}

#[test]
fn values_cross_byte_for_byte_on_the_way_down() {
    let device = Device::start();
    let latin: Vec<u8> = (0x80..=0xff).collect();
    let mut head = b"HTTP/1.1 200 Sch\xf6n\r\nContent-Length: 2\r\n".to_vec();
    let values: [&[u8]; 4] = ["Grüße".as_bytes(), &latin, b"", b"a,  b"];
    for value in values {
        head.extend_from_slice(b"X-Value: ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nServer: theirs\r\n\r\nok");
    device.cloud().answer("/x", Script::new().send(head));
    let answer = device.get("/c8y/x");
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    assert_eq!(answer.values("x-value"), values);
    assert_eq!(answer.values("set-cookie"), [b"a=b", b"c=d"]);
    assert_eq!(answer.values("server"), [b"theirs"]);
    assert!(answer.field("x-content-type-options").is_none(), "nothing is added");
}

#[test]
fn hop_by_hop_fields_end_here_on_the_way_up() {
    let device = Device::start();
    device.warm();
    let answer = device.ask(
        "POST /c8y/service/echo HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine\r\n\
         connection: x-other\r\nX-Mine: 1\r\nX-Other: 2\r\nX-Stays: 3\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nTE: trailers\r\n\
         Trailer: X-Sum\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\n1",
    );
    assert_eq!(answer.status, 200);
    let request = device.cloud().seen().requests.remove(0);
    let kept = ["authorization", "content-length", "host", "x-stays"].map(String::from);
    assert_eq!(names(&request.fields()), kept.into());
}

#[test]
fn hop_by_hop_fields_end_here_on_the_way_down() {
    let device = Device::start();
    device.cloud().answer(
        "/x",
        Script::new().send(
            "HTTP/1.1 200 OK\r\nConnection: X-Mine, keep-alive\r\nX-Mine: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nProxy-Connection: close\r\n\
             Upgrade: h2c\r\nX-Stays: 2\r\nContent-Length: 2\r\n\r\nok",
        ),
    );
    let answer = device.get("/c8y/x");
    assert_eq!((answer.status, answer.field("x-stays")), (200, Some("2")));
    for name in ["x-mine", "keep-alive", "proxy-authenticate", "proxy-connection", "upgrade"] {
        assert!(answer.field(name).is_none(), "{name}");
    }
}

#[test]
fn fields_that_connection_names_do_not_take_the_credentials_away() {
    let device = Device::start();
    device.warm();
    let head = "GET /c8y/tenant/currentTenant HTTP/1.1\r\nHost: a\r\n\
        Connection: Authorization, Host, Content-Length\r\n\r\n";
    assert_eq!(device.ask(head).status, 200);
    assert_eq!(device.cloud().seen().requests.len(), 1);
}

#[test]
fn a_hundred_fields_cross() {
    let device = Device::start();
    device.warm();
    let fields: String = (0..90).map(|n| format!("X-Field-{n}: {n}\r\n")).collect();
    let answer = device.ask(format!("GET /c8y/service/echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert_eq!(answer.status, 200);
    let request = device.cloud().seen().requests.remove(0);
    assert!((0..90).all(|n| request.field(&format!("x-field-{n}")).is_some()));
}

#[test]
fn what_a_careless_cloud_writes_is_repaired() {
    let device = Device::start();
    let head = "HTTP/1.1 200 OK\r\nX-A : a\r\nX-B:\tb\r\n  folded\r\n\tagain\r\n\
                Connection: Upgrade\r\nUpgrade: h2,h2c\r\nContent-Length : 2\r\n\r\nok";
    device.cloud().answer("/x", Script::new().send(head));
    let answer = device.get("/c8y/x");
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    assert_eq!(answer.field("x-a"), Some("a"));
    let folded: Vec<_> = answer.field("x-b").unwrap().split_ascii_whitespace().collect();
    assert_eq!(folded, ["b", "folded", "again"]);
    assert_eq!((answer.field("upgrade"), answer.field("connection")), (None, None));
}

#[test]
fn many_fields_and_long_cookies_cross_down() {
    let device = Device::start();
    let mut head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n".to_owned();
    for number in 0..94 {
        head += &format!("X-{number}: {number}\r\n");
    }
    for number in 0..5 {
        head += &format!("Set-Cookie: c{number}={}\r\n", "x".repeat(4096));
    }
    device.cloud().answer("/x", Script::new().send(head + "\r\nok"));
    let answer = device.get("/c8y/x");
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]), "{}", answer.text());
    assert_eq!(answer.field("x-93"), Some("93"));
    assert_eq!(answer.values("set-cookie").len(), 5);
}

#[test]
fn an_answer_with_a_head_beyond_the_limits_is_a_502_that_names_them() {
    let device = Device::start();
    device.warm();
    let fields: String = (0..100).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "x".repeat(70 * 1024));
    for fields in [fields, long] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}\r\nok");
        device.cloud().answer("/x", Script::new().send(head));
        let answer = device.get("/c8y/x");
        assert_eq!(answer.status, 502, "{}", answer.text());
        let text = answer.text();
        assert!(text.contains("has more than 100 field lines or 32 KiB"), "{text}");
        let answer = device.get("/c8y/tenant/currentTenant");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}
