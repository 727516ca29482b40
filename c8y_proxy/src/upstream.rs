//! Sends requests to Cumulocity, with the client's own credentials or the device's.
//!
//! It does not know how a connection is made or where credentials come from.

use std::mem;
use std::time::Duration;

use async_io::Timer;
use common::client::{self, Answer};
use common::http::Body;
use common::http::crossing::has;
use futures_lite::FutureExt;
use http::header::{AUTHORIZATION, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body::Body as _;

use crate::credentials::{Credentials, Grant};
use crate::error::Error;

/// A body of known length up to this size is kept, so that it can be sent a second time.
const RESENDABLE: u64 = 64 * 1024;

/// If a request is sent again after a 401, the body of the 401 is read up to this length and for
/// this long.
const LONGEST_DISCARDED: usize = 16 * 1024;
const DISCARDED_WITHIN: Duration = Duration::from_millis(100);

/// A path that every device may request, to check whether its token is good.
const PROOF: &str = "/tenant/currentTenant";

/// Cumulocity: a client that connects to it, the value of the field `Host`, and the device's
/// credentials.
pub(crate) struct Upstream {
    host: HeaderValue,
    client: surf::Client,
    credentials: Credentials,
}

impl Upstream {
    pub(crate) fn new(host: HeaderValue, client: surf::Client, credentials: Credentials) -> Self {
        Self { host, client, credentials }
    }

    pub(crate) fn host(&self) -> &HeaderValue {
        &self.host
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Sends a request with the given credentials.
    pub(crate) async fn send(&self, request: Box<Request<Body>>) -> Result<Answer, Error> {
        client::send(&self.client, request).await.map_err(Error::of_client)
    }

    /// Sends with the device's credentials. They may have been revoked since they were fetched:
    /// after a 401, the request is sent once more with other credentials.
    pub(crate) async fn send_as_the_device(
        &self,
        mut request: Box<Request<Body>>,
    ) -> Result<Answer, Error> {
        let credentials = &self.credentials;
        // Nothing is read until there are credentials: a client that waits for `100 Continue` gets
        // it when the body is first read.
        let mut grant = credentials.grant().await?;
        if !is_kept(request.body_mut()).await? {
            grant = Box::pin(self.proved(grant)).await?;
        }
        let mut answer = self.send_with(&grant, request).await?;
        let copy = answer.copy.take();
        if !is_refused(&answer) {
            return Ok(answer);
        }
        let Some(copy) = copy else {
            credentials.refused(&grant).await;
            return Ok(answer);
        };
        Box::pin(self.send_again(&grant, answer, copy)).await
    }

    /// Sends a request that was refused once more, if there are other credentials.
    async fn send_again(
        &self,
        refused: &Grant,
        answer: Answer,
        request: Box<Request<Body>>,
    ) -> Result<Answer, Error> {
        let Some(other) = self.credentials.other_than(refused).await else {
            return Ok(answer);
        };
        discard(answer).await;
        self.send_with(&other, request).await
    }

    /// Credentials that upstream accepted a moment ago, for a body that can be sent only once.
    async fn proved(&self, grant: Grant) -> Result<Grant, Error> {
        if self.credentials.is_proved(&grant) {
            return Ok(grant);
        }
        let head = Head {
            method: Method::HEAD,
            target: Uri::from(PathAndQuery::from_static(PROOF)),
            fields: HeaderMap::from_iter([(HOST, self.host.clone())]),
        };
        let answer = self.send_with(&grant, head.with(Body::Empty)).await?;
        if !is_refused(&answer) {
            return Ok(grant);
        }
        Ok(self.credentials.other_than(&grant).await.unwrap_or(grant))
    }

    /// Sends with these credentials, and records if upstream accepts them.
    async fn send_with(
        &self,
        grant: &Grant,
        mut request: Box<Request<Body>>,
    ) -> Result<Answer, Error> {
        request.headers_mut().insert(AUTHORIZATION, grant.value().clone());
        let answer = self.send(request).await?;
        // A gateway that fails has not checked them.
        if !is_refused(&answer) && !answer.response.status().is_server_error() {
            self.credentials.accepted(grant);
        }
        Ok(answer)
    }
}

/// A request upstream without its body.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) target: Uri,
    pub(crate) fields: HeaderMap,
}

impl Head {
    /// Takes the head out of a request.
    pub(crate) fn take(request: &mut Request<Body>) -> Self {
        Self {
            method: mem::take(request.method_mut()),
            target: mem::take(request.uri_mut()),
            fields: mem::take(request.headers_mut()),
        }
    }

    /// Puts it into a request.
    pub(crate) fn put(self, request: &mut Request<Body>) {
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target;
        *request.headers_mut() = self.fields;
    }

    pub(crate) fn with(self, body: Body) -> Box<Request<Body>> {
        let mut request = Box::new(Request::new(body));
        self.put(&mut request);
        request
    }
}

/// Reads a short body of known length, so that it can be sent twice. False: it is not short.
async fn is_kept(body: &mut Body) -> Result<bool, Error> {
    if body.is_end_stream() {
        *body = Body::Empty;
        return Ok(true);
    }
    let Some(length) = body.size_hint().exact().filter(|length| *length <= RESENDABLE) else {
        return Ok(false);
    };
    let mut kept = Vec::with_capacity(length as usize);
    while let Some(chunk) = body.chunk().await {
        kept.extend_from_slice(&chunk.map_err(Error::RequestBody)?);
    }
    *body = Body::text(kept);
    Ok(true)
}

/// Reads an answer that is not passed on to its end, so that its connection can be used again. If
/// the answer is long or slow, it is dropped and its connection closed.
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

fn is_refused(answer: &Answer) -> bool {
    answer.response.status() == StatusCode::UNAUTHORIZED
}

/// Whether the client sends its own credentials.
pub(crate) fn is_authorized(fields: &HeaderMap) -> bool {
    has(fields, &AUTHORIZATION)
}
