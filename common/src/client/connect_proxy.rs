//! A tunnel through an HTTP proxy by CONNECT (RFC 9110, 9.3.6).

use async_executor::Executor;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Request, Uri, header};

use super::error::Error;
use super::link::Link;
use super::options::ConnectProxy;
use super::stream::Wire;
use crate::error::chain;
use crate::http::Body;

/// Has the proxy at the other end connect to `target`, a `host:port`.
pub(super) async fn open_tunnel(
    wire: Wire,
    target: &str,
    proxy: &ConnectProxy,
    executor: &Executor<'static>,
) -> Result<Wire, Error> {
    let name = proxy.origin.to_string();
    let refused = |reason: String| Error::Proxy { proxy: name.clone(), reason };
    let request = connect_request(target, proxy).map_err(|error| refused(error.to_string()))?;

    let link = Link::open(wire, executor).await;
    let mut link = link.map_err(|error| refused(chain(&error)))?;
    let answer = link.exchange(&name, request).await;
    let answer = answer.map_err(|unanswered| unanswered.error)?;
    if !answer.status().is_success() {
        return Err(refused(format!("it answers {}", answer.status())));
    }
    match link.switch().await {
        // With HTTP and TLS it is the client that speaks first.
        Some(tunnel) => tunnel.into_wire().map_err(|error| refused(error.to_string())),
        None => Err(refused("it closes the connection".to_owned())),
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
