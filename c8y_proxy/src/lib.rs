//! The Cumulocity Proxy: `/c8y/{path}` here is `/{path}` there, with the device's credentials.
//!
//! Read it in the order in which a request passes:
//!
//! 1. [`app`] routes it.
//! 2. `forward` is the whole of its way, step by step.
//! 3. `target` says what is asked upstream, and what may not be asked.
//! 4. `headers` says which fields cross.
//! 5. [`credentials`] adds the device's, from a file or by way of the broker.
//! 6. `upgrade` takes over where upstream switches protocols; `relay` carries the bytes.
//! 7. [`error`] is everything that is answered without Cumulocity.

pub mod credentials;
pub mod error;
mod forward;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod headers;
mod relay;
mod target;
mod upgrade;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::http::respond::Respond;
use common::http::{Body, Received, answer};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::credentials::Credentials;
use crate::error::Error;

/// What all requests share.
#[derive(Clone)]
pub struct State(Arc<Shared>);

struct Shared {
    host: HeaderValue,
    client: surf::Client,
    credentials: Credentials,
    draining: Arc<AtomicBool>,
}

impl State {
    /// A proxy to `authority`, the host of Cumulocity as `Host` names it, by way of `client`,
    /// which has to be made of [`common::client::Client`]. `draining` is set by who stops the
    /// service.
    ///
    /// # Errors
    ///
    /// `authority` is no value of a header field.
    pub fn new(
        authority: &str,
        client: surf::Client,
        credentials: Credentials,
        draining: Arc<AtomicBool>,
    ) -> Result<Self, common::error::Error> {
        let host = HeaderValue::try_from(authority).map_err(|_| {
            common::error::Error::Configuration(format!("c8y.http: \"{authority}\" is no host"))
        })?;
        Ok(Self(Arc::new(Shared { host, client, credentials, draining })))
    }
}

/// Paths below this lead to one route, whatever follows.
pub const PREFIXES: &[&str] = &["/c8y/"];

/// The service, without a socket.
pub fn app(state: State) -> tide::Server<State> {
    let mut app = tide::with_state(state);
    app.with(Respond::<Error>::default());
    for path in ["/c8y", "/c8y/", "/c8y/*"] {
        app.at(path).all(forward::forward);
    }
    app.at("/health").all(health);
    app
}

async fn health(request: tide::Request<State>) -> tide::Result {
    if !matches!(request.head().method, Method::GET | Method::HEAD) {
        return Err(Error::Method("GET, HEAD").into());
    }
    let shared = &request.state().0;
    let (token, broker) = shared.credentials.health();
    let (status, word) = if shared.draining.load(Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "down")
    } else {
        (StatusCode::OK, "up")
    };
    let text = format!(r#"{{"status":"{word}","token":"{token}","broker":"{broker}"}}"#);
    let mut response = Response::new(Body::text(text));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer(response))
}

#[cfg(test)]
mod tests;
