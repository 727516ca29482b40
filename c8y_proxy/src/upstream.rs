//! Sends requests to Cumulocity, with the client's own credentials or the device's.
//!
//! It does not know how a connection is made or where credentials come from.

use std::time::Duration;

use async_io::Timer;
use bytes::Bytes;
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
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Answer, Error> {
        client::send(&self.client, request).await.map_err(Error::of_client)
    }

    /// Sends with the device's credentials. They may have been revoked since they were fetched:
    /// after a 401, the request is sent once more with other credentials.
    pub(crate) async fn send_as_the_device(&self, head: Head, body: Body) -> Result<Answer, Error> {
        let credentials = &self.credentials;
        // Nothing is read until there are credentials: a client that waits for `100 Continue` gets
        // it when the body is first read.
        let grant = credentials.grant().await?;

        let kept = match RequestBody::read(body).await? {
            RequestBody::Kept(kept) => kept,
            RequestBody::Streamed(body) => {
                let grant = Box::pin(self.proved(grant)).await?;
                let answer = self.send_with(&grant, head, body).await?;
                if is_refused(&answer) {
                    credentials.refused(&grant).await;
                }
                return Ok(answer);
            }
        };

        let answer = self.send_with(&grant, head.clone(), Body::text(kept.clone())).await?;
        if !is_refused(&answer) {
            return Ok(answer);
        }
        let Some(other) = credentials.other_than(&grant).await else {
            return Ok(answer);
        };
        Box::pin(discard(answer)).await;
        self.send_with(&other, head, Body::text(kept)).await
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
        let answer = self.send_with(&grant, head, Body::Empty).await?;
        if !is_refused(&answer) {
            return Ok(grant);
        }
        Ok(self.credentials.other_than(&grant).await.unwrap_or(grant))
    }

    /// Sends with these credentials, and records if upstream accepts them.
    async fn send_with(&self, grant: &Grant, mut head: Head, body: Body) -> Result<Answer, Error> {
        head.fields.insert(AUTHORIZATION, grant.value().clone());
        let answer = self.send(head.with(body)).await?;
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
    pub(crate) fn with(self, body: Body) -> Request<Body> {
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
    /// Reads a short body of known length.
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
