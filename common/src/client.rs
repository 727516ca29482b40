//! The way out: surf's `HttpClient` over hyper, for one origin.
//!
//! The original request rides in the extensions of surf's, and the original response in those of
//! surf's response, since http_types would refuse header values that are not ASCII and normalise
//! the target. What goes upstream is the carried request: method, path and query, fields, body.
//! This module knows no credentials for the origin, follows no redirect and adds no field but
//! `Host` where there is none.

mod connect_proxy;
mod dial;
mod error;
mod link;
mod pool;
mod state;
mod stream;

use std::sync::{Arc, OnceLock};
use std::{fmt, io};

use async_executor::Executor;
use async_io::Timer;
use futures_lite::FutureExt;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use surf::HttpClient;
use surf::utils::async_trait;

use self::dial::Dialer;
use self::link::Link;
use self::pool::{Content, Pool};
use self::state::Limits;
use self::stream::{Socket, Wire};
use crate::error::chain;
use crate::http::{Body, Carried, load, unload};
use crate::net::Origin;

pub use self::error::{Error, Stage};
pub use self::stream::Upgraded;

/// Where a [`Client`] connects to, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its host is the name that its certificate has to be for.
    pub origin: Origin,
    /// TLS with this configuration, or plain HTTP.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Everything goes through this proxy, by CONNECT. `no_proxy` is for the caller to apply.
    pub proxy: Option<ConnectProxy>,
}

/// An HTTP proxy that opens tunnels (RFC 9110, 9.3.6).
#[derive(Clone)]
pub struct ConnectProxy {
    /// Where it is.
    pub origin: Origin,
    /// User and password, for `Proxy-Authorization: Basic`.
    pub credentials: Option<(String, String)>,
}

impl fmt::Debug for ConnectProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectProxy({})", self.origin)
    }
}

/// An HTTP/1.1 client of one origin, with its connections kept alive and shared.
///
/// At most 16 connections wait for a next request, each for at most 55 s, the one used last goes
/// first. A request is sent a second time, on a fresh connection, in two cases alone: none of it
/// was sent, because its connection turned out to be closed; or it went out on a connection that
/// had been idle, no byte came back, its method is idempotent (RFC 9110, 9.2.2) and its body is
/// known whole. Nothing is ever sent a third time.
pub struct Client {
    options: Options,
    to: Arc<str>,
    dialer: Dialer,
    pool: Arc<Pool>,
    limits: Limits,
    executor: Arc<Executor<'static>>,
}

impl Client {
    /// A client that has not connected yet. Its connections are tasks of `executor`.
    pub fn new(options: Options, executor: Arc<Executor<'static>>) -> Self {
        let hop = options.proxy.as_ref().map_or(&options.origin, |proxy| &proxy.origin);
        Self {
            to: options.origin.to_string().into(),
            dialer: Dialer::new(hop.clone(), Arc::clone(&executor)),
            pool: Arc::default(),
            limits: Limits::default(),
            options,
            executor,
        }
    }

    /// Sends a request and returns the answer as soon as its head is there, even if the request's
    /// body is not sent to its end by then.
    async fn exchange(
        &self,
        request: Request<Body>,
    ) -> Result<(Response<Body>, Option<Upgraded>), Error> {
        let mut request = self.address(request);
        if let Some(mut link) = self.pool.take() {
            let spare = spare(&request);
            let unanswered = match link.exchange(&self.to, request).await {
                Ok(response) => return self.accept(response, link).await,
                Err(unanswered) => unanswered,
            };
            request = match (unanswered.request, spare) {
                (Some(unsent), _) => unsent,
                (None, Some(spare)) if unanswered.was_stale => spare,
                (None, _) => return Err(unanswered.error),
            };
        }
        // Boxed, since it needs much room and is rarely needed.
        let mut link = Box::pin(self.connect()).await?;
        match link.exchange(&self.to, request).await {
            Ok(response) => self.accept(response, link).await,
            Err(unanswered) => Err(unanswered.error),
        }
    }

    /// Makes the request one to this origin.
    fn address(&self, mut request: Request<Body>) -> Request<Body> {
        let target = request.uri().path_and_query().cloned();
        let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(target);
        *request.version_mut() = Version::HTTP_11;
        if !request.headers().contains_key(header::HOST) {
            let scheme_port = if self.options.tls.is_some() { 443 } else { 80 };
            let host = self.options.origin.host_field(scheme_port);
            if let Ok(host) = HeaderValue::from_str(&host) {
                request.headers_mut().insert(header::HOST, host);
            }
        }
        request
    }

