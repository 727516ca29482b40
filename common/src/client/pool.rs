//! Idle connections, and the response body that returns them to the pool.

use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::error::Step;
use super::link::Link;
use crate::http::BodyError;

/// How many connections are kept at most. The one that has been idle longest is closed first.
const IDLE: usize = 16;

/// The idle connections of one origin; the one used last is at the end.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Link>>);

impl Pool {
    /// The most recently used connection that is still open, and was opened with the configuration
    /// of this version.
    pub(super) fn take(&self, version: usize) -> Option<Link> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(link) = links.pop() {
            if link.version == version && link.is_idle() {
                return Some(link);
            }
        }
        None
    }

    fn put(&self, link: Link) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(Link::is_open);
        if links.len() == IDLE {
            links.remove(0);
        }
        links.push(link);
    }
}

/// The body of a response. Read to its end, it returns the connection to the pool; dropped before,
/// it closed the connection.
pub(super) struct ResponseBody {
    incoming: Incoming,
    lease: Option<Lease>,
}

struct Lease {
    link: Link,
    pool: Arc<Pool>,
    to: Arc<str>,
}

impl ResponseBody {
    pub(super) fn new(incoming: Incoming, link: Link, pool: Arc<Pool>, to: Arc<str>) -> Self {
        let mut body = Self { incoming, lease: Some(Lease { link, pool, to }) };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        if let Some(Lease { mut link, pool, .. }) = self.lease.take() {
            // Otherwise upstream wants to close, or has answered before it had all of the request:
            // such a connection cannot carry another.
            if link.rest() {
                pool.put(link);
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = match &mut this.lease {
            Some(lease) => lease.link.poll_body(&mut this.incoming, cx),
            None => Pin::new(&mut this.incoming).poll_frame(cx),
        };
        let frame = match ready!(polled) {
            Some(Err(error)) => {
                let error = match mem::take(&mut this.lease) {
                    Some(Lease { link, to, .. }) => {
                        link.explain(&to, Step::Body, error, true).into()
                    }
                    None => error.into(),
                };
                return Poll::Ready(Some(Err(error)));
            }
            frame => frame.map(|frame| frame.map_err(BodyError::from)),
        };
        if frame.is_none() || this.incoming.is_end_stream() {
            this.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
