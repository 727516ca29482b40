//! The bodies of an exchange, between hyper and the routes: they keep the connection's state up to
//! date.

use std::mem;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_io::Async;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::state::{ConnectionState, Phase};
use crate::http::{Body, BodyError};
use crate::net::placeholder::{self, placeholder};
use crate::net::{Observer, load};
use crate::storage::Sent;

/// The body of a request, straight from the wire.
pub(super) struct RequestBody {
    pub(super) incoming: Incoming,
    pub(super) state: Arc<ConnectionState>,
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx).map_err(BodyError::from);
        self.state.reading(polled.is_pending());
        let is_over = matches!(polled, Poll::Ready(None)) || self.incoming.is_end_stream();
        self.state.unread(!is_over);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The body of an answer. When hyper drops it, the exchange is over.
pub(super) struct ResponseBody {
    body: Body,
    state: Arc<ConnectionState>,
    /// What the kernel may send a file to.
    socket: Option<Arc<Async<TcpStream>>>,
    /// hyper was passed some of the body.
    is_begun: bool,
    /// The kernel has sent something since others had their turn.
    has_sent: bool,
    /// The socket accepts no more.
    is_full: bool,
}

impl ResponseBody {
    /// `socket` is that of a connection without TLS.
    pub(super) fn new(
        body: Body,
        state: Arc<ConnectionState>,
        socket: Option<&Arc<Async<TcpStream>>>,
    ) -> Self {
        /// Less is sent faster by copying it.
        const LARGE: u64 = 128 * 1024;
        let is_large = matches!(&body, Body::File(file) if file.remaining() >= LARGE);
        let socket = socket.filter(|_| is_large).cloned();
        Self { body, state, socket, is_begun: false, has_sent: false, is_full: false }
    }

    /// Has the kernel send the next bytes of a file, and says how many. `None`: they have to be
    /// read, or there are no more.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let (Some(socket), Body::File(file)) = (&self.socket, &mut self.body) else {
            return Poll::Ready(None);
        };
        // The first chunk leaves in one packet with the head.
        if !self.is_begun {
            return Poll::Ready(None);
        }
        // What hyper has buffered goes first.
        if self.state.hold() {
            return Poll::Pending;
        }
        if mem::take(&mut self.has_sent) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if self.is_full {
                self.state.waits_to_write(true);
                let writable = ready!(socket.poll_writable(cx));
                self.state.waits_to_write(false);
                // hyper finds the error when it writes.
                if writable.is_err() {
                    return Poll::Ready(None);
                }
            }
            let Some(Sent { count, is_full }) = file.send(&**socket, placeholder::MOST) else {
                return Poll::Ready(None);
            };
            self.is_full = is_full;
            if count > 0 {
                self.has_sent = !is_full;
                self.state.moved(count);
                return Poll::Ready(Some(count));
            }
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.state.reading(false);
        self.state.enter(Phase::Idle);
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(sent) = ready!(self.poll_send(cx)) {
            return Poll::Ready(Some(Ok(Frame::data(placeholder(sent)))));
        }
        // hyper would read 32 KiB in advance for each slow client, which is too much where there are
        // many.
        if self.is_begun && !load::is_light() && self.state.hold() {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(_))) = &polled {
            self.is_begun = true;
            self.state.buffer();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
