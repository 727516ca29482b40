//! The application without a socket of its own, before a stand-in for Cumulocity.

mod upstream;

use std::sync::Arc;
use std::time::Duration;

use async_executor::Executor;
use async_io::Timer;
use bytes::Bytes;
use common::client::{Client, Options};
use common::http::{Answer, Body, BodyError};
use common::net::Origin;
use futures_lite::FutureExt;
use http::{HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};

use self::upstream::{OK, UNAUTHORIZED, Upstream};
use super::*;
use crate::credentials::tests::Played;

/// A proxy before an upstream, and the source of its tokens: `token-1`, `token-2`, ….
struct Proxy {
    routes: Routes,
    tokens: Arc<Played>,
    upstream: Upstream,
}

impl Proxy {
    fn token(&self, number: usize) -> String {
        format!("Bearer token-{number}")
    }

    async fn ask(&self, request: Request<Body>) -> Response<Body> {
        let Answer { response, upgrade } = self.routes.answer(request).await;
        assert!(upgrade.is_none());
        response
    }

    async fn get(&self, target: &str) -> Response<Body> {
        self.ask(request("GET", target).body(Body::Empty).unwrap()).await
    }
}

/// Plays a scene before an upstream with these answers, for 20 s at most.
fn before(answers: &[&[u8]], scene: impl AsyncFnOnce(&Proxy)) {
    let upstream = Upstream::new(answers);
    let port = upstream.port;
    play(upstream, port, scene);
}

fn play(upstream: Upstream, port: u16, scene: impl AsyncFnOnce(&Proxy)) {
    let executor = Arc::new(Executor::new());
    let tokens = Arc::new(Played::default());
    for number in 1..10 {
        tokens.answer(Ok(format!("token-{number}")));
    }
    let origin = Origin::parse("127.0.0.1", port).unwrap();
    let options = Options { origin, tls: None, proxy: None };
    let client = surf::Client::with_http_client(Client::new(options, Arc::clone(&executor)));
    let state =
        State::new("t1.example", client, tokens.credentials(&executor), Arc::default()).unwrap();
    let proxy = Proxy { routes: routes(state), tokens, upstream };
    let late = async {
        Timer::after(Duration::from_secs(20)).await;
        panic!("the scene does not end");
    };
    common::net::block_on(executor.run(scene(&proxy).or(late))).unwrap();
}

fn request(method: &str, target: &str) -> http::request::Builder {
    Request::builder().method(method).uri(target)
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8_lossy(&whole(response).await.unwrap()).into_owned()
}

async fn whole(response: Response<Body>) -> Result<Vec<u8>, BodyError> {
    let mut body = response.into_body();
    let mut whole = Vec::new();
    while let Some(chunk) = body.chunk().await {
        whole.extend_from_slice(&chunk?);
    }
    Ok(whole)
}

/// A body whose length is not known beforehand.
struct Chunks(Vec<&'static str>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        std::task::Poll::Ready(self.0.pop().map(|chunk| Ok(Frame::data(chunk.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn chunked(target: &str) -> Request<Body> {
    let request = request("POST", target).header("transfer-encoding", "chunked");
    request.body(Body::stream(Chunks(vec!["lo", "hel"]))).unwrap()
}

#[test]
fn passes_a_request_on_and_the_answer_back() {
    let answer = b"HTTP/1.1 302 Sch\xf6n\r\nLocation: /x\r\nX-Name: Gr\xc3\xbc\xff\r\n\
        Connection: X-Mine\r\nX-Mine: 1\r\nContent-Length: 2\r\n\r\nok";
    before(&[answer], async |proxy| {
        let question = request("GET", "/c8y/a%2Fb;c//d/../e?f=%20&g")
            .header("host", "127.0.0.1:8001")
            .header("connection", "keep-alive, x-secret")
            .header("x-secret", "1")
            .header("x-name", HeaderValue::from_bytes(b"\xe4\xff").unwrap())
            .body(Body::Empty);
        let response = proxy.ask(question.unwrap()).await;
        assert_eq!(response.status(), 302);
        assert_eq!(response.headers()["location"], "/x");
        assert_eq!(response.headers()["x-name"].as_bytes(), b"Gr\xc3\xbc\xff");
        assert!(!response.headers().contains_key("x-mine"));
        assert_eq!(text(response).await, "ok");

        let seen = proxy.upstream.seen().remove(0);
        assert_eq!(seen.line, "GET /a%2Fb;c//d/../e?f=%20&g HTTP/1.1");
        assert_eq!(seen.names(), ["authorization", "host", "x-name"]);
        assert_eq!(seen.field("host").unwrap(), b"t1.example");
        assert_eq!(seen.field("x-name").unwrap(), b"\xe4\xff");
        assert_eq!(seen.field("authorization").unwrap(), proxy.token(1).as_bytes());
    });
}

