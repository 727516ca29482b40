//! The HTTP client: surf's `HttpClient` over hyper, for one origin.
//!
//! surf's request carries the original request in its extensions, and surf's response the original
//! answer, since http_types refuses header values that are not ASCII and normalises the target. The
//! original request is what goes upstream: method, path and query, fields, body. The client has no
//! credentials for the origin, follows no redirect and adds no field except a missing `Host`.

mod connect_proxy;
mod dial;
mod driver;
mod error;
mod framing;
mod link;
mod options;
mod pool;
mod request_body;
mod state;
mod stream;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use async_executor::Executor;
use async_io::Timer;
use futures_lite::FutureExt;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body as _;
use surf::HttpClient;

use self::dial::Dialer;
use self::link::Link;
use self::pool::{Pool, ResponseBody};
use self::state::{ConnectionState, TimeLimits};
use crate::error::chain;
use crate::http::crossing::has;
use crate::http::{Body, Outgoing, load, unload, unload_request};
use crate::net::socket::Socket;
use crate::net::{Observer, Origin, Stream};
use crate::tls::ClientTls;

pub use self::error::{Error, Step};
pub use self::options::{ConnectProxy, Options};

/// An HTTP/1.1 client of one origin, with its connections kept alive and shared.
///
/// At most 16 connections are kept idle, each for at most 55 s; the most recently used one is
/// reused first. A request is sent a second time, on a fresh connection, only in two cases: none of
/// it was sent, because its connection turned out to be closed; or it was sent on a connection that
/// had been idle, no byte came back, its method is idempotent (RFC 9110, 9.2.2) and its whole body
/// is in memory. Nothing is sent a third time.
pub struct Client {
    options: Options,
    to: Arc<str>,
    dialer: Dialer,
    pool: Arc<Pool>,
    limits: TimeLimits,
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
            limits: TimeLimits::default(),
            options,
            executor,
        }
    }

    /// The same client, with a limit on how long an exchange may go without a byte in either
    /// direction.
    pub fn with_silence_limit(mut self, limit: Duration) -> Self {
        self.limits.silence = Some(limit);
        self
    }

    /// Sends a request and returns the answer as soon as its head has arrived, even if the
    /// request's body has not been sent completely.
    ///
    /// # Errors
    ///
    /// There is no answer, or none that can be passed on.
    // Boxed, since each crate that awaits an async function has a copy of its code: 6 KB.
    pub fn exchange(
        &self,
        request: Box<Request<Body>>,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send + '_>> {
        Box::pin(self.answer(request))
    }

    async fn answer(&self, mut request: Box<Request<Body>>) -> Result<Answer, Error> {
        self.address(&mut request);
        let is_repeatable = is_idempotent(request.method());
        let mut spare = copy(&request);
        let mut pooled = self.pool.take(self.version());
        loop {
            let is_fresh = pooled.is_none();
            let mut link = match pooled.take() {
                Some(link) => link,
                // Boxed, since it is large and rarely used.
                None => Box::pin(self.connect()).await?,
            };
            let looks = !(is_fresh || is_repeatable && spare.is_some());
            let unanswered = match link.exchange(&self.to, request, looks).await {
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return Box::pin(self.switch(response, link)).await;
                }
                Ok(response) => return self.accept(response, link, spare),
                Err(unanswered) => unanswered,
            };
            request = match (unanswered.request, spare) {
                _ if is_fresh => return Err(unanswered.error),
                (Some(unsent), _) => Box::new(unsent),
                (None, Some(spare)) if is_repeatable && unanswered.was_stale => spare,
                (None, _) => return Err(unanswered.error),
            };
            spare = copy(&request);
        }
    }

    /// Addresses the request to this origin.
    fn address(&self, request: &mut Request<Body>) {
        if request.uri().authority().is_some() {
            let target = request.uri().path_and_query().cloned();
            let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
            *request.uri_mut() = Uri::from(target);
        }
        *request.version_mut() = Version::HTTP_11;
        if !has(request.headers(), &header::HOST) {
            let scheme_port = if self.options.tls.is_some() { 443 } else { 80 };
            let host = self.options.origin.host_field(scheme_port);
            if let Ok(host) = HeaderValue::from_str(&host) {
                request.headers_mut().insert(header::HOST, host);
            }
        }
    }

    /// The version of the configuration of TLS. That of the proxy changes with it.
    fn version(&self) -> usize {
        self.options.tls.as_ref().map_or(0, ClientTls::version)
    }

    async fn connect(&self) -> Result<Link, Error> {
        // Before the configuration is read, which may be replaced meanwhile.
        let version = self.version();
        let hop = self.options.proxy.as_ref();
        let hop = hop.map_or_else(|| self.to.to_string(), |proxy| proxy.origin.to_string());
        let socket = self.within(&hop, Step::Connect, self.dialer.dial()).await?;
        let state = Arc::new(ConnectionState::new(self.limits));
        let observer = Arc::clone(&state) as Arc<dyn Observer>;
        let mut stream = Stream::plain(Socket::new(Arc::new(socket), observer));
        if let Some(proxy) = &self.options.proxy {
            if let Some(tls) = &proxy.tls {
                let secure = secure(stream, tls.config(), &proxy.origin);
                stream = self.within(&hop, Step::Handshake, secure).await?;
            }
            let state = Arc::clone(&state);
            let open = connect_proxy::open_tunnel(stream, state, &self.to, proxy, &self.executor);
            stream = self.within(&hop, Step::Proxy, open).await?;
        }
        if let Some(tls) = &self.options.tls {
            let secure = secure(stream, tls.config(), &self.options.origin);
            stream = self.within(&self.to, Step::Handshake, secure).await?;
        }
        let link = Link::open(stream, state, &self.executor).await;
        let mut link = link.map_err(|error| self.broken(chain(&error), false))?;
        link.version = version;
        Ok(link)
    }

    async fn within<T>(
        &self,
        to: &str,
        step: Step,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let late = async {
            Timer::after(self.limits.opening).await;
            Err(Error::Timeout { to: to.to_owned(), step })
        };
        future.or(late).await
    }

    fn accept(
        &self,
        mut response: Response<hyper::body::Incoming>,
        link: Link,
        copy: Option<Box<Request<Body>>>,
    ) -> Result<Answer, Error> {
        self.check(&mut response)?;
        let response = response.map(|incoming| {
            let (pool, to) = (Arc::clone(&self.pool), Arc::clone(&self.to));
            let body = ResponseBody::new(incoming, link, pool, to);
            if body.is_end_stream() { Body::Empty } else { Body::stream(body) }
        });
        Ok(Answer { response, upgraded: None, copy })
    }

    async fn switch(
        &self,
        mut response: Response<hyper::body::Incoming>,
        link: Link,
    ) -> Result<Answer, Error> {
        self.check(&mut response)?;
        let Some(upgraded) = link.switch().await else {
            let reason = "it switched protocols without a request to switch";
            return Err(self.broken(reason.to_owned(), true));
        };
        let response = response.map(|_| Body::Empty);
        Ok(Answer { response, upgraded: Some(upgraded), copy: None })
    }

    fn check(&self, response: &mut Response<hyper::body::Incoming>) -> Result<(), Error> {
        let has_body = !response.body().is_end_stream();
        framing::check(response.headers_mut(), has_body)
            .map_err(|fault| Error::Framing { to: self.to.to_string(), fault })
    }

    fn broken(&self, reason: String, sent: bool) -> Error {
        Error::Broken { to: self.to.to_string(), reason, sent }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.to).finish()
    }
}

