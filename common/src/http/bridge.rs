//! The bridge between hyper, which carries the wire, and tide, which routes.
//!
//! The original head and the body travel as extensions of tide's request and response, untouched:
//! http_types would refuse bytes that are not ASCII, normalise the URL and cut lengths to a
//! `usize`. What tide sees is a method and a URL for routing, no more. This module knows no route
//! and opens no socket.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use ::http::{Method, request};
use bytes::Bytes;
use futures_lite::future::Boxed;
use http_body::{Frame, SizeHint};

use crate::net::Stream;

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};

/// Why a body could not be read to its end.
pub type BodyError = Box<dyn Error + Send + Sync>;

/// A message body under way in either direction, a chunk at a time and never whole in memory.
#[derive(Default)]
pub enum Body {
    /// No content.
    #[default]
    Empty,
    /// A short text that is known whole.
    Text(Bytes),
    /// What yields chunks: a peer, a file, a body in translation.
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
}

impl Body {
    /// A body of this text.
    pub fn text(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        if text.is_empty() { Self::Empty } else { Self::Text(text) }
    }

    /// A body that streams.
    pub fn stream<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Self::Stream(Box::pin(body))
    }

    /// The next bytes, or `None` at the end. Trailer fields are dropped.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let frame =
                std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *self), cx));
            match frame.await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            text @ Self::Text(_) => match std::mem::take(text) {
                Self::Text(text) => Poll::Ready(Some(Ok(Frame::data(text)))),
                _ => Poll::Ready(None),
            },
            Self::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Text(_) => false,
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Text(text) => SizeHint::with_exact(text.len() as u64),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Body::Empty",
            Self::Text(_) => "Body::Text",
            Self::Stream(_) => "Body::Stream",
        })
    }
}

/// What to do with the connection once `101 Switching Protocols` is written.
pub struct Upgrade(Box<dyn FnOnce(Stream) -> Boxed<()> + Send>);

impl Upgrade {
    /// `switch` gets the connection, first the bytes that came early.
    pub fn new<F>(switch: impl FnOnce(Stream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Box::new(|stream| Box::pin(switch(stream))))
    }

    pub(crate) async fn switch(self, stream: Stream) {
        (self.0)(stream).await;
    }
}

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

/// A response on its way through tide, and what follows it on the connection.
struct Answer {
    response: Response<Body>,
    upgrade: Option<Upgrade>,
}

/// What an endpoint reads of a request in place of tide's own accessors.
pub trait Received {
    /// Method, target, version and header fields, byte for byte as they came.
    fn head(&self) -> &request::Parts;

    /// The content, once; empty when asked again.
    fn take_content(&mut self) -> Body;
}

impl<S> Received for tide::Request<S> {
    fn head(&self) -> &request::Parts {
        static NOTHING: std::sync::OnceLock<request::Parts> = std::sync::OnceLock::new();
        self.ext::<request::Parts>()
            .unwrap_or_else(|| NOTHING.get_or_init(|| Request::new(()).into_parts().0))
    }

    fn take_content(&mut self) -> Body {
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

/// Lets the application answer one request. No socket is needed for it.
///
/// The application is expected to have [`crate::http::respond::Respond`] among its middleware, which
/// turns errors and what tide says by itself into an [`answer`]; without it they are bare. Paths
/// below `prefixes` lead to one route each, so that what follows need not be looked at.
pub async fn respond<S>(
    app: &tide::Server<S>,
    prefixes: &'static [&'static str],
    request: Request<Body>,
) -> (Response<Body>, Option<Upgrade>)
where
    S: Clone + Send + Sync + 'static,
{
    let (head, body) = request.into_parts();
    let url = route_url(head.uri.path(), prefixes);
    let mut routed = http_types::Request::new(route_method(&head.method), url);
    routed.ext_mut().insert(head);
    routed.ext_mut().insert(Carried::new(body));

    let routed: http_types::Result<http_types::Response> = app.respond(routed).await;
    let answer = match routed {
        Ok(carrier) => unload(carrier),
        Err(error) => Err(error.status()),
    };
    match answer {
        Ok(Answer { response, upgrade }) => (response, upgrade),
        Err(bare) => {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = status(bare);
            (response, None)
        }
    }
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
    static NOWHERE: std::sync::OnceLock<http_types::Url> = std::sync::OnceLock::new();
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
