//! One request and its answer, between hyper and the application.
//!
//! What has to be right for every service is checked here: `Host`, `Expect`, and that plain HTTP
//! on a TLS port is sent to https. The rest is the application's.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header, request};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::listener::Site;
use super::state::{ConnectionState, Phase};
use crate::http::respond::text;
use crate::http::{self as bridge, Body, BodyError, Upgrade};
use crate::journal::RequestLog;

/// Answers the requests of one connection, one after the other.
pub(crate) struct Exchange<S> {
    site: Arc<Site<S>>,
    watch: Arc<ConnectionState>,
    redirect: bool,
    upgrade: Arc<Mutex<Option<Upgrade>>>,
}

impl<S> Clone for Exchange<S> {
    fn clone(&self) -> Self {
        Self {
            site: Arc::clone(&self.site),
            watch: Arc::clone(&self.watch),
            redirect: self.redirect,
            upgrade: Arc::clone(&self.upgrade),
        }
    }
}

impl<S> Exchange<S> {
    pub(crate) fn new(site: Arc<Site<S>>, watch: Arc<ConnectionState>, redirect: bool) -> Self {
        Self { site, watch, redirect, upgrade: Arc::default() }
    }

    /// What the connection was switched to by the last answer, if by any.
    pub(crate) fn take_upgrade(&self) -> Option<Upgrade> {
        self.upgrade.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}

impl<S> hyper::service::Service<Request<Incoming>> for Exchange<S>
where
    S: Clone + Send + Sync + 'static,
{
    type Response = Response<Outgoing>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.watch.enter(Phase::Exchange);
        let (head, body) = request.into_parts();
        let line = RequestLog::begin(&head);
        let is_turn = self.watch.takes_turn();
        let has_content = !hyper::body::Body::is_end_stream(&body);
        let at_once = || (self.site.at_once)(self.site.app.state(), &head);
        let answer = self.refuse(&head).or_else(|| (is_turn && !has_content).then(at_once)?);
        if let Some(response) = answer {
            line.end(response.status());
            return Answering::Done(Some(self.outgoing(response)));
        }
        let exchange = self.clone();
        Answering::Waiting(Box::pin(async move {
            if !is_turn {
                exchange.watch.turn().await;
            }
            let response = exchange.answer(head, body).await;
            line.end(response.status());
            exchange.outgoing(response)
        }))
    }
}

/// The answer to one request, or the wait for it.
pub(crate) enum Answering {
    Done(Option<Response<Outgoing>>),
    Waiting(Pin<Box<dyn Future<Output = Response<Outgoing>> + Send>>),
}

impl Future for Answering {
    type Output = Result<Response<Outgoing>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Done(response) => response.take().map_or(Poll::Pending, |it| Poll::Ready(Ok(it))),
            Self::Waiting(answer) => answer.as_mut().poll(cx).map(Ok),
        }
    }
}

impl<S> Exchange<S>
where
    S: Clone + Send + Sync + 'static,
{
    async fn answer(&self, head: request::Parts, body: Incoming) -> Response<Body> {
        let is_empty = hyper::body::Body::is_end_stream(&body);
        self.watch.unread(!is_empty);
        let body = if is_empty {
            Body::Empty
        } else {
            Body::stream(RequestBody { incoming: body, state: Arc::clone(&self.watch) })
        };
        let request = Request::from_parts(head, body);
        let (response, upgrade) =
            bridge::respond(&self.site.app, self.site.prefixes, request).await;
        // hyper would throw the rest away and go on with the next request, and where that is
        // malformed, say so in the middle of an answer that still waits for the socket.
        let is_over = upgrade.is_some() || !self.watch.is_unread();
        *self.upgrade.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = upgrade;
        if is_over { response } else { closing(response) }
    }

    fn outgoing(&self, response: Response<Body>) -> Response<Outgoing> {
        response.map(|body| Outgoing { body, watch: Arc::clone(&self.watch) })
    }

    /// The answer to a request that no application should see.
    fn refuse(&self, head: &request::Parts) -> Option<Response<Body>> {
        let authority = authority(head);
        if self.redirect {
            return Some(closing(match authority.flatten() {
                Some(authority) => to_https(&authority, head),
                None => text(
                    StatusCode::BAD_REQUEST,
                    "This port speaks HTTPS. Use https:// and send a Host field.".to_owned(),
                ),
            }));
        }
        if authority.is_none() {
            return Some(closing(text(
                StatusCode::BAD_REQUEST,
                "A request has exactly one Host field that names a host and a port.".to_owned(),
            )));
        }
        unmet_expectation(&head.headers).map(closing)
    }
}

