//! Answers the requests of each route: parses the request, decides, and answers.

use std::time::SystemTime;

use common::http::conditions::{Preconditions, Selection};
use common::http::respond::error_response;
use common::http::{Answer, Body, HeaderValue, Request, Response, StatusCode, header};
use common::net::Arrival;
use common::storage::Reader;
use http::{Method, request};

use crate::State;
use crate::conditions::{etag, modified, select};
use crate::error::Error;
use crate::path::FilePath;
use crate::storage::{Sum, Version};

/// The maximum number of header fields of a download, with those that hyper adds.
const FIELDS: usize = 9;

/// GET and HEAD of a file.
pub(crate) async fn download(state: State, request: Box<Request<Body>>) -> Result<Answer, Error> {
    let (head, _body) = request.into_parts();
    let path = FilePath::parse(head.uri.path())?;
    let opened = state.storage.open_file(&path).await?;
    Ok(respond(opened, path, &head)?.into())
}

/// Like [`download`]; `None` if that would wait for the disk.
pub(crate) fn download_cached(
    state: &State,
    head: &request::Parts,
    arrival: Arrival,
) -> Option<Response<Body>> {
    let path = FilePath::parse(head.uri.path()).ok()?;
    let opened = state.storage.open_file_cached(&path, arrival)?;
    let response = opened.and_then(|opened| respond(opened, path, head));
    Some(response.unwrap_or_else(|error| error_response(&error)))
}

/// The response to a GET or HEAD: the validators, and the requested part of the file.
fn respond(
    (mut reader, version): (Reader, Version),
    path: FilePath,
    head: &request::Parts,
) -> Result<Response<Body>, Error> {
    let is_get = head.method == Method::GET;
    let mut response = Response::new(Body::Empty);
    let fields = response.headers_mut();
    fields.reserve(FIELDS);
    let tag = ascii(etag(&version));
    fields.insert(header::ETAG, tag.clone());
    let now = SystemTime::now();
    // Never in the future (RFC 9110, section 8.8.2.1): the clock may have been wrong when the file
    // was written.
    let date = httpdate::fmt_http_date(modified(&version).min(now));
    fields.insert(header::LAST_MODIFIED, ascii(date));
    let status = match select(&head.headers, is_get, &version, tag.as_bytes(), now) {
        Selection::Failed => return Err(Error::Precondition(path)),
        Selection::Unsatisfiable => return Err(Error::Range { length: version.length }),
        Selection::NotModified => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        Selection::Whole => StatusCode::OK,
        Selection::Part(first, last) => {
            let range = format!("bytes {first}-{last}/{}", version.length);
            fields.insert(header::CONTENT_RANGE, ascii(range));
            reader.select(first, last);
            StatusCode::PARTIAL_CONTENT
        }
    };
    fields.insert(header::CONTENT_LENGTH, reader.remaining().into());
    for (name, value) in [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::ACCEPT_RANGES, "bytes"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    *response.status_mut() = status;
    if is_get {
        *response.body_mut() = Body::file(reader);
    }
    Ok(response)
}

/// PUT of a file.
pub(crate) async fn upload(state: State, request: Box<Request<Body>>) -> Result<Answer, Error> {
    let (head, content) = request.into_parts();
    let path = FilePath::parse(head.uri.path())?;
    let version = crate::upload::receive(&state.storage, path, &head, content).await?;

    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(header::ETAG, ascii(etag(&version)));
    Ok(response.into())
}

pub(crate) async fn delete(state: State, request: Box<Request<Body>>) -> Result<Answer, Error> {
    let path = FilePath::parse(request.uri().path())?;
    let preconditions = Preconditions::of(request.headers());
    state.storage.remove(path, preconditions).await?;

    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response.into())
}

/// Any other method on a file.
pub(crate) async fn refuse(_: State, request: Box<Request<Body>>) -> Result<Answer, Error> {
    FilePath::parse(request.uri().path())?;
    Err(Error::Method("GET, HEAD, PUT, DELETE"))
}

/// The state of the service, for monitoring.
pub(crate) async fn health(state: State, request: Box<Request<Body>>) -> Result<Answer, Error> {
    let is_up = !state.is_draining() && state.storage.is_available().await;
    let (status, text) = match (is_up, state.storage.usage()) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"down"}"#.to_owned()),
        (true, None) => (StatusCode::OK, r#"{"status":"up"}"#.to_owned()),
        (true, Some((Sum { files, bytes }, limit))) => {
            let usage = format!(r#""files":{files},"bytes":{bytes},"limit":{limit}"#);
            (StatusCode::OK, format!(r#"{{"status":"up",{usage}}}"#))
        }
    };
    let length = text.len();
    let is_head = request.method() == Method::HEAD;
    let mut response = Response::new(if is_head { Body::Empty } else { Body::text(text) });
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(header::CONTENT_LENGTH, length.into());
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response.into())
}

/// Any other method on `/health`.
pub(crate) async fn refuse_health(_: State, _: Box<Request<Body>>) -> Result<Answer, Error> {
    Err(Error::Method("GET, HEAD"))
}

/// A header value of visible ASCII characters.
#[expect(clippy::unwrap_used, reason = "visible ASCII is a value")]
fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap()
}