    async fn connect(&self) -> Result<Link, Error> {
        let hop = self.options.proxy.as_ref();
        let hop = hop.map_or_else(|| self.to.to_string(), |proxy| proxy.origin.to_string());
        let socket = self.within(&hop, Stage::Connect, self.dialer.dial()).await?;
        let mut wire = Wire::plain(Socket::new(socket, self.limits));
        if let Some(proxy) = &self.options.proxy {
            let open = connect_proxy::open_tunnel(wire, &self.to, proxy, &self.executor);
            wire = self.within(&hop, Stage::Proxy, open).await?;
        }
        if let Some(config) = &self.options.tls {
            let secure = self.secure(wire, Arc::clone(config));
            wire = self.within(&self.to, Stage::Handshake, secure).await?;
        }
        Link::open(wire, &self.executor).await.map_err(|error| self.broken(chain(&error), false))
    }

    async fn secure(&self, wire: Wire, config: Arc<rustls::ClientConfig>) -> Result<Wire, Error> {
        let refused = |source| Error::Tls { to: self.to.to_string(), source };
        let name = self
            .options
            .origin
            .host
            .server_name()
            .map_err(|error| refused(io::Error::other(error)))?;
        wire.secure(config, name).await.map_err(refused)
    }

    async fn within<T>(
        &self,
        to: &str,
        stage: Stage,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let late = async {
            Timer::after(self.limits.opening).await;
            Err(Error::Timeout { to: to.to_owned(), stage })
        };
        future.or(late).await
    }

    async fn accept(
        &self,
        response: Response<hyper::body::Incoming>,
        link: Link,
    ) -> Result<(Response<Body>, Option<Upgraded>), Error> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let response = response.map(|incoming| {
                let content =
                    Content::new(incoming, link, Arc::clone(&self.pool), Arc::clone(&self.to));
                if http_body::Body::is_end_stream(&content) {
                    Body::Empty
                } else {
                    Body::stream(content)
                }
            });
            return Ok((response, None));
        }
        match link.switch().await {
            Some(upgraded) => Ok((response.map(|_| Body::Empty), Some(upgraded))),
            None => Err(self.broken("it switches protocols without being asked".to_owned(), true)),
        }
    }

    fn broken(&self, reason: String, sent: bool) -> Error {
        Error::Broken { to: self.to.to_string(), reason, sent }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.options).finish()
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send(
        &self,
        mut carrier: http_types::Request,
    ) -> http_types::Result<http_types::Response> {
        let carried = carrier.ext_mut().get_mut::<Carried<Request<Body>>>();
        let Some(request) = carried.and_then(Carried::take) else {
            return Err(failure(Error::NotCarried));
        };
        let answer = self.exchange(request).await.map_err(failure)?;
        Ok(load(answer))
    }
}

/// A copy to send again, of a request that may be repeated (RFC 9110, 9.2.2) and is known whole.
fn spare(request: &Request<Body>) -> Option<Request<Body>> {
    let is_idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    );
    let body = match request.body() {
        _ if !is_idempotent => return None,
        Body::Empty => Body::Empty,
        Body::Text(text) => Body::Text(text.clone()),
        Body::Incoming(..) | Body::Stream(_) => return None,
    };
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

fn failure(error: Error) -> http_types::Error {
    let status = if error.is_timeout() { 504 } else { 502 };
    http_types::Error::new(status, error)
}

/// The surf request that carries this one. Give it to a [`surf::Client`] made of a [`Client`].
///
/// The target is the path and query of the URI; its authority, if any, is not looked at.
pub fn request(request: Request<Body>) -> surf::Request {
    static NOWHERE: OnceLock<http_types::Url> = OnceLock::new();
    #[expect(clippy::unwrap_used, reason = "a constant that parses")]
    let url = NOWHERE.get_or_init(|| http_types::Url::parse("http://origin/").unwrap());
    let mut carrier = surf::Request::new(http_types::Method::Get, url.clone());
    carrier.set_ext(Carried::new(request));
    carrier
}

/// The original response, and the connection where it is `101 Switching Protocols`.
pub fn response(carrier: surf::Response) -> (Response<Body>, Option<Upgraded>) {
    unload(carrier.into()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
