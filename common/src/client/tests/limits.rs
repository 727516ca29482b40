//! How long upstream may take.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use async_executor::Executor;
use http::Method;

use super::upstream::{Upstream, echo, read_head};
use super::{at, drive, get, message, plain, read, send, surf_client};
use crate::client::state::TimeLimits;
use crate::client::{Client, ConnectProxy, Error, Options, Step};
use crate::http::Body;

const SHORT: Duration = Duration::from_millis(300);

fn with_limits<F: Future<Output = ()>>(
    options: Options,
    limits: TimeLimits,
    test: impl FnOnce(surf::Client) -> F,
) {
    let executor = Arc::new(Executor::new());
    let client = Client { limits, ..Client::new(options, Arc::clone(&executor)) };
    drive(&executor, test(surf_client(client)));
}

fn short_progress() -> TimeLimits {
    TimeLimits { progress: SHORT, ..TimeLimits::default() }
}

#[test]
fn an_answer_and_each_byte_of_it_may_take_its_time() {
    let upstream = Upstream::new(|mut stream, _, _| {
        read_head(&mut stream);
        for piece in ["HTTP/1.1 200 OK\r\n", "content-length: 2\r\n\r\n", "a", "b"] {
            std::thread::sleep(2 * SHORT);
            stream.write_all(piece.as_bytes()).unwrap();
        }
    });
    with_limits(plain(upstream.port), short_progress(), async |client| {
        let answer = send(&client, get("/")).await.unwrap();
        assert_eq!(read(answer).await.unwrap(), "ab");
    });
}

#[test]
fn a_handshake_or_a_tunnel_that_does_not_come_is_a_time_out() {
    let silent = Upstream::new(|mut stream, _, _| drop(stream.read_to_end(&mut Vec::new())));
    let limits = TimeLimits { opening: SHORT, ..TimeLimits::default() };
    let proxy = ConnectProxy { origin: at("127.0.0.1", silent.port), tls: None, credentials: None };
    for (options, expected) in [
        (super::tls::over_tls(silent.port), Step::Handshake),
        (Options { proxy: Some(proxy), ..plain(1) }, Step::Proxy),
    ] {
        with_limits(options, limits, async |client| {
            let error = send(&client, get("/")).await.unwrap_err();
            let Error::Timeout { step, .. } = error else { panic!("{error:?}") };
            assert!(step == expected && !error.was_sent());
        });
    }
}

#[test]
fn an_upload_that_is_not_taken_is_a_time_out() {
    let upstream = Upstream::new(|mut stream, _, tell| {
        read_head(&mut stream);
        std::thread::park();
        tell("unreachable");
    });
    with_limits(plain(upstream.port), short_progress(), async |client| {
        let request = message(Method::PUT, "/", Body::stream(super::exchange::Endless));
        let error = send(&client, request).await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
    });
}

#[test]
fn who_takes_time_to_send_or_to_read_is_waited_for() {
    let upstream = Upstream::new(|mut stream, _, _| {
        read_head(&mut stream);
        stream.read_exact(&mut [0; b"3\r\nend\r\n0\r\n\r\n".len()]).unwrap();
        let content = vec![b'x'; 4_000_000];
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", content.len()).unwrap();
        stream.write_all(&content).unwrap();
    });
    with_limits(plain(upstream.port), short_progress(), async |client| {
        let body = Body::stream(Late(async_io::Timer::after(3 * SHORT), Some("end")));
        let answer = send(&client, message(Method::POST, "/", body)).await.unwrap();
        async_io::Timer::after(3 * SHORT).await;
        assert_eq!(read(answer).await.unwrap().len(), 4_000_000);
    });
}

#[test]
fn silence_ends_an_exchange_where_it_has_a_limit_and_slowness_does_not() {
    let limits = TimeLimits { silence: Some(SHORT), ..TimeLimits::default() };
    let pieces = ["HTTP/1.1 200 OK\r\n", "content-length: 9\r\n\r\n", "a", "b", "c", "d"];
    for (received, step) in [(0, Step::Answer), (1, Step::Answer), (pieces.len(), Step::Body)] {
        let upstream = Upstream::new(move |mut stream, _, _| {
            read_head(&mut stream);
            for piece in &pieces[..received] {
                std::thread::sleep(SHORT / 4);
                stream.write_all(piece.as_bytes()).unwrap();
            }
            drop(stream.read_to_end(&mut Vec::new()));
        });
        with_limits(plain(upstream.port), limits, async |client| {
            let error = match send(&client, get("/")).await {
                Ok(answer) => *read(answer).await.unwrap_err().downcast().unwrap(),
                Err(error) => error,
            };
            assert!(
                matches!(error, Error::Timeout { step: ended, .. } if ended == step),
                "{error:?}"
            );
        });
    }
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let mut upstream = Upstream::new(|stream, number, tell| {
        echo(stream, number);
        tell("closed");
    });
    let limits = TimeLimits { idle: SHORT, ..TimeLimits::default() };
    with_limits(plain(upstream.port), limits, async |client| {
        let answer = send(&client, get("/")).await.unwrap();
        read(answer).await.unwrap();
        assert_eq!(upstream.event().await, "closed");
        let answer = send(&client, get("/")).await.unwrap();
        assert!(read(answer).await.unwrap().starts_with("1 "));
    });
}

/// One piece that has to be waited for.
struct Late(async_io::Timer, Option<&'static str>);

impl http_body::Body for Late {
    type Data = bytes::Bytes;
    type Error = crate::http::BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        if self.1.is_some() {
            std::task::ready!(std::pin::Pin::new(&mut self.0).poll(cx));
        }
        let piece = self.1.take().map(|piece| Ok(http_body::Frame::data(piece.into())));
        std::task::Poll::Ready(piece)
    }
}
