//! Connections to Cumulocity use the HTTP proxy if one is set, except for hosts that are excluded.

use crate::support::certificates::Authority;
use crate::support::cloud::Options;
use crate::support::connect_proxy::{ConnectProxy, in_tls};
use crate::support::device::{Device, Outside, PROGRAM, options};
use crate::support::directory::Directory;
use crate::support::service::{Service, Setup};
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
    assert!(text.contains("it answers 407 "), "{text}");
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

#[test]
fn it_may_be_reached_by_tls() {
    let outside = Outside::new();
    let proxy = ConnectProxy::start(outside.cloud.address(), Some(("a", "b"))).unwrap();
    let port = in_tls(proxy.address().unwrap(), options().tls().unwrap()).unwrap();
    let device = Device::among(outside, |setup| {
        setup.set("proxy.address", format!("https://a:b@localhost:{port}"));
    });
    device.warm();
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let answer = device.post("/c8y/service/echo", &content);
    assert_eq!(answer.status, 200);
    assert!(answer.body == content, "other content came back");
    let mut clients = [websocket(&device), websocket(&device)];
    for client in &mut clients {
        client.echo("hello");
    }
    for _ in 0..20 {
        assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    }
    assert!(proxy.heads().len() <= 3, "connections are kept alive");
}

#[test]
fn a_certificate_of_it_that_is_not_trusted_is_told_in_words() {
    let outside = Outside::new();
    let proxy = ConnectProxy::start(outside.cloud.address(), None).unwrap();
    let directory = Directory::new();
    let own = Authority::new(directory.path(), "another").server_for("proxy", "DNS:localhost");
    let tls = Options::new(&own.cert, &own.key).tls().unwrap();
    let port = in_tls(proxy.address().unwrap(), tls).unwrap();
    let device = Device::among(outside, |setup| {
        setup.set("proxy.address", format!("https://localhost:{port}"));
    });
    let answer = device.get("/c8y/tenant/currentTenant");
    assert_eq!(answer.status, 502);
    let text = answer.text();
    assert!(text.contains(&format!("TLS with localhost:{port} failed: ")), "{text}");
    assert!(text.contains("unknown authority"), "{text}");
    assert!(proxy.heads().is_empty());
}

#[test]
fn that_of_the_environment_is_used_where_nothing_is_set() {
    let through = |configure: &dyn Fn(&mut Setup, String)| {
        let outside = Outside::new();
        let proxy = ConnectProxy::start(outside.cloud.address(), None).unwrap();
        let address = proxy.address().unwrap().to_string();
        let device = Device::among(outside, |setup| configure(setup, address));
        device.warm();
        proxy.heads().len()
    };
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let set = |setup: &mut Setup, address: String| {
            setup.environment(name, &format!("http://{address}"));
        };
        assert_eq!(through(&set), 1, "{name}");
    }
    let not_for_http =
        |setup: &mut Setup, address: String| setup.environment("HTTP_PROXY", &address);
    assert_eq!(through(&not_for_http), 0);
    let past_it = |setup: &mut Setup, address: String| {
        setup.environment("HTTPS_PROXY", &address);
        setup.environment("NO_PROXY", "127.0.0.0/8 localhost");
    };
    assert_eq!(through(&past_it), 0);
    let settings_win = |setup: &mut Setup, address: String| {
        setup.set("proxy.address", format!("http://{address}"));
        setup.set("proxy.no_proxy", "example.com");
        setup.environment("HTTPS_PROXY", "http://127.0.0.1:1");
        setup.environment("NO_PROXY", "localhost");
    };
    assert_eq!(through(&settings_win), 1);
    let unusable = |setup: &mut Setup, _| setup.environment("HTTPS_PROXY", "socks5://a:b@h:1");
    assert_eq!(through(&unusable), 0, "it starts, and works without");
}

#[test]
fn a_password_in_an_address_is_nowhere_in_the_journal_nor_in_an_answer() {
    let never = |text: &str| {
        for password in ["ses@me", "ses%40me", "ZGV2aWNlOnNlc0BtZQ"] {
            assert!(!text.contains(password), "{password} is in {text}");
        }
    };
    for scheme in ["http", "https", "HTTP"] {
        let outside = Outside::new();
        let proxy = ConnectProxy::start(outside.cloud.address(), Some(("other", "x"))).unwrap();
        let mut port = proxy.address().unwrap().port();
        if scheme == "https" {
            port = in_tls(proxy.address().unwrap(), options().tls().unwrap()).unwrap();
        }
        for by_environment in [false, true] {
            let address = format!("{scheme}://device:ses%40me@127.0.0.1:{port}");
            let service = Service::start(PROGRAM, |setup| {
                outside.settings(setup);
                setup.environment("RUST_LOG", "trace");
                match by_environment {
                    true => setup.environment("HTTPS_PROXY", &address),
                    false => setup.set("proxy.address", &address),
                }
            });
            let get = "GET /c8y/tenant/currentTenant HTTP/1.1\r\nHost: a\r\n\r\n";
            let answer = crate::support::client::ask(service.address, get).unwrap();
            assert_eq!(answer.status, 502);
            never(&answer.text());
            never(&service.log());
        }
    }
    // What cannot be used is told without it.
    for address in
        ["socks5://device:ses%40me@h:1", "http://device:ses@me@h:port", "device:ses%40me@:1"]
    {
        let device = Device::with(|setup| setup.environment("ALL_PROXY", address));
        let log = device.proxy.log();
        assert!(log.contains("ALL_PROXY is not used"), "{log}");
        never(&log);
        let ended = Service::run(PROGRAM, |setup| setup.set("proxy.address", address));
        assert_eq!(ended.code(), 78, "{}", ended.log);
        assert!(ended.log.contains("proxy.address"), "{}", ended.log);
        never(&ended.log);
    }
}