#[test]
fn the_clients_own_credentials_win_and_a_401_to_them_comes_back_as_it_is() {
    before(&[UNAUTHORIZED], async |proxy| {
        let question = request("POST", "/c8y/x").header("authorization", "Basic eA==");
        let response = proxy.ask(question.body(Body::text("hello")).unwrap()).await;
        assert_eq!((response.status().as_u16(), text(response).await.as_str()), (401, "no"));
        let seen = proxy.upstream.seen();
        assert_eq!((seen.len(), proxy.tokens.fetches()), (1, 0));
        assert_eq!(seen[0].field("authorization").unwrap(), b"Basic eA==");
    });
}

#[test]
fn a_401_is_answered_by_one_renewal_and_one_resend() {
    before(&[UNAUTHORIZED], async |proxy| {
        let body = "x".repeat(64 * 1024);
        let question = request("PUT", "/c8y/x").header("content-length", body.len());
        let response = proxy.ask(question.body(Body::text(body.clone())).unwrap()).await;
        assert_eq!(response.status(), 200);
        let seen = proxy.upstream.seen();
        assert_eq!((seen.len(), proxy.tokens.fetches()), (2, 2));
        for (number, seen) in (1..).zip(&seen) {
            assert_eq!(seen.field("authorization").unwrap(), proxy.token(number).as_bytes());
            assert_eq!(seen.body, body.as_bytes());
        }
    });
}

#[test]
fn a_401_that_stays_is_passed_on() {
    before(&[UNAUTHORIZED, UNAUTHORIZED], async |proxy| {
        let response = proxy.get("/c8y/x").await;
        assert_eq!((response.status().as_u16(), text(response).await.as_str()), (401, "no"));
        assert_eq!((proxy.upstream.seen().len(), proxy.tokens.fetches()), (2, 2));
    });
}

#[test]
fn a_body_that_cannot_be_sent_twice_waits_for_a_proof_once_in_a_minute() {
    before(&[UNAUTHORIZED, OK, OK], async |proxy| {
        for _ in 0..2 {
            assert_eq!(proxy.ask(chunked("/c8y/x")).await.status(), 200);
        }
        let seen = proxy.upstream.seen();
        let lines: Vec<_> = seen.iter().map(|seen| seen.line.as_str()).collect();
        let post = "POST /x HTTP/1.1";
        assert_eq!(lines, ["HEAD /tenant/currentTenant HTTP/1.1", post, post]);
        assert_eq!(seen[1].field("authorization").unwrap(), proxy.token(2).as_bytes());
        assert_eq!(seen[1].body, b"hello");
        assert_eq!(seen[1].field("transfer-encoding").unwrap(), b"chunked");
    });
}

#[test]
fn a_401_to_a_body_that_is_gone_is_passed_on_and_brings_a_new_token() {
    before(&[OK, UNAUTHORIZED], async |proxy| {
        assert_eq!(proxy.ask(chunked("/c8y/x")).await.status(), 401);
        while !text(proxy.get("/health").await).await.contains("valid") {
            futures_lite::future::yield_now().await;
        }
        assert_eq!(proxy.get("/c8y/x").await.status(), 200);
        let seen = proxy.upstream.seen();
        assert_eq!((seen.len(), proxy.tokens.fetches()), (3, 2));
        assert_eq!(seen[2].field("authorization").unwrap(), proxy.token(2).as_bytes());
    });
}

#[test]
fn what_upstream_should_not_hear_it_does_not_hear() {
    before(&[], async |proxy| {
        for (method, target, status, said) in [
            ("GET", "/c8y/apps/cockpit", 403, ""),
            ("POST", "/c8y/main.js", 403, ""),
            ("TRACE", "/c8y/x", 405, "Method not allowed"),
            ("get", "/c8y/x", 405, "Method not allowed"),
            ("POST", "/health", 405, "Method not allowed"),
            ("GET", "/c8yfoo", 404, "Not Found"),
            ("GET", "/", 404, "Not Found"),
        ] {
            let response = proxy.ask(request(method, target).body(Body::Empty).unwrap()).await;
            assert_eq!(response.status(), status, "{method} {target}");
            assert_eq!(response.headers().contains_key("allow"), status == 405);
            let text = text(response).await;
            assert!(text.starts_with(said) && said.is_empty() == text.is_empty(), "{text}");
        }
        assert_eq!((proxy.upstream.seen().len(), proxy.tokens.fetches()), (0, 0));
    });
}

