//! One connection, from its first byte to its last.
//!
//! A TLS handshake with a time limit, then HTTP, then an orderly close or, after a switch of
//! protocols, a tunnel. An idle connection keeps only its socket: hyper's buffers are freed after a
//! second without a byte. Knows no route and no service.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use async_io::Timer;
use futures_lite::future::poll_once;
use futures_lite::{AsyncWriteExt, FutureExt};
use hyper::server::conn::http1;

use super::Server;
use super::direct::Direct;
use super::exchange::{ClientKind, Exchange, Parked};
use super::refusals::closing;
use super::state::{ConnectionState, Order, Phase};
use crate::access::Names;
use crate::journal;
use crate::net::clock::{self, DeadlineTimer};
use crate::net::quiet::is_quiet;
use crate::net::socket::{Socket, has_peer_closed};
use crate::net::{Observer, Polled, Stream};
use crate::tls::{self, ReloadingServer};

/// The limit for a head, and for what hyper buffers of an answer, in bytes. The limit for field
/// lines is hyper's default, 100: setting it, even to 100, makes hyper fill a table for each head.
const BUFFER: usize = 32 * 1024;
/// After an early answer the peer may continue to send, with pauses of at most this long, …
const SILENCE: Duration = Duration::from_secs(5);
/// … and for at most this long in all.
const LINGER: Duration = Duration::from_secs(30);

/// Serves one accepted socket until its connection is closed.
pub(crate) async fn serve(
    socket: Arc<Polled<TcpStream>>,
    peer: SocketAddr,
    server: &Arc<Server>,
    state: &Arc<ConnectionState>,
) {
    let mut first = [0];
    loop {
        match socket.get_ref().peek(&mut first) {
            Ok(1) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let Some(()) = guarded(state, socket.readable()).await else { return };
            }
            Ok(_) | Err(_) => return,
        }
    }
    let socket = Socket::new(socket, Arc::clone(state) as Arc<dyn Observer>);
    let (mut stream, client) = match &server.tls {
        None => (Stream::plain(socket), ClientKind::Unknown),
        Some(_) if first[0] != HANDSHAKE => (Stream::plain(socket), ClientKind::PlainOnTls),
        Some(tls) => match Box::pin(shake_hands(socket, peer, server, tls, state)).await {
            Some(accepted) => accepted,
            None => return,
        },
    };

    let is_plain = stream.session().is_none();
    let exchange = Exchange::new(Arc::clone(server), Arc::clone(state), peer, client, is_plain);
    loop {
        // Boxed, so that an idle connection does not hold the memory of a busy one.
        let converse = Box::pin(converse(stream, state, exchange.clone(), server.half_close));
        let (mut stop, mut rest) = converse.await;
        if let Stop::Park(parked) = stop {
            let answered = Box::pin(answer_parked(*parked, rest, state, &exchange)).await;
            let Some(answered) = answered else { return };
            (stop, rest) = answered;
        }
        stream = rest;
        match stop {
            Stop::Park(_) | Stop::Resume => {}
            Stop::Doze => {
                server.changed.notify(1);
                if stream.is_drained() {
                    let Some(()) = guarded(state, stream.socket().readable()).await else {
                        let _ = poll_once(stream.close()).await;
                        return;
                    };
                    // What was reported here is not reported to hyper again.
                    stream.look_again();
                }
            }
            Stop::Cut if state.order() == Order::MakeRoom && state.awaits_answer() => {
                let _ = poll_once(Box::pin(say_timeout(&mut stream))).await;
                return Box::pin(linger(stream, state)).await;
            }
            // A client that reads to the end of the connection would regard an incomplete answer as
            // complete after an orderly close.
            Stop::Cut if state.is_answering() => return stream.reset(),
            Stop::Cut => return,
            Stop::Late => {
                let _ = Box::pin(guarded(state, say_timeout(&mut stream))).await;
                return Box::pin(linger(stream, state)).await;
            }
            Stop::Done(outcome) => {
                if let Err(error) = outcome {
                    log::debug!("{peer}: {}", crate::error::chain(&error));
                    // The body of the answer failed: as above.
                    if error.is_user() {
                        return stream.reset();
                    }
                }
                let Some(upgrade) = exchange.set_aside().upgrade.take() else {
                    return Box::pin(linger(stream, state)).await;
                };
                state.enter(Phase::Upgraded);
                Box::pin(guarded(state, upgrade.switch(stream))).await;
                return;
            }
        }
    }
}

/// The content type of a TLS record that carries a handshake, RFC 8446, 5.1.
const HANDSHAKE: u8 = 0x16;

async fn say_timeout(stream: &mut Stream) -> io::Result<()> {
    const REQUEST_TIMEOUT: &[u8] =
        b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(REQUEST_TIMEOUT).await?;
    stream.flush().await
}

/// Runs `future` until the connection's deadline passes or it gets an order.
async fn guarded<F: Future>(state: &ConnectionState, future: F) -> Option<F::Output> {
    let mut timer = DeadlineTimer::new();
    let mut future = pin!(future);
    poll_fn(|cx| {
        state.register(cx);
        if state.order() != Order::Continue {
            return Poll::Ready(None);
        }
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        timer.poll(cx, state.deadline()).map(|()| None)
    })
    .await
}