impl HttpClient for Client {
    /// An error is carried like an answer, since one of http_types links the printer of backtraces.
    // As `async_trait` has it, but the future does not hold the carrier.
    fn send<'a, 'b>(
        &'a self,
        carrier: http_types::Request,
    ) -> Pin<Box<dyn Future<Output = http_types::Result<http_types::Response>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let request = unload_request(carrier);
        Box::pin(async move {
            Ok(load(match request {
                Some(request) => self.answer(request).await,
                None => Err(Error::NotCarried),
            }))
        })
    }
}

/// The answer to a request.
#[derive(Default)]
pub struct Answer {
    /// The response, byte for byte as it came.
    pub response: Response<Body>,
    /// The connection, where upstream has switched it to another protocol.
    pub upgraded: Option<Stream>,
    /// The request, to send it again, if its whole body was in memory.
    pub copy: Option<Box<Request<Body>>>,
}

async fn secure(
    stream: Stream,
    config: Arc<rustls::ClientConfig>,
    with: &Origin,
) -> Result<Stream, Error> {
    let refused = |source| Error::Tls { to: with.to_string(), source };
    match with.host.server_name() {
        Ok(name) => stream.connect(config, name).await.map_err(refused),
        Err(error) => Err(refused(io::Error::other(error))),
    }
}

/// Whether a request may be sent twice (RFC 9110, 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// A copy for a second attempt, if the whole body is in memory.
fn copy(request: &Request<Body>) -> Option<Box<Request<Body>>> {
    let body = match request.body() {
        Body::Empty => Body::Empty,
        Body::Text(text) => Body::Text(text.clone()),
        Body::Stream(_) => return None,
    };
    let mut copy = Box::new(Request::new(body));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// Sends a request through a [`surf::Client`] that was made of a [`Client`].
///
/// The target is the path and query of the URI; its authority, if any, is ignored.
///
/// # Errors
///
/// There is no answer.
pub async fn send(client: &surf::Client, request: Box<Request<Body>>) -> Result<Answer, Error> {
    let carrier = client.send(Outgoing(request)).await;
    let answer = carrier.ok().and_then(|carrier| unload(carrier.into()).ok());
    answer.unwrap_or(Err(Error::NotCarried))
}

#[cfg(test)]
mod tests;
