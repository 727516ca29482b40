//! A tunnel through an HTTP proxy by CONNECT (RFC 9110, 9.3.6).

use std::sync::Arc;

use async_executor::Executor;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};

use super::error::Error;
use super::link::Link;
use super::options::ConnectProxy;
use super::state::ConnectionState;
use crate::error::chain;
use crate::http::Body;
use crate::net::Stream;

/// Asks the proxy at the other end to connect to `target`, a `host:port`.
pub(super) async fn open_tunnel(
    stream: Stream,
    state: Arc<ConnectionState>,
    target: &str,
    proxy: &ConnectProxy,
    executor: &Executor<'static>,
) -> Result<Stream, Error> {
    let name = proxy.origin.to_string();
    let refused = |reason: String| Error::Proxy { proxy: name.clone(), reason };
    let request = connect_request(target, proxy).map_err(|error| refused(error.to_string()))?;

    let link = Link::open(stream, state, executor).await;
    let mut link = link.map_err(|error| refused(chain(&error)))?;
    let answer = link.exchange(&name, Box::new(request), false).await;
    let answer = answer.map_err(|unanswered| unanswered.error)?;
    // After another success hyper gives the connection to nobody.
    if answer.status() != StatusCode::OK {
        return Err(refused(format!("it answers {}", answer.status())));
    }
    match link.switch().await {
        // With HTTP and TLS it is the client that speaks first.
        Some(tunnel) if tunnel.is_drained() => Ok(tunnel),
        Some(_) => Err(refused("it sent data before the client did".to_owned())),
        None => Err(refused("it closed the connection".to_owned())),
    }
}

fn connect_request(target: &str, proxy: &ConnectProxy) -> Result<Request<Body>, http::Error> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(Uri::try_from(target)?)
        .header(header::HOST, target)
        .body(Body::Empty)?;
    if let Some((user, password)) = &proxy.credentials {
        let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let mut basic = HeaderValue::try_from(basic)?;
        basic.set_sensitive(true);
        request.headers_mut().insert(header::PROXY_AUTHORIZATION, basic);
    }
    Ok(request)
}
