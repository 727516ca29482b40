//! One connection, from its first byte to its last.
//!
//! TLS under a time limit, then HTTP until it is closed, then the tunnel it was switched to, or
//! a goodbye. Between two requests a connection is a socket and nothing else: hyper's buffers
//! are given back after a second of silence. This module knows no route and no service.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use hyper::server::conn::http1;

use super::exchange::Exchange;
use super::listener::Site;
use super::state::{ConnectionState, Order, Phase};
use crate::journal;
use crate::net::clock::{self, DeadlineTimer};
use crate::net::socket::Socket;
use crate::net::{Observer, Stream};
use crate::tls;

/// Heads are at most this long, and what waits to be sent. Field lines are at most 100, hyper's own
/// limit: to set one, even the same, makes hyper fill a table of that many for each head.
const BUFFER: usize = 32 * 1024;
/// A peer that was answered early may send on: until it pauses this long, …
const SILENCE: Duration = Duration::from_secs(5);
/// … or for this long in all.
const LINGER: Duration = Duration::from_secs(30);

/// Serves one accepted socket until nothing more can come of it.
pub(crate) async fn serve<S>(
    socket: Async<TcpStream>,
    peer: SocketAddr,
    site: Arc<Site<S>>,
    watch: Arc<ConnectionState>,
) where
    S: Clone + Send + Sync + 'static,
{
    let mut first = [0];
    let Some(Ok(1)) = guarded(&watch, socket.peek(&mut first)).await else { return };
    let socket = Socket::new(socket, Arc::clone(&watch) as Arc<dyn Observer>);
    let (mut wire, redirect) = match &site.tls {
        None => (Stream::plain(socket), false),
        Some(tls) => match Box::pin(greet(socket, first[0], peer, tls, &watch)).await {
            Some(greeted) => greeted,
            None => return,
        },
    };

    let exchange = Exchange::new(Arc::clone(&site), Arc::clone(&watch), redirect);
    loop {
        // Boxed, so that an idle connection does not keep the room that a busy one needs.
        let (stop, rest) =
            Box::pin(converse(wire, &watch, exchange.clone(), site.half_close)).await;
        wire = rest;
        match stop {
            Stop::Doze => {
                site.changed.notify(1);
                if wire.is_drained() {
                    let Some(Ok(())) = guarded(&watch, wire.socket().readable()).await else {
                        let _ = poll_once(wire.close()).await;
                        return;
                    };
                }
            }
            // To a client that reads until the end, a clean end would make half an answer look
            // whole.
            Stop::Cut if watch.is_answering() => return wire.reset(),
            Stop::Cut => return,
            Stop::Late => {
                let _ = guarded(&watch, wire.write_all(REQUEST_TIMEOUT)).await;
                return Box::pin(linger(wire, &watch)).await;
            }
            Stop::Done(outcome) => {
                if let Err(error) = outcome {
                    log::debug!("{peer}: {}", crate::error::chain(&error));
                    // The body of an answer broke off: as above.
                    if error.is_user() {
                        return wire.reset();
                    }
                }
                let Some(upgrade) = exchange.take_upgrade() else {
                    return Box::pin(linger(wire, &watch)).await;
                };
                watch.enter(Phase::Upgraded);
                guarded(&watch, upgrade.switch(wire)).await;
                return;
            }
        }
    }
}

const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Runs `future` unless the connection's time is up or somebody wants it closed.
async fn guarded<F: Future>(watch: &ConnectionState, future: F) -> Option<F::Output> {
    let mut timer = DeadlineTimer::new();
    let mut future = pin!(future);
    poll_fn(|cx| {
        watch.register(cx);
        if watch.order() != Order::Continue {
            return Poll::Ready(None);
        }
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        timer.poll(cx, watch.deadline()).map(|()| None)
    })
    .await
}

/// Looks at the first byte of a TLS port: a handshake, or plain HTTP that is to be sent to https.
async fn greet(
    socket: Socket,
    first: u8,
    peer: SocketAddr,
    tls: &tls::ReloadingServer,
    watch: &ConnectionState,
) -> Option<(Stream, bool)> {
    /// The content type of a TLS record that carries a handshake, RFC 8446, 5.1.
    const HANDSHAKE: u8 = 0x16;
    if first != HANDSHAKE {
        return Some((Stream::plain(socket), true));
    }
    match guarded(watch, Stream::accept(socket, tls.current())).await? {
        Ok(stream) => {
            watch.enter(Phase::Head);
            Some((stream, false))
        }
        Err((error, stream)) => {
            journal::refuse(peer, &tls::refusal(&error));
            linger(stream, watch).await;
            None
        }
    }
}

/// Why HTTP stopped on a connection.
enum Stop {
    /// It is idle; the buffers can go.
    Doze,
    /// The head of a request took too long.
    Late,
    /// Time is up or somebody wants it closed: no goodbye.
    Cut,
    /// hyper is done with it.
    Done(hyper::Result<()>),
}

/// HTTP on this stream, until it stops for one reason or another.
async fn converse<S>(
    wire: Stream,
    watch: &ConnectionState,
    exchange: Exchange<S>,
    half_close: bool,
) -> (Stop, Stream)
where
    S: Clone + Send + Sync + 'static,
{
    let mut connection = http1::Builder::new()
        .half_close(half_close)
        .max_header_size(BUFFER)
        .max_buf_size(BUFFER)
        .serve_connection(wire, exchange);
    let mut timer = DeadlineTimer::new();
    let mut draining = false;
    let stop = poll_fn(|cx| {
        watch.register(cx);
        watch.begin_turn();
        match watch.order() {
            Order::Close => return Poll::Ready(Stop::Cut),
            Order::Drain if !draining => {
                draining = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            Order::Drain | Order::Continue => {}
        }
        if let Poll::Ready(outcome) = connection.poll_without_shutdown(cx) {
            return Poll::Ready(Stop::Done(outcome));
        }
        let deadline = watch.deadline();
        timer.poll(cx, deadline.min(watch.doze_at())).map(|()| match watch.phase() {
            _ if clock::now() < deadline => Stop::Doze,
            Phase::Head => Stop::Late,
            _ => Stop::Cut,
        })
    })
    .await;
    let parts = connection.into_parts();
    let mut wire = parts.io;
    if !parts.read_buf.is_empty() {
        wire.put_back(parts.read_buf);
    }
    (stop, wire)
}

/// Says goodbye, then throws away what still comes, so that unread bytes do not reset the
/// connection before the peer has seen the answer (RFC 9112, 9.6).
async fn linger(mut wire: Stream, watch: &ConnectionState) {
    watch.enter(Phase::Linger);
    let discard = async {
        within(SILENCE, wire.close()).await?;
        let mut socket: &Async<TcpStream> = wire.socket();
        let mut waste = vec![0; 8 * 1024];
        while within(SILENCE, socket.read(&mut waste)).await? > 0 {}
        io::Result::Ok(())
    };
    let mut discard = pin!(within(LINGER, discard));
    let _ = poll_fn(|cx| {
        watch.register(cx);
        if watch.order() == Order::Close {
            return Poll::Ready(Ok(()));
        }
        discard.as_mut().poll(cx)
    })
    .await;
}

async fn within<T>(limit: Duration, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    future
        .or(async {
            Timer::after(limit).await;
            Err(io::ErrorKind::TimedOut.into())
        })
        .await
}
