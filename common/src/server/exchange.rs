//! One request and its answer, between hyper and the routes.

use std::convert::Infallible;
use std::mem;
use std::net::SocketAddr;
use std::ops::ControlFlow::{self, Break, Continue};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use futures_lite::future::Boxed;
use http::{HeaderValue, Request, Response, StatusCode, Version, header, request};
use hyper::body::{Body as _, Incoming};

use super::Server;
use super::bodies::{RequestBody, ResponseBody};
use super::browsers::{share, vary};
use super::direct::Direct;
use super::refusals::{busy, closing, named_host, unknown_coding, unmet_expectation, use_https};
use super::state::{ConnectionState, Order};
use crate::access::{self, Names};
use crate::http::respond::text;
use crate::http::{Answer, Body, Unread, Upgrade};
use crate::journal::{self, RequestLog};
use crate::net::Arrival;
use crate::tls::ReloadingServer;

/// Answers the requests of one connection, one after the other.
#[derive(Clone)]
pub(super) struct Exchange(Arc<Shared>);

/// The client, as far as the beginning of the connection identifies it.
pub(super) enum ClientKind {
    /// Plain HTTP on a TLS port.
    PlainOnTls,
    /// Plain HTTP, or TLS without a client certificate.
    Unknown,
    /// TLS with an accepted client certificate; its names are read only if there are rules.
    Certified(Names),
}

struct Shared {
    server: Arc<Server>,
    state: Arc<ConnectionState>,
    peer: SocketAddr,
    client: ClientKind,
    /// Whether a large body may be read without hyper: the connection has no TLS.
    is_plain: bool,
    set_aside: Mutex<SetAside>,
}

/// An exchange that was taken out of hyper.
pub(super) struct Parked {
    pub(super) answering: Answering,
    pub(super) direct: Direct,
}

/// What an exchange leaves to the connection's task.
#[derive(Default)]
pub(super) struct SetAside {
    /// The tunnel that the last answer switched the connection to.
    pub(super) upgrade: Option<Upgrade>,
    /// An exchange that goes on without hyper.
    pub(super) parked: Option<Box<Parked>>,
    /// Its response, which hyper is to send.
    pub(super) response: Option<Box<Response<ResponseBody>>>,
}

/// What the answer depends on, besides the route's response.
pub(super) struct Asked {
    log: RequestLog,
    version: Version,
    /// The origin that may read the answer.
    shared_with: Option<HeaderValue>,
}

impl Exchange {
    pub(super) fn new(
        server: Arc<Server>,
        state: Arc<ConnectionState>,
        peer: SocketAddr,
        client: ClientKind,
        is_plain: bool,
    ) -> Self {
        let set_aside = Mutex::default();
        Self(Arc::new(Shared { server, state, peer, client, is_plain, set_aside }))
    }

    pub(super) fn set_aside(&self) -> MutexGuard<'_, SetAside> {
        self.0.set_aside.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The request's body for the routes.
    fn request_body(&self, incoming: Incoming, unread: Option<Arc<Unread>>) -> Body {
        let is_empty = hyper::body::Body::is_end_stream(&incoming);
        self.0.state.unread(!is_empty);
        if is_empty {
            return Body::Empty;
        }
        self.0.state.begin_body();
        Body::stream(RequestBody { incoming, state: Arc::clone(&self.0.state), unread })
    }

    fn finish(&self, answer: Answer) -> Response<Body> {
        let Answer { response, upgrade } = answer;
        // If the connection stayed open, hyper would discard the rest of the body and read the next
        // request. If that is malformed, hyper would write a 400 into the middle of a queued
        // answer.
        let is_over = upgrade.is_some() || !self.0.state.is_unread();
        self.set_aside().upgrade = upgrade;
        if is_over { response } else { closing(response) }
    }

    /// Checks a request before any route sees it. Continues with the origin that may read the
    /// answer, or breaks with a refusal. `is_whole`: the request has no body.
    fn admit(
        &self,
        head: &request::Parts,
        is_whole: bool,
    ) -> ControlFlow<Response<Body>, Option<HeaderValue>> {
        if let ClientKind::PlainOnTls = self.0.client {
            return Break(use_https(head));
        }
        let Server { browsers, places, .. } = &*self.0.server;
        let is_usual = browsers.is_usual(head);
        let shared_with = if is_usual { None } else { self.judge(head)? };
        if let Some(refusal) = self.forbid(head) {
            return Break(if is_whole { refusal } else { closing(refusal) });
        }
        // A usual request has no field that is checked below.
        if is_usual {
            return Continue(None);
        }
        if head.headers.contains_key(header::UPGRADE) {
            if places.are_quiet() {
                return Break(busy());
            }
            self.0.state.ask_for_upgrade();
        }
        let refusal = unknown_coding(&head.headers).or_else(|| unmet_expectation(&head.headers));
        refusal.map_or(Continue(shared_with), Break)
    }

