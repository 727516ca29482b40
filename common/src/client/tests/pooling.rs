//! Connections that are reused, and those that must not be.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Barrier};

use http::Method;

use super::upstream::{Upstream, echo, read_head};
use super::{get, message, plain, read, send, with_client};
use crate::client::Error;
use crate::http::Body;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[test]
fn a_connection_serves_again_when_the_answer_is_read() {
    let upstream = Upstream::new(|stream, number, _| echo(stream, number));
    with_client(plain(upstream.port), async |client| {
        for _ in 0..5 {
            let answer = send(&client, get("/")).await.unwrap();
            assert!(read(answer).await.unwrap().starts_with("0 "));
        }
        let first = send(&client, get("/")).await.unwrap();
        let second = send(&client, get("/")).await.unwrap();
        assert!(read(second).await.unwrap().starts_with("1 "));
        assert!(read(first).await.unwrap().starts_with("0 "));
        // Both are idle now; the one that was used last goes first.
        let answer = send(&client, get("/")).await.unwrap();
        assert!(read(answer).await.unwrap().starts_with("0 "));
    });
}

#[test]
fn an_answer_that_is_dropped_closes_the_connection_at_once() {
    let mut upstream = Upstream::new(|mut stream, number, tell| {
        if number == 1 {
            return echo(stream, number);
        }
        read_head(&mut stream);
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").unwrap();
        // Not another byte goes out: only the client can end this.
        assert!(!stream.read(&mut [0]).is_ok_and(|count| count > 0));
        tell("closed");
    });
    with_client(plain(upstream.port), async |client| {
        let mut answer = send(&client, get("/")).await.unwrap();
        assert_eq!(answer.body_mut().chunk().await.unwrap().unwrap(), "hello");
        drop(answer);
        assert_eq!(upstream.event().await, "closed");
        let answer = send(&client, get("/")).await.unwrap();
        assert!(read(answer).await.unwrap().starts_with("1 "));
    });
}

#[test]
fn a_request_that_is_dropped_closes_the_connection_at_once() {
    let mut upstream = Upstream::new(|mut stream, _, tell| {
        read_head(&mut stream);
        tell("asked");
        assert!(!stream.read(&mut [0]).is_ok_and(|count| count > 0));
        tell("closed");
    });
    with_client(plain(upstream.port), async |client| {
        let answer = async {
            let _ = send(&client, get("/")).await;
            panic!("nobody answers");
        };
        futures_lite::future::or(answer, async { assert_eq!(upstream.event().await, "asked") })
            .await;
        assert_eq!(upstream.event().await, "closed");
    });
}

#[test]
fn a_connection_closed_while_idle_is_not_used() {
    let mut upstream = Upstream::new(|mut stream, number, tell| {
        read_head(&mut stream);
        write!(stream, "{}", OK.replace("200", &format!("20{number}"))).unwrap();
        drop(stream);
        tell("closed");
    });
    with_client(plain(upstream.port), async |client| {
        for number in 0..3 {
            let post = message(Method::POST, "/", Body::stream(super::exchange::Pieces(vec![])));
            let answer = send(&client, post).await.unwrap();
            assert_eq!(answer.status().as_u16(), 200 + number);
            // Once before the connection's own task can notice, once after.
            match number {
                0 => assert_eq!(upstream.event_meanwhile(), "closed"),
                _ => assert_eq!(upstream.event().await, "closed"),
            }
        }
    });
}

/// Answers once, then closes the first connection when the second request is there.
#[test]
fn a_connection_that_ended_before_its_answer_was_read_is_closed_at_once() {
    let answered = Arc::new(Barrier::new(2));
    let is_answered = Arc::clone(&answered);
    let mut upstream = Upstream::new(move |mut stream, _, tell| {
        for _ in 0..2 {
            read_head(&mut stream);
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
        }
        is_answered.wait();
        stream.shutdown(Shutdown::Write).unwrap();
        tell("ended");
        drop(stream.read_to_end(&mut Vec::new()));
        tell("closed");
    });
    with_client(plain(upstream.port), async |client| {
        let answer = send(&client, get("/")).await.unwrap();
        assert_eq!(read(answer).await.unwrap(), "hello");
        futures_lite::future::yield_now().await;
        let answer = send(&client, get("/")).await.unwrap();
        answered.wait();
        assert_eq!(upstream.event().await, "ended");
        // Now the end is reported.
        futures_lite::future::yield_now().await;
        assert_eq!(read(answer).await.unwrap(), "hello");
        assert_eq!(upstream.event().await, "closed");
    });
}

fn closes_on_reuse() -> Upstream {
    Upstream::new(|mut stream, number, tell| {
        if number == 1 {
            return echo(stream, number);
        }
        read_head(&mut stream);
        write!(stream, "{OK}").unwrap();
        tell(&read_head(&mut stream));
    })
}

#[test]
fn a_request_that_may_be_repeated_survives_a_close_in_that_moment() {
    for request in [get("/"), message(Method::PUT, "/", Body::text("all of it"))] {
        let upstream = closes_on_reuse();
        with_client(plain(upstream.port), async |client| {
            send(&client, get("/")).await.unwrap();
            let answer = send(&client, request).await.unwrap();
            assert!(read(answer).await.unwrap().starts_with("1 "));
        });
    }
}

#[test]
fn a_request_that_may_have_had_effects_is_not_sent_twice() {
    let streamed = || Body::stream(super::exchange::Pieces(vec![Ok("once")]));
    let post = message(Method::POST, "/", Body::Empty);
    for request in [post, message(Method::PUT, "/", streamed())] {
        let upstream = closes_on_reuse();
        with_client(plain(upstream.port), async |client| {
            send(&client, get("/")).await.unwrap();
            let error = send(&client, request).await.unwrap_err();
            assert!(matches!(error, Error::Broken { .. }) && error.was_sent(), "{error:?}");
        });
    }
}

#[test]
fn a_request_that_was_begun_to_be_answered_is_not_sent_twice() {
    let upstream = Upstream::new(|mut stream, number, _| {
        if number == 1 {
            return echo(stream, number);
        }
        read_head(&mut stream);
        write!(stream, "{OK}").unwrap();
        read_head(&mut stream);
        write!(stream, "HTTP/1.1 2").unwrap();
    });
    with_client(plain(upstream.port), async |client| {
        send(&client, get("/")).await.unwrap();
        let error = send(&client, get("/")).await.unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    });
}

#[test]
fn a_fresh_connection_is_given_no_second_chance() {
    let mut upstream = Upstream::new(|mut stream, _, tell| {
        tell(&read_head(&mut stream));
    });
    with_client(plain(upstream.port), async |client| {
        let error = send(&client, get("/")).await.unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{error:?}");
        upstream.event().await;
        send(&client, get("/again")).await.unwrap_err();
        assert!(upstream.event().await.starts_with("GET /again"));
    });
}

#[test]
fn few_connections_wait() {
    let together = Arc::new(Barrier::new(20));
    let mut upstream = Upstream::new(move |mut stream, number, tell| {
        read_head(&mut stream);
        together.wait();
        write!(stream, "{OK}").unwrap();
        echo(stream, number);
        tell("closed");
    });
    let executor = Arc::new(async_executor::Executor::new());
    let client = crate::client::Client::new(plain(upstream.port), Arc::clone(&executor));
    let client = super::surf_client(client);
    super::drive(&executor, async {
        let requests: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                executor.spawn(async move { send(&client, get("/")).await.unwrap() })
            })
            .collect();
        for request in requests {
            request.await;
        }
        for _ in 0..4 {
            assert_eq!(upstream.event().await, "closed");
        }
    });
}
