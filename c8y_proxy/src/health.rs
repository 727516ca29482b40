//! `/health`: whether the service is up, and the state of the token and of the broker.

use common::http::{Answer, Body, Request};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::error::Error;
use crate::state::State;

pub(crate) async fn health(state: State, request: Box<Request<Body>>) -> Result<Answer, Error> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Error::Method("GET, HEAD"));
    }
    let (token, broker) = state.upstream().credentials().health();
    let (status, word) = if state.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "down")
    } else {
        (StatusCode::OK, "up")
    };
    let cache = match state.cache() {
        Some(cache) => {
            let (entries, bytes) = cache.totals().await;
            let error = if cache.has_failed() {
                r#","error":"nothing can be written to it: see the log""#
            } else {
                ""
            };
            format!(r#","cache":{{"entries":{entries},"bytes":{bytes}{error}}}"#)
        }
        None if state.lacks_cache() => {
            r#","cache":{"entries":0,"bytes":0,"error":"its directory cannot be used"}"#.to_owned()
        }
        None => String::new(),
    };
    let text = format!(r#"{{"status":"{word}","token":"{token}","broker":"{broker}"{cache}}}"#);
    let mut response = Response::new(Body::text(text));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response.into())
}
