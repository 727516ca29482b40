//! Upstream is reached through an HTTP proxy where there is one, and past it where told so.

use crate::support::connect_proxy::ConnectProxy;
use crate::support::device::{Device, Outside};
use crate::support::service::Setup;
use crate::support::websocket::WebSocket;

fn behind(
    login: Option<(&str, &str)>,
    configure: impl FnOnce(&mut Setup),
) -> (Device, ConnectProxy) {
    let outside = Outside::new();
    let proxy = ConnectProxy::start(outside.cloud.address(), login).unwrap();
    let address = proxy.address().unwrap();
    let device = Device::among(outside, |setup| {
        setup.set("proxy.address", format!("http://{address}"));
        configure(setup);
    });
    (device, proxy)
}

fn websocket(device: &Device) -> WebSocket {
    WebSocket::ask(device.connect(), "/c8y/service/echo?a=b", "").unwrap()
}

#[test]
fn https_and_websockets_go_through_it() {
    let (device, proxy) = behind(None, |_| {});
    device.warm();
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1);
    let port = device.cloud().address().port();
    assert!(heads[0].starts_with(&format!("CONNECT localhost:{port} HTTP/1.1\r\n")), "{heads:?}");
    assert!(heads[0].contains(&format!("ost: localhost:{port}\r\n")), "{heads:?}");
    assert!(!heads[0].contains("uthorization"), "the token is none of its business: {heads:?}");
    // The first may take over the connection that is there, the second cannot.
    let mut clients = [websocket(&device), websocket(&device)];
    for client in &mut clients {
        client.echo("hello");
    }
    assert_eq!(proxy.heads().len(), 2);
}

#[test]
fn it_gets_name_and_password() {
    let login = ("device", "pass:wörd");
    let (device, proxy) = behind(Some(login), |setup| {
        setup.set("proxy.username", login.0);
        setup.set("proxy.password", login.1);
    });
    device.warm();
    let clients = [websocket(&device), websocket(&device)];
    assert!(clients.iter().all(WebSocket::is_open));
    assert_eq!(proxy.heads().len(), 2);
    assert!(!device.proxy.log().contains(login.1), "{}", device.proxy.log());
}

#[test]
fn it_gets_name_and_password_from_its_address() {
    let outside = Outside::new();
    let proxy =
        ConnectProxy::start(outside.cloud.address(), Some(("device", "pass:wörd"))).unwrap();
    let address = proxy.address().unwrap();
    let device = Device::among(outside, |setup| {
        setup.set("proxy.address", format!("http://device:pass:w%C3%B6rd@{address}"));
    });
    device.warm();
    assert_eq!(proxy.heads().len(), 1);
    assert!(!device.proxy.log().contains("pass:w"), "{}", device.proxy.log());
}

#[test]
fn its_refusal_is_told_in_words() {
    let (device, _proxy) = behind(Some(("device", "password")), |_| {});
    let answer = device.get("/c8y/tenant/currentTenant");
    assert_eq!(answer.status, 502);
    let text = answer.text();
    assert!(text.starts_with("Error communicating with Cumulocity: "), "{text}");
    assert!(text.contains("407"), "{text}");
}

#[test]
fn its_absence_is_told_in_words() {
    let (device, proxy) = behind(None, |_| {});
    let address = proxy.address().unwrap().to_string();
    drop(proxy);
    let answer = device.get("/c8y/tenant/currentTenant");
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains(&address), "{}", answer.text());
}

#[test]
fn a_name_need_not_be_known_here() {
    let outside = Outside::new();
    let proxy = ConnectProxy::start(outside.cloud.address(), None).unwrap();
    let address = proxy.address().unwrap();
    let device = Device::among(outside, |setup| {
        setup.set("proxy.address", format!("http://{address}"));
        setup.set("c8y.http", "cloud.example");
    });
    device.warm();
    assert!(proxy.heads()[0].starts_with("CONNECT cloud.example:443 HTTP/1.1\r\n"));
    device.get("/c8y/service/echo");
    let request = device.cloud().seen().requests.remove(0);
    assert_eq!(request.field("host"), Some(&b"cloud.example"[..]));
    assert_eq!(device.cloud().seen().connections[0].server_name.as_deref(), Some("cloud.example"));
}

#[test]
fn no_proxy_goes_past_it() {
    for no_proxy in ["localhost", "example.com, localhost", "*", "LOCALHOST"] {
        let (device, proxy) = behind(None, |setup| setup.set("proxy.no_proxy", no_proxy));
        device.warm();
        assert!(websocket(&device).is_open());
        assert!(proxy.heads().is_empty(), "{no_proxy}");
    }
    let (device, proxy) = behind(None, |setup| setup.set("proxy.no_proxy", "ocalhost, local"));
    device.warm();
    assert_eq!(proxy.heads().len(), 1, "a part of a name is not the name");
}

#[test]
fn connections_through_it_are_kept_alive() {
    let (device, proxy) = behind(None, |_| {});
    for _ in 0..20 {
        assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    }
    assert_eq!(proxy.heads().len(), 1);
}
