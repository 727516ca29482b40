//! The bridge between hyper, which reads and writes HTTP, tide, which routes, and surf, which sends
//! requests upstream.
//!
//! The original head and body are extensions of the messages of http_types, unchanged: http_types
//! would refuse bytes that are not ASCII, normalise the URL and reduce lengths to a `usize`. tide
//! sees only a method and a URL for routing. Only this file and [`crate::client`] know http_types.

use std::cell::{Cell, RefCell};
use std::sync::{Mutex, OnceLock};

use ::http::{Method, Request, Response, StatusCode, request};

use super::answer::{Answer, Upgrade};
use super::body::Body;

/// The original message, as it rides in the extensions of http_types' own.
///
/// Extensions have to be `Sync` and bodies are not, hence the lock. It is never contended.
pub(crate) struct Carried<T>(Mutex<Option<T>>);

impl<T> Carried<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(Some(value)))
    }

    pub(crate) fn take(&mut self) -> Option<T> {
        self.0.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}

thread_local! {
    /// A response that has been unloaded. To make one, with its channels for trailer fields, costs
    /// more than all else that is done with it.
    static SPARE: Cell<Option<http_types::Response>> = const { Cell::new(None) };
}

/// A response of http_types' that carries this.
pub(crate) fn load<T: Send + 'static>(value: T) -> http_types::Response {
    let mut carrier =
        SPARE.take().unwrap_or_else(|| http_types::Response::new(http_types::StatusCode::Ok));
    carrier.ext_mut().insert(Carried::new(value));
    carrier
}

/// What was loaded, or the status of a response that carries nothing.
pub(crate) fn unload<T: Send + 'static>(
    mut carrier: http_types::Response,
) -> Result<T, http_types::StatusCode> {
    let status = carrier.status();
    let carried = carrier.ext_mut().remove::<Carried<T>>();
    let value = carried.and_then(|mut carried| carried.take()).ok_or(status)?;
    SPARE.set(Some(carrier));
    Ok(value)
}

/// What an endpoint reads of a request in place of tide's own accessors.
pub trait Received {
    /// Method, target, version and header fields, byte for byte as they came.
    fn head(&self) -> &request::Parts;

    /// The body, once; empty when asked again.
    fn take_request_body(&mut self) -> Body;
}

impl<S> Received for tide::Request<S> {
    fn head(&self) -> &request::Parts {
        static NOTHING: OnceLock<request::Parts> = OnceLock::new();
        self.ext::<request::Parts>()
            .unwrap_or_else(|| NOTHING.get_or_init(|| Request::new(()).into_parts().0))
    }

    fn take_request_body(&mut self) -> Body {
        self.ext_mut::<Carried<Body>>().and_then(Carried::take).unwrap_or_default()
    }
}

/// The answer of an endpoint, as tide passes it on.
pub fn answer(response: Response<Body>) -> tide::Response {
    load(Answer { response, upgrade: None }).into()
}

/// The answer `101 Switching Protocols`, and what the connection is used for from then on.
pub fn answer_with_upgrade(response: Response<Body>, upgrade: Upgrade) -> tide::Response {
    load(Answer { response, upgrade: Some(upgrade) }).into()
}

