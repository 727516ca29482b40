//! A request's way to Cumulocity and back, from top to bottom.
//!
//! It knows neither how a connection is made nor where credentials come from.

use std::time::Duration;

use async_io::Timer;
use bytes::Bytes;
use common::client::{self, Answer};
use common::http::{Body, answer, crossing, received};
use futures_lite::FutureExt;
use http::header::{AUTHORIZATION, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use http_body::Body as _;

use crate::credentials::Grant;
use crate::error::Error;
use crate::state::State;
use crate::target::Cost;
use crate::{target, upgrade};

/// Every method that Cumulocity knows.
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

/// A body of known length up to this one is kept, so that it can be sent a second time.
const RESENDABLE: u64 = 64 * 1024;

/// The body of a 401 in place of which the request is sent again is read up to this length, for this
/// long.
const LONGEST_DISCARDED: usize = 16 * 1024;
const DISCARDED_WITHIN: Duration = Duration::from_millis(100);

/// What every device may ask, to see whether its token is good.
const PROOF: &str = "/tenant/currentTenant";

/// Answers a request for `/c8y` and below.
pub(crate) async fn forward(request: tide::Request<State>) -> tide::Result {
    let (state, request) = received(request);
    let (received, body) = request.into_parts();

    // 1. The target has to be one that Cumulocity can be asked for.
    if !is_known(&received.method) {
        return Err(Error::Method(METHODS).into());
    }
    let target = target::upstream(&received.uri).ok_or(Error::NotFound)?;
    let cost = target::cost(target.path());
    if cost == Cost::Token || cost == Cost::Session && !is_authorized(&received.headers) {
        return Err(Error::Forbidden.into());
    }

    // 2. The fields cross, except those of this one connection.
    let protocols = crossing::upgrade(&received);
    let mut head =
        Head { method: received.method, target: Uri::from(target), fields: received.headers };
    crossing::to_upstream(&mut head.fields, state.host());
    if let Some(protocols) = protocols.clone() {
        crossing::set_upgrade(&mut head.fields, protocols);
    }

    // 3. Credentials: the client's own, and then nothing waits for a token, or the device's.
    let Answer { mut response, upgraded } = if is_authorized(&head.fields) {
        send(&state, head.with(body)).await?
    } else {
        send_as_the_device(&state, head, body).await?
    };

    // 4. The answer goes back, and where upstream switches protocols the connection follows.
    match (upgraded, protocols) {
        (Some(upstream), Some(protocols)) => Ok(upgrade::switch(response, upstream, protocols)),
        (None, _) if response.status() != StatusCode::SWITCHING_PROTOCOLS => {
            crossing::to_client(response.headers_mut());
            *response.version_mut() = Version::HTTP_11;
            Ok(answer(response))
        }
        _ => Err(Error::UnrequestedUpgrade.into()),
    }
}

/// Whether the client brings credentials of its own.
fn is_authorized(fields: &HeaderMap) -> bool {
    fields.contains_key(AUTHORIZATION)
}

/// A request upstream without its body.
#[derive(Clone)]
struct Head {
    method: Method,
    target: Uri,
    fields: HeaderMap,
}

impl Head {
    fn with(self, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target;
        *request.headers_mut() = self.fields;
        request
    }
}

/// The body of a request, and whether it can be sent twice.
enum RequestBody {
    Kept(Bytes),
    Streamed(Body),
}

impl RequestBody {
    /// Reads a body that is short and of known length.
    async fn read(mut body: Body) -> Result<Self, Error> {
        if body.is_end_stream() {
            return Ok(Self::Kept(Bytes::new()));
        }
        let Some(length) = body.size_hint().exact().filter(|length| *length <= RESENDABLE) else {
            return Ok(Self::Streamed(body));
        };
        let mut kept = Vec::with_capacity(length as usize);
        while let Some(chunk) = body.chunk().await {
            kept.extend_from_slice(&chunk.map_err(Error::RequestBody)?);
        }
        Ok(Self::Kept(kept.into()))
    }
}

async fn send(state: &State, request: Request<Body>) -> Result<Answer, Error> {
    let carrier = state.client().send(client::request(request)).await;
    Ok(client::answer(carrier.map_err(Error::of_client)?))
}

/// Sends with the device's credentials. They may have been revoked since they were fetched: a 401
/// is answered by other credentials and a second sending, once.
async fn send_as_the_device(state: &State, head: Head, body: Body) -> Result<Answer, Error> {
    let credentials = state.credentials();
    // Until there are credentials nothing is read: a client that waits for `100 Continue` gets it
    // when the body is first asked for.
    let grant = credentials.grant().await?;

    let kept = match RequestBody::read(body).await? {
        RequestBody::Kept(kept) => kept,
        RequestBody::Streamed(body) => {
            let grant = Box::pin(proved(state, grant)).await?;
            let answer = send_with(state, &grant, head, body).await?;
            if is_refused(&answer) {
                credentials.refused(&grant).await;
            }
            return Ok(answer);
        }
    };

    let answer = send_with(state, &grant, head.clone(), Body::text(kept.clone())).await?;
    if !is_refused(&answer) {
        return Ok(answer);
    }
    let Some(other) = credentials.other_than(&grant).await else {
        return Ok(answer);
    };
    Box::pin(discard(answer)).await;
    send_with(state, &other, head, Body::text(kept)).await
}

/// Reads an answer that is not passed on to its end, so that its connection carries the next
/// request. One that is long or slow is dropped, and its connection closed.
async fn discard(answer: Answer) {
    let mut body = answer.response.into_body();
    let mut length = 0;
    let read = async {
        while let Some(Ok(chunk)) = body.chunk().await {
            length += chunk.len();
            if length > LONGEST_DISCARDED {
                break;
            }
        }
    };
    let late = async {
        Timer::after(DISCARDED_WITHIN).await;
    };
    read.or(late).await;
}

/// Credentials that upstream accepted a moment ago, for a body that can be sent only once.
async fn proved(state: &State, grant: Grant) -> Result<Grant, Error> {
    if state.credentials().is_proved(&grant) {
        return Ok(grant);
    }
    let head = Head {
        method: Method::HEAD,
        target: Uri::from(PathAndQuery::from_static(PROOF)),
        fields: HeaderMap::from_iter([(HOST, state.host().clone())]),
    };
    let answer = send_with(state, &grant, head, Body::Empty).await?;
    if !is_refused(&answer) {
        return Ok(grant);
    }
    Ok(state.credentials().other_than(&grant).await.unwrap_or(grant))
}

/// Sends with these credentials, and notes it where upstream accepts them.
async fn send_with(
    state: &State,
    grant: &Grant,
    mut head: Head,
    body: Body,
) -> Result<Answer, Error> {
    head.fields.insert(AUTHORIZATION, grant.value().clone());
    let answer = send(state, head.with(body)).await?;
    // A gateway that is out of order has not looked at them.
    if !is_refused(&answer) && !answer.response.status().is_server_error() {
        state.credentials().accepted(grant);
    }
    Ok(answer)
}

fn is_refused(answer: &Answer) -> bool {
    answer.response.status() == StatusCode::UNAUTHORIZED
}