#[test]
fn says_in_words_why_cumulocity_cannot_be_reached() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    play(Upstream::new(&[]), nobody, async |proxy| {
        let response = proxy.get("/c8y/x").await;
        assert_eq!(response.status(), 502);
        let text = text(response).await;
        let start =
            format!("Error communicating with Cumulocity: cannot connect to 127.0.0.1:{nobody}");
        assert!(text.starts_with(&start), "{text}");
    });
}

#[test]
fn says_in_words_why_there_is_no_token() {
    before(&[], async |proxy| {
        proxy.tokens.forget();
        let error = credentials::Error::Malformed { topic: "c8y/s/dat".into(), fault: "a fish" };
        proxy.tokens.answer(Err(error));
        let response = proxy.get("/c8y/x").await;
        assert_eq!(response.status(), 502);
        assert_eq!(
            text(response).await,
            "Error communicating with Cumulocity: the answer on c8y/s/dat is not a token: a fish\n"
        );
        assert!(proxy.upstream.seen().is_empty());
    });
}

#[test]
fn a_body_that_breaks_off_upstream_breaks_off_here() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        before(&[answer], async |proxy| {
            let response = proxy.get("/c8y/x").await;
            assert_eq!(response.status(), 200);
            assert!(whole(response).await.is_err());
        });
    }
}

#[test]
fn an_answer_of_unclear_length_or_coding_is_told_in_words() {
    let gzip = "its Transfer-Encoding is \"gzip, chunked\"";
    let two = "its Content-Length is \"2, 3\"";
    for (method, head, said) in [
        ("GET", "Transfer-Encoding: gzip, chunked", gzip),
        ("GET", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", gzip),
        ("GET", "Transfer-Encoding: chunked, gzip", "its Transfer-Encoding is \"chunked, gzip\""),
        ("GET", "Content-Length: 2\r\nContent-Length: 3", "content-length"),
        ("HEAD", "Content-Length: 2\r\nContent-Length: 3", two),
        ("HEAD", "Content-Length: 2, 3", two),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        before(&[answer.as_bytes()], async |proxy| {
            let response = proxy.ask(request(method, "/c8y/x").body(Body::Empty).unwrap()).await;
            assert_eq!(response.status(), 502, "{head}");
            let text = text(response).await;
            assert!(text.contains(said), "{head}: {text}");
        });
    }
    let equal = "HTTP/1.1 200 OK\r\nContent-Length: 2, 02\r\nContent-Length: 2\r\n\r\nok";
    before(&[equal.as_bytes()], async |proxy| {
        let response = proxy.get("/c8y/x").await;
        assert!(response.headers().get_all("content-length").into_iter().eq(["2"]));
        assert_eq!(text(response).await, "ok");
    });
}

#[test]
fn an_upgrade_is_upstreams_to_agree_to() {
    let agreed = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
    before(&[UNAUTHORIZED, agreed, OK], async |proxy| {
        let ask = || {
            request("GET", "/c8y/notification2/consumer/?token=a.b")
                .header("connection", "keep-alive, Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-protocol", "mqtt, x")
                .body(Body::Empty)
                .unwrap()
        };
        let Answer { response, upgrade } = proxy.routes.answer(ask()).await;
        assert!(response.status() == 101 && upgrade.is_some());
        assert_eq!(response.headers()["upgrade"], "websocket");
        assert_eq!(response.headers()["connection"], "Upgrade");
        assert_eq!(response.headers()["sec-websocket-accept"], "x");
        let seen = proxy.upstream.seen().remove(1);
        assert_eq!(seen.line, "GET /notification2/consumer/?token=a.b HTTP/1.1");
        assert_eq!(seen.field("upgrade").unwrap(), b"websocket");
        assert_eq!(seen.field("connection").unwrap(), b"Upgrade");
        assert_eq!(seen.field("sec-websocket-protocol").unwrap(), b"mqtt, x");

        let Answer { response, upgrade } = proxy.routes.answer(ask()).await;
        assert!(response.status() == 200 && upgrade.is_none());
        assert!(!response.headers().contains_key("connection"));
    });
}

#[test]
fn tells_its_health() {
    before(&[], async |proxy| {
        let response = proxy.get("/health").await;
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(text(response).await, r#"{"status":"up","token":"none","broker":"connected"}"#);
        proxy.get("/c8y/x").await;
        let said = text(proxy.get("/health").await).await;
        assert_eq!(said, r#"{"status":"up","token":"valid","broker":"connected"}"#);
    });
}
