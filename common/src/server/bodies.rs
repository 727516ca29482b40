//! The bodies of an exchange, between hyper and the routes: they keep the connection's state up to
//! date.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::state::{ConnectionState, Phase};
use crate::http::{Body, BodyError, Unread};
use crate::net::quiet::quietly;

/// The body of a request, as hyper reads it.
pub(super) struct RequestBody {
    pub(super) incoming: Incoming,
    pub(super) state: Arc<ConnectionState>,
    /// The same body, if it may be read without hyper.
    pub(super) unread: Option<Arc<Unread>>,
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.state.end_body();
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (polled, was_woken) = quietly(|| Pin::new(&mut self.incoming).poll_frame(cx));
        let mut polled = polled.map_err(BodyError::from);
        let mut is_over = self.incoming.is_end_stream();
        if let Some(unread) = &self.unread {
            if let Poll::Ready(Some(Ok(frame))) = &polled {
                unread.subtract(frame.data_ref().map_or(0, Bytes::len));
            } else if polled.is_ready() && unread.is_lent() {
                // Without hyper, its part ends with an error.
                self.state.fill(false);
                let chunk = unread.poll_chunk(cx);
                polled = chunk.map(|it| it.map(|it| it.map(Frame::data).map_err(BodyError::from)));
            }
            is_over = unread.is_over();
        }
        self.state.reading(polled.is_pending());
        is_over |= matches!(polled, Poll::Ready(None));
        if was_woken && !is_over {
            self.state.waker.wake();
        }
        self.state.unread(!is_over);
        self.state.fill(polled.is_ready() && !is_over);
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
    pub(super) body: Body,
    pub(super) state: Arc<ConnectionState>,
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
        if self.state.hold() {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.state.queue(frame.data_ref().map_or(0, Bytes::len));
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
