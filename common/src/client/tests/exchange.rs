//! One request and one answer.

use std::io::{Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use http_body::Frame;

use super::upstream::{Upstream, echo, read_head};
use super::{get, message, plain, read, send, with_client};
use crate::http::{Body, BodyError};

#[test]
fn target_and_fields_go_upstream_byte_for_byte() {
    let upstream = Upstream::new(|stream, number, _| echo(stream, number));
    with_client(plain(upstream.port), async |client| {
        let target = "/a;b/../%2e%2E//%2F%3a'[]|ü?q=%zz&;[]";
        let mut request = get(target);
        let fields = request.headers_mut();
        fields.insert("x-odd", HeaderValue::from_bytes(b"caf\xe9 \xff").unwrap());
        let answer = send(&client, request).await.unwrap();
        let seen = read(answer).await.unwrap();
        assert!(seen.starts_with(&format!("0 GET {target} HTTP/1.1\r\n")), "{seen}");
        assert!(seen.contains("x-odd: caf\u{fffd} \u{fffd}\r\n"), "{seen}");
        assert!(!seen.contains("user-agent") && !seen.contains("content-length"), "{seen}");
    });
}

#[test]
fn interim_answers_are_skipped() {
    let upstream = Upstream::new(|mut stream, _, _| {
        read_head(&mut stream);
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        write!(stream, "{interim}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
    });
    with_client(plain(upstream.port), async |client| {
        let answer = send(&client, get("/")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(read(answer).await.unwrap(), "ok");
    });
}

#[test]
fn answers_without_content_leave_the_connection_usable() {
    let upstream = Upstream::new(|mut stream, number, _| {
        for head in ["200 OK\r\ncontent-length: 5", "204 No Content", "304 Not Modified"] {
            read_head(&mut stream);
            write!(stream, "HTTP/1.1 {head}\r\n\r\n").unwrap();
        }
        echo(stream, number);
    });
    with_client(plain(upstream.port), async |client| {
        let answer = send(&client, message(Method::HEAD, "/", Body::Empty)).await.unwrap();
        assert_eq!(answer.headers()["content-length"], "5");
        assert_eq!(read(answer).await.unwrap(), "");
        for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
            let answer = send(&client, get("/")).await.unwrap();
            assert_eq!(answer.status(), status);
            assert_eq!(read(answer).await.unwrap(), "");
        }
        let answer = send(&client, get("/")).await.unwrap();
        assert!(read(answer).await.unwrap().starts_with("0 "));
    });
}

#[test]
fn a_body_without_length_goes_out_in_chunks() {
    let mut upstream = Upstream::new(|mut stream, _, tell| {
        tell(&read_head(&mut stream));
        let mut content = [0; 27];
        stream.read_exact(&mut content).unwrap();
        tell(&String::from_utf8_lossy(&content));
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    });
    with_client(plain(upstream.port), async |client| {
        let body = Body::stream(Pieces(vec![Ok("six chars"), Ok("abc")]));
        send(&client, message(Method::POST, "/", body)).await.unwrap();
        let head = upstream.event().await;
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        assert_eq!(upstream.event().await, "3\r\nabc\r\n9\r\nsix chars\r\n0\r\n\r\n");
    });
}

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
fn an_answer_that_breaks_off_is_an_error_of_the_body() {
    for framing in ["content-length: 10", "transfer-encoding: chunked"] {
        let upstream = Upstream::new(move |mut stream, _, _| {
            read_head(&mut stream);
            write!(stream, "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello").unwrap();
        });
        with_client(plain(upstream.port), async |client| {
            let answer = send(&client, get("/")).await.unwrap();
            let error = read(answer).await.unwrap_err().to_string();
            assert!(error.starts_with("the connection to 127.0.0.1:"), "{error}");
        });
    }
}

#[test]
fn an_answer_without_length_ends_with_the_connection() {
    let upstream = Upstream::new(|mut stream, _, _| {
        read_head(&mut stream);
        write!(stream, "HTTP/1.0 200 OK\r\n\r\nuntil the end").unwrap();
    });
    with_client(plain(upstream.port), async |client| {
        let answer = send(&client, get("/")).await.unwrap();
        assert_eq!(read(answer).await.unwrap(), "until the end");
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
