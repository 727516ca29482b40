//! Turns errors into responses, in this place only.
//!
//! Handlers return typed errors and never build an error page. tide's own 404 and 405 also get
//! their text here. The errors of the services are known only as [`Failure`].

use std::pin::Pin;

use futures_lite::future::Boxed;
use http::{HeaderValue, Request, Response, StatusCode, header};

use super::{Answer, Body, bridge};

/// An error that can be reported to a client.
///
/// With a 4xx, its `Display` is the body of the response. With a 5xx, the body is
/// [`Failure::public`], and the log gets the whole chain of causes.
pub trait Failure: std::error::Error + 'static {
    /// The status of the response.
    fn status(&self) -> StatusCode;

    /// Header fields that belong to the status: `Allow` to 405, `Content-Range` to 416.
    fn fields(&self, _fields: &mut http::HeaderMap) {}

    /// The body of a 5xx.
    fn public(&self) -> Option<String> {
        None
    }
}

/// An endpoint of any handler. tide is compiled anew for each type of endpoint, 2 KB every time.
pub struct Endpoint<S>(Box<dyn Handler<S>>);

trait Handler<S>: Fn(S, Box<Request<Body>>) -> Boxed<tide::Result> + Send + Sync {}

impl<S, F: Fn(S, Box<Request<Body>>) -> Boxed<tide::Result> + Send + Sync> Handler<S> for F {}

/// The endpoint with the answers of `handler`. It gets its state, and the request byte for byte as
/// it arrived. tide gets a response to an error, not the error: one of tide's links the printer of
/// backtraces.
pub fn endpoint<S, E, F>(
    handler: impl Fn(S, Box<Request<Body>>) -> F + Copy + Send + Sync + 'static,
) -> Endpoint<S>
where
    S: Send + 'static,
    E: Failure,
    F: Future<Output = Result<Answer, E>> + Send + 'static,
{
    Endpoint(Box::new(move |state, request| {
        // Called in the box: to move the future of a handler there is to copy 2 KB.
        Box::pin(async move {
            let answered = handler(state, request).await;
            let answer = answered.unwrap_or_else(|failure| error_response(&failure).into());
            Ok(bridge::load(answer).into())
        })
    }))
}

impl<S: Clone + Send + Sync + 'static> tide::Endpoint<S> for Endpoint<S> {
    // As `async_trait` has it, but for a second box.
    fn call<'a, 'b>(
        &'a self,
        request: tide::Request<S>,
    ) -> Pin<Box<dyn Future<Output = tide::Result> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let state = request.state().clone();
        (self.0)(state, bridge::unload_request(request.into()).unwrap_or_default())
    }
}

/// The response to an error. The log gets the causes of a 5xx.
pub fn error_response(failure: &impl Failure) -> Response<Body> {
    let status = failure.status();
    let mut response = if !status.is_server_error() {
        text(status, failure.to_string())
    } else {
        crate::journal::fail(&crate::error::chain(failure));
        text(status, failure.public().unwrap_or_else(|| "Internal error".to_owned()))
    };
    failure.fields(response.headers_mut());
    response
}

/// The response where tide answers by itself: 404 and 405.
pub(super) fn unrouted(status: StatusCode) -> Answer {
    let reason = status.canonical_reason().unwrap_or("Error");
    text(status, reason.to_owned()).into()
}

/// A response with one line of text for a person, or without a body.
pub fn text(status: StatusCode, mut sentence: String) -> Response<Body> {
    if !sentence.is_empty() {
        sentence.push('\n');
    }
    let mut response = Response::new(Body::text(sentence));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
