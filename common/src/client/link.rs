//! One connection upstream, ready for a request.
//!
//! Whoever owns the [`Link`] owns the connection: the pool, a request that waits for its answer, or
//! a body that is being read. Dropping it closed the connection.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use async_executor::{Executor, Task};
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};

use super::driver::{Driver, Watch, take};
use super::error::{Error, Step};
use super::request_body::RequestBody;
use super::state::ConnectionState;
use super::stream::HttpStream;
use crate::error::chain;
use crate::http::Body;
use crate::http::crossing::has;
use crate::net::Stream;

/// The most that hyper buffers in either direction; also the longest head of a response. The limit
/// for its field lines is hyper's default, 100: setting it makes hyper fill a table for each head.
const BUFFER: usize = 32 * 1024;

pub(super) struct Link {
    sender: SendRequest<RequestBody>,
    driver: Arc<Driver>,
    task: Task<Option<Stream>>,
    state: Arc<ConnectionState>,
    /// The version of the configuration with which it was opened.
    pub(super) version: usize,
    /// Why the body of the answer ends.
    failure: Option<hyper::Error>,
}

/// Why a request got no answer. Contains the request if no part of it was sent.
pub(super) struct Unanswered {
    pub(super) error: Error,
    pub(super) request: Option<Request<Body>>,
    /// The connection was closed without a byte of answer; an idle connection may have been closed
    /// before the request.
    pub(super) was_stale: bool,
}

impl Link {
    /// A connection, driven by a task of its own.
    pub(super) async fn open(
        stream: Stream,
        state: Arc<ConnectionState>,
        executor: &Executor<'static>,
    ) -> hyper::Result<Self> {
        let stream = HttpStream::new(stream, Arc::clone(&state));
        let mut builder = http1::Builder::new();
        // A proxy has to repair `Name : value` and folded lines (RFC 9112, 5.1 and 5.2).
        builder
            .max_buf_size(BUFFER)
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true);
        let (sender, connection) = builder.handshake(stream).await?;
        let driver = Arc::new(Driver::new(connection, Arc::clone(&state)));
        let task = executor.spawn(Watch(Arc::clone(&driver)));
        Ok(Self { sender, driver, task, state, version: 0, failure: None })
    }

    /// Whether the next request can be sent, as far as is known. If upstream has just closed the
    /// connection, hyper notices before it writes and gives the request back.
    pub(super) fn is_idle(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether the task still has the connection.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Whether the last exchange is complete, so that another may follow.
    pub(super) fn rest(&mut self) -> bool {
        self.state.rest();
        self.driver.end();
        self.sender.is_ready()
    }

    /// Polls the body of the answer.
    pub(super) fn poll_body(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        let mut incoming = Pin::new(incoming);
        if !self.driver.is_with_exchange() {
            return incoming.poll_frame(cx);
        }
        let mut polled = take(|cx| incoming.as_mut().poll_frame(cx));
        if polled.is_pending() {
            self.driver.drive(cx);
            polled = take(|cx| incoming.poll_frame(cx));
            // The reader first passes on what came before the error.
            if let Poll::Ready(Some(Err(failure))) = polled {
                self.failure = Some(failure);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        polled
    }

    /// Sends a request and waits for the head of its answer. With `looks`, it first asks the kernel
    /// whether upstream has just closed the connection.
    pub(super) async fn exchange(
        &mut self,
        to: &str,
        request: Box<Request<Body>>,
        looks: bool,
    ) -> Result<Response<Incoming>, Unanswered> {
        let may_switch =
            request.method() == Method::CONNECT || has(request.headers(), &header::UPGRADE);
        self.state.begin(may_switch, looks);
        let drives = !may_switch && !matches!(request.body(), Body::Stream(_));
        if drives {
            self.driver.begin();
        }
        let request = request.map(|body| RequestBody::new(body, Arc::clone(&self.state)));
        let mut response = pin!(self.sender.try_send_request(request));
        let driver = &self.driver;
        let answered = poll_fn(|cx| {
            if !drives {
                return response.as_mut().poll(cx);
            }
            driver.drive(cx);
            take(|cx| response.as_mut().poll(cx))
        });
        let mut failed = match answered.await {
            Ok(response) => {
                self.state.has_head();
                return Ok(response);
            }
            Err(failed) => failed,
        };
        let request = failed.take_message().map(|request| request.map(RequestBody::into_body));
        let sent = request.is_none();
        let error = self.explain(to, Step::Answer, failed.into_error(), sent);
        let is_broken = matches!(error, Error::Broken { .. });
        let is_answered = self.state.is_answered();
        Err(Unanswered { error, request, was_stale: is_broken && !is_answered })
    }

    /// The connection after `101 Switching Protocols`, or where CONNECT has led.
    pub(super) async fn switch(self) -> Option<Stream> {
        let Self { sender, driver, task, .. } = self;
        driver.end();
        let switched = task.await;
        drop(sender);
        switched
    }

    /// Why the connection ended.
    pub(super) fn explain(&self, to: &str, step: Step, error: hyper::Error, sent: bool) -> Error {
        let to = to.to_owned();
        if self.state.has_timed_out() {
            Error::Timeout { to, step }
        } else if self.state.has_body_failed() {
            Error::RequestBody(error)
        } else if let Some(alert) = alert(&error) {
            Error::Tls { to, source: io::Error::other(alert) }
        } else {
            Error::Broken { to, reason: reason(&error), sent }
        }
    }
}

fn of_the_socket(error: &hyper::Error) -> impl Iterator<Item = &io::Error> {
    let causes = std::iter::successors(StdError::source(error), |&cause| cause.source());
    causes.filter_map(|cause| cause.downcast_ref::<io::Error>())
}

/// The alert by which the peer refuses us. In TLS 1.3 it comes after our side of the handshake is
/// complete.
fn alert(error: &hyper::Error) -> Option<rustls::Error> {
    of_the_socket(error).find_map(|cause| match cause.get_ref()?.downcast_ref() {
        Some(alert @ rustls::Error::AlertReceived(_)) => Some(alert.clone()),
        _ => None,
    })
}

/// rustls describes an end without close_notify by a link to its manual, and hyper names no limit,
/// so these messages are ours.
fn reason(error: &hyper::Error) -> String {
    if error.is_parse_too_large() {
        return "the head of its answer has more than 100 field lines or 32 KiB".to_owned();
    }
    let reason = chain(error);
    match reason.contains("close_notify") {
        true => "it ended without a TLS close_notify".to_owned(),
        false => reason,
    }
}
