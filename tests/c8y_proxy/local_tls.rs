//! HTTPS and client certificates towards local clients.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tungstenite::Message;

use crate::support::certificates::{Authority, Key, Pair, Validity};
use crate::support::client::{Client, tls};
use crate::support::device::{Device, SOON};
use crate::support::directory::Directory;
use crate::support::websocket::WebSocket;

/// curl's exit code, the status and what it complains of.
fn curl(device: &Device, ca: &Path, pair: Option<&Pair>) -> (i32, String, String) {
    let url = format!("https://localhost:{}/c8y/tenant/currentTenant", device.proxy.address.port());
    let mut command = Command::new("curl");
    command.args(["--disable", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "30"]);
    command.args(["--noproxy", "*", "--cacert"]).arg(ca).arg(url);
    if let Some(pair) = pair {
        command.arg("--cert").arg(&pair.cert).arg("--key").arg(&pair.key);
    }
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn it_serves_over_tls() {
    let directory = Directory::new();
    let authority = Authority::new(directory.path(), "local-ca");
    let server = authority.server("proxy", Key::Rsa);
    let device = Device::with(|setup| {
        setup.set("c8y.proxy.cert_path", &server.cert);
        setup.set("c8y.proxy.key_path", &server.key);
    });
    assert_eq!(device.proxy.scheme, "https");
    let (exit, status, complaint) = curl(&device, &authority.cert, None);
    assert_eq!((exit, status.as_str()), (0, "200"), "{complaint}");
    let plain = device.get("/c8y/tenant/currentTenant?a=b");
    assert_eq!(plain.status, 307);
    let location = "https://localhost/c8y/tenant/currentTenant?a=b";
    assert_eq!(plain.field("location"), Some(location));
}

#[test]
fn websockets_are_served_over_tls() {
    let directory = Directory::new();
    let authority = Authority::new(directory.path(), "local-ca");
    let server = authority.server("proxy", Key::P256);
    let device = Device::with(|setup| {
        setup.set("c8y.proxy.cert_path", &server.cert);
        setup.set("c8y.proxy.key_path", &server.key);
    });
    let client = Client::connect_tls(device.proxy.address, &tls(&authority.cert, None)).unwrap();
    let mut client = WebSocket::ask(client, "/c8y/service/echo", "").unwrap();
    assert!(client.is_open(), "{:?}", client.answer);
    let message = Message::binary(vec![7; 300_000]);
    client.send(message.clone()).unwrap();
    assert!(client.receive().unwrap() == message);
    client.send(Message::Close(None)).unwrap();
    assert_eq!(client.receive().unwrap(), Message::Close(None));
    // The end of one side is the end of the other, said as TLS says it.
    let ended = client.receive().unwrap_err();
    assert!(!ended.to_string().contains("close_notify"), "{ended}");
}

#[test]
fn a_certificate_is_demanded_and_a_revoked_one_refused() {
    let directory = Directory::new();
    let authority = Authority::new(directory.path(), "local-ca");
    let server = authority.server("proxy", Key::P256);
    let (good, revoked) =
        (authority.client("good", Key::P256), authority.client("revoked", Key::P256));
    let list = authority.revocation_list("list.pem", &[&revoked], Validity::Page);
    let device = Device::with(|setup| {
        setup.set("c8y.proxy.cert_path", &server.cert);
        setup.set("c8y.proxy.key_path", &server.key);
        setup.set("c8y.proxy.ca_path", &authority.cert);
        setup.set_own_path("c8y.proxy.crl_path", &list);
    });
    let (exit, status, complaint) = curl(&device, &authority.cert, Some(&good));
    assert_eq!((exit, status.as_str()), (0, "200"), "{complaint}");
    for (pair, word) in [(None, "certificate required"), (Some(&revoked), "certificate revoked")] {
        let (exit, _, complaint) = curl(&device, &authority.cert, pair);
        assert_ne!(exit, 0, "{word}");
        assert!(complaint.contains(word), "{word}: {complaint}");
    }
    assert_eq!(device.cloud().seen().requests.len(), 1);
}

#[test]
fn a_websocket_of_somebody_revoked_since_is_closed_and_that_of_another_is_not() {
    let directory = Directory::new();
    let authority = Authority::new(directory.path(), "local-ca");
    let server = authority.server("proxy", Key::P256);
    let (good, bad) = (authority.client("good", Key::P256), authority.client("bad", Key::P256));
    let list = authority.revocation_list("list.pem", &[], Validity::Page);
    let device = Device::with(|setup| {
        setup.set("c8y.proxy.cert_path", &server.cert);
        setup.set("c8y.proxy.key_path", &server.key);
        setup.set("c8y.proxy.ca_path", &authority.cert);
        setup.set_own_path("c8y.proxy.crl_path", &list);
    });
    let open = |pair| {
        let config = tls(&authority.cert, Some(pair));
        let client = Client::connect_tls(device.proxy.address, &config).unwrap();
        let mut client = WebSocket::ask(client, "/c8y/service/echo", "").unwrap();
        client.echo("hello");
        client
    };
    let (mut kept, mut closed) = (open(&good), open(&bad));
    authority.revocation_list("list.pem", &[&bad], Validity::Page);
    device.proxy.signal(Signal::HUP);
    closed.socket().set_read_timeout(Some(SOON)).unwrap();
    let end = closed.receive().unwrap_err().to_string();
    assert!(!end.contains("unavailable"), "it is open still: {end}");
    let log = device.proxy.wait_for("the connection is closed", SOON);
    assert!(log.contains("its certificate is revoked"), "{log}");
    kept.echo("still there");
}