/// Whom the request is for. `None` where that is missing, said twice or malformed; HTTP/1.0 may
/// leave it out.
fn authority(head: &request::Parts) -> Option<Option<Authority>> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host),
        (None, None) if head.version == Version::HTTP_10 => None,
        _ => return None,
    };
    let named = match host {
        Some(host) if host.is_empty() => None,
        Some(host) => {
            let authority = Authority::try_from(host.as_bytes()).ok()?;
            let has_user = authority.as_str().contains('@');
            let rest = authority.as_str().strip_prefix(authority.host())?;
            let is_port = rest.is_empty() || rest == ":" || authority.port_u16().is_some();
            (!has_user && is_port).then_some(Some(authority))?
        }
        None => None,
    };
    Some(head.uri.authority().cloned().or(named))
}

fn to_https(authority: &Authority, head: &request::Parts) -> Response<Body> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let location = format!("https://{authority}{target}");
    let mut response =
        text(StatusCode::TEMPORARY_REDIRECT, format!("This port speaks HTTPS. Use {location}"));
    match HeaderValue::from_str(&location) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

fn unmet_expectation(fields: &HeaderMap) -> Option<Response<Body>> {
    let mut expectations = fields.get_all(header::EXPECT).iter();
    expectations.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")).then(|| {
        text(
            StatusCode::EXPECTATION_FAILED,
            "The only expectation that is understood here is 100-continue.".to_owned(),
        )
    })
}

fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The body of a request, straight from the wire.
struct RequestBody {
    incoming: Incoming,
    state: Arc<ConnectionState>,
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

/// The body of an answer; when hyper lets go of it, the exchange is over.
pub(crate) struct Outgoing {
    body: Body,
    watch: Arc<ConnectionState>,
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.watch.reading(false);
        self.watch.enter(Phase::Idle);
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.watch.hold() {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.watch.queue(frame.data_ref().map_or(0, Bytes::len));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: Version, target: &str, hosts: &[&str]) -> request::Parts {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_names_its_host_once() {
        for (version, hosts, accepted) in [
            (Version::HTTP_11, &["a:8000"][..], true),
            (Version::HTTP_11, &["[::1]:8000"], true),
            (Version::HTTP_11, &[""], true),
            (Version::HTTP_11, &[], false),
            (Version::HTTP_11, &["a", "a"], false),
            (Version::HTTP_11, &["a b"], false),
            (Version::HTTP_11, &["a/b"], false),
            (Version::HTTP_11, &["user@a"], false),
            (Version::HTTP_11, &["a:port"], false),
            (Version::HTTP_11, &["a:70000"], false),
            (Version::HTTP_11, &["a:"], true),
            (Version::HTTP_10, &[], true),
            (Version::HTTP_10, &["a", "b"], false),
        ] {
            let head = head(version, "/", hosts);
            assert_eq!(authority(&head).is_some(), accepted, "{version:?} {hosts:?}");
        }
    }

    #[test]
    fn plain_http_is_sent_to_the_same_host_path_and_query() {
        let head = head(Version::HTTP_11, "/a/%2e%2e//b?x=/;y", &["rpi4:8000"]);
        let authority = authority(&head).flatten().unwrap();
        let response = to_https(&authority, &head);
        assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(response.headers()[header::LOCATION], "https://rpi4:8000/a/%2e%2e//b?x=/;y");
    }

    #[test]
    fn only_100_continue_can_be_expected() {
        let mut fields = HeaderMap::new();
        assert!(unmet_expectation(&fields).is_none());
        fields.append(header::EXPECT, HeaderValue::from_static("100-Continue"));
        assert!(unmet_expectation(&fields).is_none());
        fields.append(header::EXPECT, HeaderValue::from_static("a-pony"));
        let refusal = unmet_expectation(&fields).unwrap();
        assert_eq!(refusal.status(), StatusCode::EXPECTATION_FAILED);
    }
}