/// tide's own status, of an answer that no endpoint of ours gave.
pub(crate) fn status(carrier: tide::StatusCode) -> StatusCode {
    StatusCode::from_u16(carrier.into()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Whether an endpoint of ours gave this answer, rather than tide.
pub(crate) fn is_answered(carrier: &tide::Response) -> bool {
    carrier.ext::<Carried<Answer>>().is_some()
}

/// Has the application answer a request.
pub(super) async fn respond<S>(
    app: &tide::Server<S>,
    prefixes: &'static [&'static str],
    request: Request<Body>,
) -> Answer
where
    S: Clone + Send + Sync + 'static,
{
    let (head, body) = request.into_parts();
    let url = route_url(head.uri.path(), prefixes);
    let mut carrier = http_types::Request::new(route_method(&head.method), url);
    carrier.ext_mut().insert(head);
    carrier.ext_mut().insert(Carried::new(body));

    let responded: http_types::Result<http_types::Response> = app.respond(carrier).await;
    let answer = match responded {
        Ok(carrier) => unload(carrier),
        Err(error) => Err(error.status()),
    };
    answer.unwrap_or_else(|bare| {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = status(bare);
        Answer { response, upgrade: None }
    })
}

/// http_types' methods are a closed list. What is not among those that a route may name goes to
/// the route's fallback, which reads the real method from the head.
fn route_method(method: &Method) -> http_types::Method {
    match method.as_str() {
        "GET" => http_types::Method::Get,
        "HEAD" => http_types::Method::Head,
        "POST" => http_types::Method::Post,
        "PUT" => http_types::Method::Put,
        "PATCH" => http_types::Method::Patch,
        "DELETE" => http_types::Method::Delete,
        "OPTIONS" => http_types::Method::Options,
        _ => http_types::Method::Trace,
    }
}

const ORIGIN: &str = "http://service";

/// A URL for routing alone. Segments that a URL parser would resolve are masked, so that the
/// route is the one that was written; the endpoint reads the target from the head.
fn route_url(path: &str, prefixes: &'static [&'static str]) -> http_types::Url {
    let is_below = |prefix: &&&str| path.len() > prefix.len() && path.starts_with(**prefix);
    if let Some(url) = prefixes.iter().find(is_below).and_then(|prefix| url_below(prefix)) {
        return url;
    }
    let mut url = String::with_capacity(ORIGIN.len() + path.len() + 1);
    url.push_str(ORIGIN);
    for segment in path.split('/').skip(usize::from(path.starts_with('/'))) {
        url.push('/');
        url.push_str(if is_dot_segment(segment) { "-" } else { segment });
    }
    http_types::Url::parse(&url).unwrap_or_else(|_| fallback_url())
}

/// Parsed once for as long as the prefix stays the same.
fn url_below(prefix: &'static str) -> Option<http_types::Url> {
    thread_local! {
        static LAST: RefCell<Option<(&'static str, http_types::Url)>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| {
        if last.as_ref().is_none_or(|(parsed, _)| *parsed != prefix) {
            let url = http_types::Url::parse(&format!("{ORIGIN}{prefix}-")).ok()?;
            *last = Some((prefix, url));
        }
        last.as_ref().map(|(_, url)| url.clone())
    })
}

fn fallback_url() -> http_types::Url {
    static NOWHERE: OnceLock<http_types::Url> = OnceLock::new();
    #[expect(clippy::unwrap_used, reason = "a constant that parses")]
    NOWHERE.get_or_init(|| http_types::Url::parse("http://service/").unwrap()).clone()
}

/// `.`, `..` and their percent-encoded forms.
fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment;
    for _ in 0..2 {
        rest = match rest.as_bytes() {
            [b'.', ..] => &rest[1..],
            [b'%', b'2', b'e' | b'E', ..] => &rest[3..],
            _ => break,
        };
    }
    rest.is_empty() && !segment.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_by_the_path_as_it_was_written() {
        for (path, routed) in [
            ("/a/b", "/a/b"),
            ("/a/../b", "/a/-/b"),
            ("/a/%2e%2E/b", "/a/-/b"),
            ("/a/.%2e", "/a/-"),
            ("/a//b", "/a//b"),
            ("/a/...", "/a/..."),
            ("/a/.b", "/a/.b"),
            ("*", "/*"),
            ("", "/"),
        ] {
            assert_eq!(route_url(path, &[]).path(), routed, "{path}");
        }
    }

    #[test]
    fn what_follows_a_prefix_does_not_matter() {
        const PREFIXES: &[&str] = &["/a/", "/b/c/"];
        for (path, routed) in [
            ("/a/b", "/a/-"),
            ("/a/../b?c", "/a/-"),
            ("/b/c/d/e", "/b/c/-"),
            ("/a/", "/a/"),
            ("/a", "/a"),
            ("/b/d", "/b/d"),
        ] {
            assert_eq!(route_url(path, PREFIXES).path(), routed, "{path}");
        }
    }

    #[test]
    fn an_unknown_method_is_no_panic() {
        let method = Method::from_bytes(b"get").unwrap();
        assert_eq!(route_method(&method), http_types::Method::Trace);
    }
}
