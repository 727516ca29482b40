//! Passes a request on to Cumulocity, and its answer back. Read it from top to bottom.
//!
//! It does not know how a connection is made or where credentials come from.

use common::client::Answer;
use common::http::{answer, crossing, received};
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
pub(crate) async fn forward(request: tide::Request<State>) -> Result<tide::Response, Error> {
    let (state, request) = received(request);
    let (received, body) = request.into_parts();

    // 1. The target must be one that may be requested from Cumulocity.
    if !is_known(&received.method) {
        return Err(Error::Method(METHODS));
    }
    let target = target::upstream(&received.uri).ok_or(Error::NotFound)?;
    let cost = target::cost(target.path());
    if cost == Cost::Token || cost == Cost::Session && !is_authorized(&received.headers) {
        return Err(Error::Forbidden);
    }

    // 2. All fields are passed on, except those of this one connection.
    let protocols = crossing::upgrade(&received);
    let mut head =
        Head { method: received.method, target: Uri::from(target), fields: received.headers };
    let upstream = state.upstream();
    crossing::to_upstream(&mut head.fields, upstream.host());
    if let Some(protocols) = protocols.clone() {
        crossing::set_upgrade(&mut head.fields, protocols);
    }

    // 3. If the cache is on, it may answer the request.
    let (mut answered, mut status) = (None, None);
    if let Some(cache) = state.cache() {
        status = Some(match cache.check(&head) {
            Ok(()) => {
                let asked = Box::pin(cache.ask(&head)).await?;
                answered = asked.answer;
                asked.status
            }
            Err(status) => status,
        });
    }

    // 4. The credentials are the client's own, which need no token, or the device's.
    let changed = state.cache().and_then(|cache| Some((cache, cache.changed_by(&head)?)));
    let Answer { mut response, upgraded } = if let Some(answer) = answered {
        *answer
    } else if is_authorized(&head.fields) {
        upstream.send(head.with(body)).await?
    } else {
        upstream.send_as_the_device(head, body).await?
    };

    if let Some((cache, path)) = changed {
        cache.invalidate(&path).await;
    }

    // 5. The answer goes back. If upstream switches protocols, the connection does too.
    match (upgraded, protocols) {
        (Some(upstream), Some(protocols)) => Ok(upgrade::switch(response, upstream, protocols)),
        (None, _) if response.status() != StatusCode::SWITCHING_PROTOCOLS => {
            crossing::to_client(response.headers_mut());
            if let Some(status) = status {
                status.add(response.headers_mut());
            }
            *response.version_mut() = Version::HTTP_11;
            Ok(answer(response))
        }
        _ => Err(Error::UnrequestedUpgrade),
    }
}
