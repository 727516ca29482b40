//! One request and one answer.

use std::io::{Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::Frame;

use super::upstream::{Upstream, echo, read_head};
use super::{at, get, message, plain, read, send, with_client};
use crate::client::{ConnectProxy, Options};
use crate::http::{Body, BodyError};

#[test]
fn interim_responses_without_end_are_no_answer() {
    let upstream = Upstream::new(|mut stream, _, _| {
        read_head(&mut stream);
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(100);
        while stream.write_all(hints.as_bytes()).is_ok() {}
    });
    with_client(plain(upstream.port), async |client| {
        let error = send(&client, get("/")).await.unwrap_err().to_string();
        assert!(error.contains("interim responses"), "{error}");
    });
}

#[test]
fn an_early_answer_comes_at_once_and_the_upload_ends_with_it() {
    let mut upstream = Upstream::new(|mut stream, number, tell| {
        if number == 1 {
            return echo(stream, number);
        }
        read_head(&mut stream);
        write!(stream, "HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\n").unwrap();
        // Reads no more than it must to be sure that the upload goes on.
        stream.read_exact(&mut [0; 100_000]).unwrap();
        write!(stream, "no!").unwrap();
        while stream.read(&mut [0; 65536]).is_ok_and(|count| count > 0) {}
        tell("closed");
    });
    with_client(plain(upstream.port), async |client| {
        let answer =
            send(&client, message(Method::POST, "/", Body::stream(Endless))).await.unwrap();
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(read(answer).await.unwrap(), "no!");
        assert_eq!(upstream.event().await, "closed");
        let answer = send(&client, get("/")).await.unwrap();
        assert!(read(answer).await.unwrap().starts_with("1 "));
    });
}

#[test]
fn an_early_answer_survives_the_reset_that_follows_it() {
    // Many times, since it is a race between the answer, the reset and the next write.
    let upstream = Upstream::new(|mut stream, _, _| {
        read_head(&mut stream);
        write!(stream, "HTTP/1.1 401 Unauthorized\r\ncontent-length: 3\r\n\r\nno!").unwrap();
        // Closed with most of the request unread: the kernel sends RST.
    });
    with_client(plain(upstream.port), async |client| {
        for _ in 0..200 {
            let request = message(Method::PUT, "/", Body::stream(Endless));
            let answer = send(&client, request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(read(answer).await.unwrap(), "no!");
        }
    });
}

#[test]
fn a_body_that_fails_is_not_upstreams_fault() {
    let mut upstream = Upstream::new(|mut stream, _, tell| {
        read_head(&mut stream);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        tell(&String::from_utf8_lossy(&rest));
    });
    with_client(plain(upstream.port), async |client| {
        let body = Body::stream(Pieces(vec![Err("gone"), Ok("abc")]));
        let error = send(&client, message(Method::POST, "/", body)).await.unwrap_err();
        assert_eq!(error.to_string(), "the request's body was interrupted: gone");
        assert!(error.was_sent() && !error.is_timeout());
        let seen = upstream.event().await;
        assert!(!seen.ends_with("0\r\n\r\n"), "{seen} looks complete");
    });
}

#[test]
fn a_proxy_that_opens_no_tunnel_with_its_success_is_named_with_its_answer() {
    let proxy = Upstream::new(|mut stream, _, _| {
        read_head(&mut stream);
        write!(stream, "HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        let _ = stream.read(&mut [0]);
    });
    let proxy = ConnectProxy { origin: at("127.0.0.1", proxy.port), tls: None, credentials: None };
    with_client(Options { proxy: Some(proxy), ..plain(1) }, async |client| {
        let error = send(&client, get("/")).await.unwrap_err().to_string();
        assert!(error.ends_with("it answers 204 No Content"), "{error}");
    });
}

/// Pieces, from the last to the first.
pub(super) struct Pieces(pub(super) Vec<Result<&'static str, &'static str>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = self.0.pop();
        Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::from_static(piece?.as_bytes())))))
    }
}

/// More than anybody takes.
pub(super) struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16384])))))
    }
}