    fn judge(&self, head: &request::Parts) -> ControlFlow<Response<Body>, Option<HeaderValue>> {
        let named = named_host(head)?;
        let Server { browsers, tls, .. } = &*self.0.server;
        let is_certified = |name: &str| tls.as_ref().is_some_and(|tls| tls.is_for(name));
        let asks_for_certificates =
            tls.as_ref().is_some_and(ReloadingServer::asks_for_certificates);
        let is_certified: Option<&dyn Fn(&str) -> bool> =
            if asks_for_certificates { None } else { Some(&is_certified) };
        browsers.judge(head, named.as_ref(), tls.is_some(), is_certified)
    }

    /// The answer to a request that the rules do not allow.
    fn forbid(&self, head: &request::Parts) -> Option<Response<Body>> {
        let Shared { server, peer, client, .. } = &*self.0;
        let rules = server.access.as_ref()?.current();
        let nobody = Names::default();
        let (names, is_known) = match client {
            ClientKind::Certified(names) => (names, true),
            _ => (&nobody, false),
        };
        let client = access::Requester { names, address: Some(peer.ip()) };
        let refusal = server.routes.judge(head, &rules.judge(client)).err()?;
        let words = refusal.to_string();
        let refusal = journal::Refusal { words: words.clone(), kind: "access", is_known };
        journal::refuse(*peer, "no rule allows this request", &refusal);
        Some(text(StatusCode::FORBIDDEN, words))
    }

    fn response(
        &self,
        Asked { log, version, shared_with }: Asked,
        mut response: Response<Body>,
    ) -> Response<ResponseBody> {
        // HTTP/1.0 has no chunks: the end of the connection is the end of such a body. hyper would
        // say that the connection stays.
        if version == Version::HTTP_10 && ends_with_connection(&response) {
            response = closing(response);
            *response.version_mut() = version;
        }
        if let Some(origin) = shared_with {
            share(&mut response, origin);
        }
        if self.0.server.browsers.share_with_pages() {
            vary(&mut response);
        }
        self.0.state.begin_answer();
        log.end(response.status());
        response.map(|body| ResponseBody { body, state: Arc::clone(&self.0.state) })
    }
}

impl hyper::service::Service<Request<Incoming>> for Exchange {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let Shared { server, state, is_plain, .. } = &*self.0;
        if let Some(response) = self.set_aside().response.take() {
            return Answering::Done(Some(*response));
        }
        state.begin_exchange();
        if !state.is_client_accepted(server.tls.as_ref()) {
            // No answer: the connection's task is about to close it.
            return Answering::Done(None);
        }
        let (mut head, incoming) = request.into_parts();
        let log = RequestLog::begin(&head);
        let has_turn = state.takes_turn();
        let is_whole = hyper::body::Body::is_end_stream(&incoming);
        let mut asked = Asked { log, version: head.version, shared_with: None };
        match self.admit(&head, is_whole) {
            Continue(shared_with) => asked.shared_with = shared_with,
            Break(response) => return Answering::Done(Some(self.response(asked, response))),
        }
        let may_be_express = has_turn && is_whole;
        if let Some(response) =
            may_be_express.then(|| server.routes.express(&head, Arrival::last())).flatten()
        {
            return Answering::Done(Some(self.response(asked, response)));
        }
        let is_passed_on = server.routes.is_passed_on(&head);
        state.need_client(is_passed_on);
        let may_leave = *is_plain && !is_passed_on;
        let direct = may_leave.then(|| Direct::of(&mut head, &incoming)).flatten();
        let unread = direct.as_ref().map(|direct| Arc::clone(&direct.unread));
        let request = Request::from_parts(head, self.request_body(incoming, unread));
        let answer = server.routes.answer(request);
        let exchange = self.clone();
        Answering::Waiting { exchange, answer, has_turn, asked: Some(asked), direct }
    }
}

/// Whether the connection has to end after this answer, in HTTP/1.0.
fn ends_with_connection(response: &Response<Body>) -> bool {
    let says_close = response.headers().get(header::CONNECTION).is_some_and(|it| it == "close");
    says_close || response.body().size_hint().exact().is_none()
}

/// The wait for an answer.
pub(super) enum Answering {
    Done(Option<Response<ResponseBody>>),
    Waiting {
        exchange: Exchange,
        answer: Boxed<Answer>,
        has_turn: bool,
        asked: Option<Asked>,
        /// If it may go on without hyper.
        direct: Option<Direct>,
    },
}

impl Future for Answering {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Self::Waiting { exchange, direct, .. } = this {
            if let Some(direct) = direct.take_if(|direct| direct.is_due(&exchange.0.state)) {
                let exchange = exchange.clone();
                let answering = mem::replace(this, Self::Done(None));
                exchange.set_aside().parked = Some(Box::new(Parked { answering, direct }));
            }
        }
        let response = match this {
            Self::Done(response) => response.take(),
            Self::Waiting { exchange, answer, has_turn, asked, .. } => {
                *has_turn = *has_turn || exchange.0.state.takes_turn();
                if !*has_turn {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let response = match answer.as_mut().poll(cx) {
                    Poll::Ready(answer) => exchange.finish(answer),
                    // Dropping the route's future also ends its upstream request.
                    Poll::Pending if exchange.0.state.order() == Order::Refuse => busy(),
                    Poll::Pending => return Poll::Pending,
                };
                asked.take().map(|asked| exchange.response(asked, response))
            }
        };
        // A future that has answered is not polled again.
        response.map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
    }
}
