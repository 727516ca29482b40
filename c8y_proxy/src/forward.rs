//! A request's way to Cumulocity and back, from top to bottom.
//!
//! It knows neither how a connection is made nor where a token comes from.

use bytes::Bytes;
use common::client::{self, Upgraded};
use common::http::{Body, Received, answer};
use http::header::AUTHORIZATION;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;

use crate::credentials::Grant;
use crate::error::Error;
use crate::{Shared, State, headers, target, upgrade};

/// Every method that Cumulocity knows.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// A body of known length up to this one is kept to be sent a second time.
const RESENDABLE: u64 = 64 * 1024;

/// What every device may ask, to see whether its token is good.
const PROOF: &str = "/tenant/currentTenant";

/// Answers a request for `/c8y` and below.
pub(crate) async fn forward(mut request: tide::Request<State>) -> tide::Result {
    // 1. What is asked has to be something that Cumulocity can be asked.
    let head = request.head();
    if !METHODS.split(", ").any(|method| head.method == method) {
        return Err(Error::Method(METHODS).into());
    }
    let target = target::upstream(&head.uri).ok_or(Error::NotFound)?;
    if target::revokes_the_token(target.path()) {
        return Err(Error::Forbidden.into());
    }

    // 2. The fields cross, but those of this one connection.
    let protocols = headers::upgrade(head);
    let mut question = Question {
        method: head.method.clone(),
        target: Uri::from(target),
        fields: head.headers.clone(),
    };
    let content = request.take_content();
    let state = &request.state().0;
    headers::to_upstream(&mut question.fields, &state.host);
    if let Some(protocols) = protocols.clone() {
        headers::set_upgrade(&mut question.fields, protocols);
    }

    // 3. Credentials: the client's own, and then nothing waits for a token, or the device's.
    let (response, upgraded) = if headers::is_authorized(&question.fields) {
        state.send(question.carrying(content)).await?
    } else {
        state.send_for_the_device(question, content).await?
    };

    // 4. What came goes back, and where upstream switches protocols the connection follows.
    match (upgraded, protocols) {
        (Some(upstream), Some(protocols)) => Ok(upgrade::switch(response, upstream, protocols)),
        (None, _) if response.status() != StatusCode::SWITCHING_PROTOCOLS => {
            Ok(answer(returned(response)))
        }
        _ => Err(Error::Unasked.into()),
    }
}

/// A request upstream without its content.
#[derive(Clone)]
struct Question {
    method: Method,
    target: Uri,
    fields: HeaderMap,
}

impl Question {
    fn carrying(self, content: Body) -> Request<Body> {
        let mut request = Request::new(content);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target;
        *request.headers_mut() = self.fields;
        request
    }

    fn with(mut self, grant: &Grant) -> Self {
        self.fields.insert(AUTHORIZATION, grant.value().clone());
        self
    }
}

/// Content, and whether it can be sent twice.
enum Content {
    Kept(Bytes),
    Once(Body),
}

impl Content {
    /// Reads what is short and of known length.
    async fn read(mut body: Body) -> Result<Self, Error> {
        if body.is_end_stream() {
            return Ok(Self::Kept(Bytes::new()));
        }
        let Some(length) = body.size_hint().exact().filter(|length| *length <= RESENDABLE) else {
            return Ok(Self::Once(body));
        };
        let mut kept = Vec::with_capacity(length as usize);
        while let Some(chunk) = body.chunk().await {
            kept.extend_from_slice(&chunk.map_err(Error::Content)?);
        }
        Ok(Self::Kept(kept.into()))
    }
}

impl Shared {
    async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<(Response<Body>, Option<Upgraded>), Error> {
        let came = self.client.send(client::request(request)).await.map_err(Error::of_client)?;
        Ok(client::response(came))
    }

    /// Sends with the device's credentials, which may have run out unnoticed: then once more
    /// with others.
    async fn send_for_the_device(
        &self,
        question: Question,
        content: Body,
    ) -> Result<(Response<Body>, Option<Upgraded>), Error> {
        // Until there are credentials nothing is read: a client that waits for `100 Continue`
        // gets it when the body is first asked for.
        let grant = self.credentials.grant().await?;

        let kept = match Content::read(content).await? {
            Content::Kept(kept) => kept,
            Content::Once(body) => {
                let grant = Box::pin(self.proved(grant)).await?;
                let came = self.send(question.with(&grant).carrying(body)).await?;
                if !self.is_accepted(&grant, came.0.status()) {
                    self.credentials.refused(&grant);
                }
                return Ok(came);
            }
        };

        let first = question.clone().with(&grant).carrying(Body::text(kept.clone()));
        let came = self.send(first).await?;
        if self.is_accepted(&grant, came.0.status()) {
            return Ok(came);
        }
        let Some(other) = self.credentials.other_than(&grant).await else {
            return Ok(came);
        };
        drop(came);
        let other = other?;
        let came = self.send(question.with(&other).carrying(Body::text(kept))).await?;
        self.is_accepted(&other, came.0.status());
        Ok(came)
    }

    /// Credentials that upstream took a moment ago, for what can be sent only once.
    async fn proved(&self, grant: Grant) -> Result<Grant, Error> {
        if self.credentials.is_proved(&grant) {
            return Ok(grant);
        }
        let question = Question {
            method: Method::HEAD,
            target: Uri::from(PathAndQuery::from_static(PROOF)),
            fields: HeaderMap::from_iter([(http::header::HOST, self.host.clone())]),
        };
        let (response, _) = self.send(question.with(&grant).carrying(Body::Empty)).await?;
        if self.is_accepted(&grant, response.status()) {
            return Ok(grant);
        }
        match self.credentials.other_than(&grant).await {
            Some(other) => Ok(other?),
            None => Ok(grant),
        }
    }

    /// Notes what an answer says of the credentials that were sent.
    fn is_accepted(&self, grant: &Grant, status: StatusCode) -> bool {
        if status == StatusCode::UNAUTHORIZED {
            return false;
        }
        // A gateway that is out of order has not looked at them.
        if !status.is_server_error() {
            self.credentials.accepted(grant);
        }
        true
    }
}

/// Upstream's answer as it is given to the client: framing is this connection's own affair.
fn returned(mut response: Response<Body>) -> Response<Body> {
    headers::to_client(response.headers_mut());
    *response.version_mut() = Version::HTTP_11;
    response
}