/// Does the TLS handshake; logs why it failed.
async fn shake_hands(
    socket: Socket,
    peer: SocketAddr,
    server: &Server,
    tls: &ReloadingServer,
    state: &ConnectionState,
) -> Option<(Stream, ClientKind)> {
    let config = tls.current();
    match guarded(state, Stream::accept(socket, Arc::clone(&config))).await? {
        Ok(stream) => {
            state.enter(Phase::Head);
            let Some(client) = stream.session().and_then(|session| tls.client(session, &config))
            else {
                return Some((stream, ClientKind::Unknown));
            };
            let names = server.access.as_ref().map(|_| Names::of(client.certificate()));
            state.certify(peer, client);
            Some((stream, ClientKind::Certified(names.unwrap_or_default())))
        }
        Err((error, stream)) => {
            journal::refuse(peer, "TLS handshake failed", &tls::refusal(&error));
            linger(stream, state).await;
            None
        }
    }
}

/// The waker that hyper gets. A task that takes a piece of a body from hyper decides itself whether
/// it has to poll hyper for the next one.
impl Wake for ConnectionState {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !is_quiet() {
            self.waker.wake();
        }
    }
}

/// Why HTTP stopped on a connection.
enum Stop {
    /// It is idle: its buffers can be freed.
    Doze,
    /// The head of a request took too long.
    Late,
    /// Its deadline has passed, or it was ordered to close: nothing more is sent.
    Cut,
    Done(hyper::Result<()>),
    /// The exchange goes on without hyper …
    Park(Box<Parked>),
    /// … and has its response.
    Resume,
}

/// Speaks HTTP on this stream, until one of the reasons to stop.
async fn converse(
    stream: Stream,
    state: &Arc<ConnectionState>,
    exchange: Exchange,
    half_close: bool,
) -> (Stop, Stream) {
    let socket = stream.socket().handle();
    let mut connection = http1::Builder::new()
        .half_close(half_close)
        .max_header_size(BUFFER)
        .max_buf_size(BUFFER)
        .serve_connection(stream, exchange.clone());
    let waker = Waker::from(Arc::clone(state));
    let mut timer = DeadlineTimer::new();
    let mut draining = false;
    let mut looked = 0;
    let stop = poll_fn(|cx| {
        state.register(cx);
        state.begin_turn();
        match state.order() {
            Order::Close | Order::MakeRoom => return Poll::Ready(Stop::Cut),
            // Told so before it has read anything, hyper would close without this response.
            Order::Drain | Order::Refuse if exchange.set_aside().response.is_some() => {
                cx.waker().wake_by_ref();
            }
            Order::Drain | Order::Refuse if !draining => {
                draining = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            Order::Drain | Order::Refuse | Order::Continue => {}
        }
        let hyper = &mut Context::from_waker(&waker);
        let polled = connection.poll_without_shutdown(hyper);
        if let Some(parked) = exchange.set_aside().parked.take() {
            return Poll::Ready(Stop::Park(parked));
        }
        if let Poll::Ready(outcome) = polled {
            return Poll::Ready(Stop::Done(outcome));
        }
        let deadline = state.deadline();
        loop {
            let look_at = state.look_at(looked);
            ready!(timer.poll(cx, deadline.min(state.doze_at()).min(look_at)));
            let now = clock::now();
            if now >= deadline {
                let is_late = state.phase() == Phase::Head;
                return Poll::Ready(if is_late { Stop::Late } else { Stop::Cut });
            }
            if now < look_at {
                return Poll::Ready(Stop::Doze);
            }
            if has_peer_closed(&socket) {
                return Poll::Ready(Stop::Cut);
            }
            looked = now;
        }
    })
    .await;
    let parts = connection.into_parts();
    let mut stream = parts.io;
    if !parts.read_buf.is_empty() {
        stream.put_back(parts.read_buf);
    }
    (stop, stream)
}

/// Waits for the response of an exchange that was taken out of hyper, and leaves it to the next
/// hyper. `None`: the connection is gone.
async fn answer_parked(
    parked: Parked,
    stream: Stream,
    state: &ConnectionState,
    exchange: &Exchange,
) -> Option<(Stop, Stream)> {
    let Parked { mut answering, direct: Direct { unread, head } } = parked;
    unread.lend(stream);
    let mut timer = DeadlineTimer::new();
    let response = poll_fn(|cx| {
        state.register(cx);
        state.begin_turn();
        if matches!(state.order(), Order::Close | Order::MakeRoom) {
            return Poll::Ready(None);
        }
        if let Poll::Ready(Ok(response)) = Pin::new(&mut answering).poll(cx) {
            return Poll::Ready(Some(response));
        }
        timer.poll(cx, state.deadline()).map(|()| None)
    })
    .await;
    drop(answering);
    let mut stream = unread.take_back()?;
    let Some(mut response) = response else { return Some((Stop::Cut, stream)) };
    if state.order() != Order::Continue {
        response = closing(response);
    }
    exchange.set_aside().response = Some(Box::new(response));
    stream.put_back(head.into());
    Some((Stop::Resume, stream))
}

/// Closes the sending side, then reads and discards what the peer still sends: closing with unread
/// bytes would reset the connection before the peer has seen the answer (RFC 9112, 9.6).
async fn linger(mut stream: Stream, state: &ConnectionState) {
    state.enter(Phase::Linger);
    let discard = async {
        within(SILENCE, stream.close()).await?;
        let socket = stream.socket();
        let mut waste = vec![0; 8 * 1024];
        while within(SILENCE, socket.read(&mut waste)).await? > 0 {}
        io::Result::Ok(())
    };
    let mut discard = pin!(within(LINGER, discard));
    let _ = poll_fn(|cx| {
        state.register(cx);
        if state.order() == Order::Close {
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
