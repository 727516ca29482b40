//! Tunnels through a proxy, and connections that switch to another protocol.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use http::{HeaderValue, StatusCode};

use super::tls::{accepts_anyone, over_tls, serve};
use super::upstream::{Upstream, echo, read_head};
use super::{at, get, plain, read, send, send_upgradable, with_client};
use crate::client::{Answer, ConnectProxy, Error, Options};
use crate::http::{Body, Request};

/// A proxy that takes whoever has a password.
fn proxy() -> Upstream {
    Upstream::new(|mut stream, _, tell| {
        let head = read_head(&mut stream);
        tell(&head);
        if !head.contains("proxy-authorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n") {
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 4\r\n\r\n";
            write!(stream, "{refusal}no!!").unwrap();
            // Left open: the client must not wait for more.
            let _ = stream.read(&mut [0]);
            return;
        }
        let target = head.split(' ').nth(1).unwrap();
        let onward = TcpStream::connect(target).unwrap();
        write!(stream, "HTTP/1.0 200 Connection established\r\n\r\n").unwrap();
        let (mut to, mut from) = (onward.try_clone().unwrap(), stream.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut &onward, &mut stream);
    })
}

fn through(port: u16, options: Options) -> Options {
    let credentials = Some(("user".to_owned(), "pass:word".to_owned()));
    let proxy =
        Some(ConnectProxy { origin: at("[::ffff:127.0.0.1]", port), tls: None, credentials });
    Options { proxy, ..options }
}

#[test]
fn a_proxy_opens_a_tunnel_for_tls() {
    let upstream = serve(accepts_anyone(), |session, number, _| echo(session, number));
    let mut proxy = proxy();
    with_client(through(proxy.port, over_tls(upstream.port)), async |client| {
        for _ in 0..2 {
            let answer = send(&client, get("/")).await.unwrap();
            assert!(read(answer).await.unwrap().starts_with("0 GET / "));
        }
        let seen = proxy.event().await;
        let target = format!("localhost:{}", upstream.port);
        let begin = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n");
        assert!(seen.starts_with(&begin), "{seen}");
    });
}

#[test]
fn a_proxy_that_refuses_is_named_with_its_answer() {
    let (upstream, proxy) = (Upstream::new(|stream, number, _| echo(stream, number)), proxy());
    let mut options = through(proxy.port, plain(upstream.port));
    options.proxy.as_mut().unwrap().credentials = None;
    with_client(options, async |client| {
        let error = send(&client, get("/")).await.unwrap_err();
        assert!(matches!(error, Error::Proxy { .. }) && !error.was_sent(), "{error:?}");
        let error = error.to_string();
        assert!(error.ends_with("it answers 407 Proxy Authentication Required"), "{error}");
    });
}

#[test]
fn a_proxy_that_opens_no_tunnel_with_its_success_is_named_with_its_answer() {
    let upstream = Upstream::new(|stream, number, _| echo(stream, number));
    let proxy = Upstream::new(|mut stream, _, _| {
        read_head(&mut stream);
        write!(stream, "HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        let _ = stream.read(&mut [0]);
    });
    with_client(through(proxy.port, plain(upstream.port)), async |client| {
        let error = send(&client, get("/")).await.unwrap_err().to_string();
        assert!(error.ends_with("it answers 204 No Content"), "{error}");
    });
}

fn upgrade() -> Request<Body> {
    let mut request = get("/chat?token=a%2Fb");
    let fields = request.headers_mut();
    fields.insert("connection", HeaderValue::from_static("Upgrade"));
    fields.insert("upgrade", HeaderValue::from_static("websocket"));
    request
}

/// Switches, with the first words of the new protocol in the same packet, then sends back what
/// comes in capitals.
fn switches(mut stream: impl Read + Write) {
    let head = read_head(&mut stream);
    assert!(head.contains("connection: Upgrade\r\n") && head.contains("upgrade: websocket\r\n"));
    let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\nhello";
    stream.write_all(answer.as_bytes()).unwrap();
    let mut buffer = [0; 64];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        stream.write_all(&buffer[..count].to_ascii_uppercase()).unwrap();
        stream.flush().unwrap();
    }
}

#[test]
fn an_upgrade_gives_the_connection_and_what_came_early() {
    let (plainly, secured) = (
        Upstream::new(|stream, _, _| switches(stream)),
        serve(accepts_anyone(), |session, _, _| switches(session)),
    );
    let proxy = proxy();
    for options in [
        plain(plainly.port),
        over_tls(secured.port),
        through(proxy.port, plain(plainly.port)),
        through(proxy.port, over_tls(secured.port)),
    ] {
        with_client(options, async |client| {
            let Answer { response, upgraded } = send_upgradable(&client, upgrade()).await.unwrap();
            assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
            assert_eq!(response.headers()["upgrade"], "websocket");
            let mut upgraded = upgraded.unwrap();
            let mut heard = [0; 5];
            upgraded.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"hello");
            for _ in 0..3 {
                upgraded.write_all(b"words").await.unwrap();
                upgraded.flush().await.unwrap();
                upgraded.read_exact(&mut heard).await.unwrap();
                assert_eq!(&heard, b"WORDS");
            }
            upgraded.close().await.unwrap();
            let _ = upgraded.read_to_end(&mut Vec::new()).await;
        });
    }
}

#[test]
fn an_upgrade_that_is_refused_is_an_answer_like_any_other() {
    let upstream = Upstream::new(|stream, number, _| echo(stream, number));
    with_client(plain(upstream.port), async |client| {
        for _ in 0..2 {
            let Answer { response, upgraded } = send_upgradable(&client, upgrade()).await.unwrap();
            assert!(upgraded.is_none());
            assert!(read(response).await.unwrap().starts_with("0 GET /chat?token=a%2Fb "));
        }
    });
}

#[test]
fn nobody_switches_protocols_unasked() {
    let upstream = Upstream::new(|mut stream, _, _| {
        read_head(&mut stream);
        write!(stream, "HTTP/1.1 101 Switching Protocols\r\nupgrade: other\r\n\r\n").unwrap();
        let _ = stream.read(&mut [0]);
    });
    with_client(plain(upstream.port), async |client| {
        let error = send(&client, get("/")).await.unwrap_err().to_string();
        assert!(error.ends_with("it switched protocols without a request to switch"), "{error}");
    });
}

#[test]
fn a_quiet_tunnel_has_no_time_limit() {
    let upstream = Upstream::new(|stream, _, _| switches(stream));
    let limits = crate::client::TimeLimits {
        progress: Duration::from_millis(100),
        idle: Duration::from_millis(100),
        ..Default::default()
    };
    let executor = Arc::new(async_executor::Executor::new());
    let client = crate::client::Client::new(plain(upstream.port), Arc::clone(&executor));
    let client = super::surf_client(crate::client::Client { limits, ..client });
    super::drive(&executor, async {
        let answer = send_upgradable(&client, upgrade()).await.unwrap();
        let mut upgraded = answer.upgraded.unwrap();
        async_io::Timer::after(Duration::from_millis(400)).await;
        upgraded.write_all(b"words").await.unwrap();
        let mut heard = [0; 10];
        upgraded.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"helloWORDS");
    });
}
