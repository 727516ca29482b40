//! What the cloud may say, all the way through the client and the application: the first byte is the
//! method (`H` for HEAD, `P` for POST), the second how many pieces the answer comes in, and the rest
//! is the answer. Then another request follows, on the same connection where that is fit for it.
//!
//! No panic, no incomplete answer that looks complete, and no byte of one answer in the next.

use std::cell::LazyCell;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use async_executor::Executor;
use async_io::{Async, Timer};
use common::client::{Client, Options};
use common::http::{Answer, Body, Routes};
use common::net::{Origin, block_on};
use futures_lite::future::or;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use http::{Request, Response, StatusCode, header};

use crate::State;
use crate::credentials::Credentials;

/// How long the cloud stays after its answer, for another request to come.
const STAY: Duration = Duration::from_millis(3);

const SECOND: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond";

const HONEST: &str = "Error communicating with Cumulocity: ";

/// What a connection's own affair is, and never an answer's.
const HOP_BY_HOP: [header::HeaderName; 6] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
];

thread_local! {
    static CLOUD: LazyCell<Async<TcpListener>> =
        LazyCell::new(|| Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
}

/// Panics where something does not hold.
pub fn check(input: &[u8]) {
    let &[method, pieces, ref answer @ ..] = input else { return };
    let method = match method {
        b'H' => "HEAD",
        b'P' => "POST",
        _ => "GET",
    };
    let length = answer.len().div_ceil(usize::from(pieces % 8) + 1).max(1);
    CLOUD.with(|listener| {
        let executor = Arc::new(Executor::new());
        let port = listener.get_ref().local_addr().unwrap().port();
        let origin = Origin::parse("127.0.0.1", port).unwrap();
        let options = Options { origin, tls: None, proxy: None };
        let client = surf::Client::with_http_client(Client::new(options, Arc::clone(&executor)));
        let state = State::new("t1", client, Credentials::none(), Arc::default()).unwrap();
        let routes = crate::routes(state);
        let ask = async {
            let (heard, content) = ask(&routes, method, "/c8y/first").await;
            judge(method, answer, &heard, content);
            let (heard, content) = ask(&routes, "GET", "/c8y/second").await;
            let is_second = heard.status() == 200 && content.as_deref() == Some(b"second");
            assert!(is_second || is_honest(&heard, content.as_deref()), "{heard:?} {content:?}");
        };
        let cloud = async {
            let mut streams = Vec::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let is_first = streams.is_empty();
                let stream = Arc::new(stream);
                streams.push(Arc::clone(&stream));
                let pieces: Vec<Vec<u8>> = answer.chunks(length).map(<[u8]>::to_vec).collect();
                let serve = async move { serve(&stream, is_first.then_some(pieces)).await };
                executor.spawn(serve).detach();
            }
        };
        block_on(executor.run(or(ask, cloud))).unwrap();
    });
}

/// Answers one request as it is told, if it is, and those that follow with [`SECOND`].
async fn serve(stream: &Async<TcpStream>, mut pieces: Option<Vec<Vec<u8>>>) {
    let mut heard = Vec::new();
    loop {
        let next = or(next(stream, &mut heard), async {
            Timer::after(if pieces.is_some() { STAY * 1000 } else { STAY }).await;
            false
        });
        if !next.await {
            break;
        }
        for piece in pieces.take().unwrap_or_else(|| vec![SECOND.to_vec()]) {
            // The proxy may have heard enough.
            if (&*stream).write_all(&piece).await.is_err() {
                return;
            }
            futures_lite::future::yield_now().await;
        }
    }
    // It may have gone already.
    let _ = stream.get_ref().shutdown(std::net::Shutdown::Write);
}

/// Reads one request, body and all; the only body is `hello`.
async fn next(stream: &Async<TcpStream>, heard: &mut Vec<u8>) -> bool {
    loop {
        if let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") {
            let end = end + 4 + if heard.starts_with(b"POST") { 5 } else { 0 };
            if heard.len() >= end {
                heard.drain(..end);
                return true;
            }
        }
        let mut piece = [0; 4096];
        match (&*stream).read(&mut piece).await {
            Ok(0) | Err(_) => return false,
            Ok(length) => heard.extend_from_slice(&piece[..length]),
        }
    }
}

/// The answer, and its content where that is whole.
async fn ask(routes: &Routes, method: &str, target: &str) -> (Response<()>, Option<Vec<u8>>) {
    let body = if method == "POST" { Body::text("hello") } else { Body::Empty };
    let request = Request::builder().method(method).uri(target);
    let request = request.header(header::AUTHORIZATION, "Basic eDp4").body(body).unwrap();
    let Answer { response, upgrade } = routes.answer(request).await;
    assert!(upgrade.is_none(), "nobody has asked for another protocol");
    let (head, mut body) = response.into_parts();
    let mut content = Some(Vec::new());
    while let Some(chunk) = body.chunk().await {
        match (chunk, &mut content) {
            (Ok(chunk), Some(content)) => content.extend_from_slice(&chunk),
            _ => content = None,
        }
    }
    (Response::from_parts(head, ()), content)
}

fn is_honest(heard: &Response<()>, content: Option<&[u8]>) -> bool {
    let status = heard.status();
    (status == StatusCode::BAD_GATEWAY || status == StatusCode::GATEWAY_TIMEOUT)
        && content.is_some_and(|content| content.starts_with(HONEST.as_bytes()))
}

fn judge(method: &str, answer: &[u8], heard: &Response<()>, content: Option<Vec<u8>>) {
    assert_ne!(heard.status(), StatusCode::SWITCHING_PROTOCOLS);
    let fields = heard.headers();
    for field in HOP_BY_HOP {
        assert!(!fields.contains_key(&field), "{field} crosses: {heard:?}");
    }
    if is_honest(heard, content.as_deref()) {
        return;
    }
    assert!(answer.windows(5).any(|five| five == b"HTTP/"), "made up: {heard:?}");
    // What is torn is seen to be torn.
    let Some(content) = content else { return };
    let has_none = method == "HEAD" || matches!(heard.status().as_u16(), 204 | 304);
    if has_none {
        assert!(content.is_empty(), "{heard:?} has content");
    } else if let Some(length) = fields.get(header::CONTENT_LENGTH) {
        assert_eq!(length.to_str().unwrap().parse(), Ok(content.len()), "{heard:?}");
        assert!(is_part(answer, &content), "{heard:?}: {content:?} was never sent");
    } else if !is_part(answer, &content) {
        // In chunks, and these have an end.
        let mut lines = answer.split(|byte| *byte == b'\n');
        let is_last = |line: &[u8]| line.first() == Some(&b'0');
        assert!(lines.any(is_last), "{heard:?}: {content:?} has no end");
        assert!(content.len() < answer.len());
    }
}

fn is_part(answer: &[u8], content: &[u8]) -> bool {
    content.is_empty() || answer.windows(content.len()).any(|part| part == content)
}
