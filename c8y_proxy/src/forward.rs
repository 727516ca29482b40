//! Passes a request on to Cumulocity, and its answer back. Read it from top to bottom.
//!
//! It does not know how a connection is made or where credentials come from.

use common::client;
use common::http::{Answer, Body, Request, crossing};
use http::header::UPGRADE;
use http::{Method, StatusCode, Uri, Version};

use crate::error::Error;
use crate::state::State;
use crate::target::Cost;
use crate::upstream::{Head, is_authorized};
use crate::{target, upgrade};

/// The methods that Cumulocity supports.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

fn is_known(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS
    )
}

/// Answers a request for `/c8y` and below.
pub(crate) async fn forward(
    state: State,
    mut request: Box<Request<Body>>,
) -> Result<Answer, Error> {
    // 1. The target must be one that may be requested from Cumulocity.
    if !is_known(request.method()) {
        return Err(Error::Method(METHODS));
    }
    let target = target::upstream(request.uri()).ok_or(Error::NotFound)?;
    let cost = target::cost(target.path());
    if cost == Cost::Token || cost == Cost::Session && !is_authorized(request.headers()) {
        return Err(Error::Forbidden);
    }

    // 2. All fields are passed on, except those of this one connection.
    let protocols = crossing::upgrade(request.version(), request.headers());
    *request.uri_mut() = Uri::from(target);
    let upstream = state.upstream();
    crossing::to_upstream(request.headers_mut(), upstream.host());
    if let Some(protocols) = protocols.clone() {
        crossing::set_upgrade(request.headers_mut(), protocols);
    }

    // 3. If the cache is on, it may answer the request.
    let (mut answered, mut status, mut changed) = (None, None, None);
    if let Some(cache) = state.cache() {
        let head = Head::take(&mut request);
        status = Some(match cache.check(&head) {
            Ok(()) => {
                let asked = Box::pin(cache.ask(&head)).await?;
                answered = asked.answer;
                asked.status
            }
            Err(status) => status,
        });
        changed = cache.changed_by(&head).map(|path| (cache, path));
        head.put(&mut request);
    }

    // 4. The credentials are the client's own, which need no token, or the device's.
    let client::Answer { mut response, upgraded, .. } = if let Some(answer) = answered {
        *answer
    } else if is_authorized(request.headers()) {
        upstream.send(request).await?
    } else {
        upstream.send_as_the_device(request).await?
    };

    if let Some((cache, path)) = changed {
        cache.invalidate(&path).await;
    }

    // 5. The answer goes back. If upstream switches protocols, the connection does too.
    match (upgraded, protocols) {
        (Some(upstream), Some(protocols)) => upgrade::switch(response, upstream, &protocols),
        (None, _) if response.status() != StatusCode::SWITCHING_PROTOCOLS => {
            let must_upgrade = response.status() == StatusCode::UPGRADE_REQUIRED;
            let fields = response.headers_mut();
            // The client has to learn which protocol is required (RFC 9110, 15.5.22).
            let required = if must_upgrade { fields.remove(UPGRADE) } else { None };
            crossing::to_client(fields);
            if let Some(required) = required {
                crossing::set_upgrade(fields, required);
            }
            if let Some(status) = status {
                status.add(fields);
            }
            *response.version_mut() = Version::HTTP_11;
            Ok(response.into())
        }
        _ => Err(Error::UnexpectedUpgrade("without a request to switch")),
    }
}
