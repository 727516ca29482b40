//! The bridge between hyper, which reads and writes HTTP, tide, which routes, and surf, which sends
//! requests upstream.
//!
//! The original message travels unchanged in the extensions of the http_types message, since
//! http_types would refuse bytes that are not ASCII, normalise the URL and reduce lengths to a
//! `usize`. tide sees only a method and a URL for routing. Only this file and [`crate::client`]
//! know http_types.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::{Method, Request, StatusCode};
use http_types::Extensions;

use super::answer::Answer;
use super::body::Body;

/// The original message in the extensions of an http_types message, or `None` after it was taken
/// out.
///
/// Extensions have to be `Sync` and bodies are not, hence the lock. It is never contended.
struct Carried<T>(Mutex<Option<T>>);

impl<T> Carried<T> {
    fn get_mut(&mut self) -> &mut Option<T> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    /// Spare http_types messages. Making one, with its channels for trailer fields, costs more than
    /// all other work with it.
    static REQUEST: Cell<Option<http_types::Request>> = const { Cell::new(None) };
    static RESPONSE: Cell<Option<http_types::Response>> = const { Cell::new(None) };
}

fn put<T: Send + 'static>(extensions: &mut Extensions, value: T) {
    match extensions.get_mut::<Carried<T>>() {
        Some(carried) => *carried.get_mut() = Some(value),
        None => drop(extensions.insert(Carried(Mutex::new(Some(value))))),
    }
}

fn take<T: Send + 'static>(extensions: &mut Extensions) -> Option<T> {
    extensions.get_mut::<Carried<T>>()?.get_mut().take()
}

/// A request of http_types that carries nothing yet.
fn carrier() -> http_types::Request {
    let new = || http_types::Request::new(http_types::Method::Get, nowhere());
    REQUEST.take().unwrap_or_else(new)
}

/// A request for surf, which makes an http_types request of it that carries it. The method and URL
/// of that one are placeholders.
pub(crate) struct Outgoing(pub(crate) Box<Request<Body>>);

impl From<Outgoing> for surf::Request {
    fn from(Outgoing(request): Outgoing) -> Self {
        let mut carrier = carrier();
        put(carrier.ext_mut(), request);
        carrier.into()
    }
}

/// The request that it carries, if any.
pub(crate) fn unload_request(mut carrier: http_types::Request) -> Option<Box<Request<Body>>> {
    let request = take(carrier.ext_mut())?;
    REQUEST.with(|spare| drop(spare.replace(Some(carrier))));
    Some(request)
}

pub(crate) fn load<T: Send + 'static>(value: T) -> http_types::Response {
    let mut carrier =
        RESPONSE.take().unwrap_or_else(|| http_types::Response::new(http_types::StatusCode::Ok));
    put(carrier.ext_mut(), value);
    carrier
}

/// The response that it carries, or its own status if it carries none.
pub(crate) fn unload<T: Send + 'static>(
    mut carrier: http_types::Response,
) -> Result<T, http_types::StatusCode> {
    let value = take(carrier.ext_mut()).ok_or_else(|| carrier.status())?;
    RESPONSE.with(|spare| drop(spare.replace(Some(carrier))));
    Ok(value)
}

/// A request for tide, which makes an http_types request of it that carries it.
struct Incoming {
    request: Box<Request<Body>>,
    prefixes: &'static [&'static str],
}

impl From<Incoming> for http_types::Request {
    fn from(Incoming { request, prefixes }: Incoming) -> Self {
        let mut carrier = carrier();
        carrier.set_method(route_method(request.method()));
        set_route(carrier.url_mut(), request.uri().path(), prefixes);
        put(carrier.ext_mut(), request);
        carrier
    }
}

/// The answer of an endpoint, or tide's own status.
struct Responded(Result<Answer, http_types::StatusCode>);

impl From<http_types::Response> for Responded {
    fn from(carrier: http_types::Response) -> Self {
        Self(unload(carrier))
    }
}

/// Lets the application answer a request. `unrouted` has the answers with tide's own statuses.
pub(super) async fn respond<S>(
    app: Arc<tide::Server<S>>,
    prefixes: &'static [&'static str],
    request: Box<Request<Body>>,
    unrouted: fn(StatusCode) -> Answer,
) -> Answer
where
    S: Clone + Send + Sync + 'static,
{
    let answered = match app.respond(Incoming { request, prefixes }).await {
        Ok(Responded(answered)) => answered,
        Err(error) => Err(error.status()),
    };
    answered.unwrap_or_else(|bare| {
        let status = StatusCode::from_u16(bare.into());
        unrouted(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
    })
}

/// http_types has a closed list of methods. A request with any other method goes to the route's
/// fallback, which reads the real method from the head.
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

/// The route of all paths below a prefix, see [`super::Routes::new`]. No other path leads there. It
/// is short, since a route costs 152 bytes per character and method.
pub const BELOW: &str = "/+";

/// Builds the URL that tide routes by; the endpoint reads the target from the original request.
fn set_route(url: &mut http_types::Url, path: &str, prefixes: &[&str]) {
    let is_below = |prefix: &&str| path.len() > prefix.len() && path.starts_with(*prefix);
    *url = if !prefixes.iter().any(is_below) {
        route(&masked(path))
    } else if url.path() == BELOW {
        // Usually the route of the previous request.
        return;
    } else {
        route(BELOW)
    };
}

/// The URL with a path in which no segment is special. Only a URL of a file is made from a path
/// without the parser of URLs, which is 40 KB of program.
fn route(path: &str) -> http_types::Url {
    let url = if path.ends_with('/') {
        http_types::Url::from_directory_path(path)
    } else {
        http_types::Url::from_file_path(path)
    };
    url.unwrap_or_else(|()| nowhere())
}

/// The path without segments that the path of a file would lose, so that the route is the one that
/// was written, and without [`BELOW`].
fn masked(path: &str) -> String {
    let mut masked = String::with_capacity(path.len() + 1);
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        masked.push('/');
        masked.push_str(match segment {
            "" if segments.peek().is_none() => "",
            "" | "." | ".." | "+" => "-",
            _ => segment,
        });
    }
    masked
}

#[expect(clippy::unwrap_used, reason = "an absolute path")]
fn nowhere() -> http_types::Url {
    http_types::Url::from_file_path("/").unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_by_the_path_as_it_was_written() {
        for (path, routed) in [
            ("/a/b", "/a/b"),
            ("/a/../b", "/a/-/b"),
            ("/a/%2e%2E/b", "/a/%252e%252E/b"),
            ("/a/.%2e", "/a/.%252e"),
            ("/a//b", "/a/-/b"),
            ("//a", "/-/a"),
            ("//", "/-/"),
            ("/a/...", "/a/..."),
            ("/a/.b", "/a/.b"),
            ("*", "/*"),
            ("", "/"),
        ] {
            let mut url = nowhere();
            set_route(&mut url, path, &[]);
            assert_eq!(url.path(), routed, "{path}");
        }
    }

    #[test]
    fn what_follows_a_prefix_does_not_matter() {
        const PREFIXES: &[&str] = &["/a/", "/b/c/"];
        let mut url = nowhere();
        for (path, routed) in [
            ("/a/b", BELOW),
            ("/a/../b?c", BELOW),
            ("/b/c/d/e", BELOW),
            ("/a/", "/a/"),
            ("/a", "/a"),
            ("/b/d", "/b/d"),
            (BELOW, "/-"),
            ("/x/..\\+", "/x/..%5C+"),
            ("/./+", "/-/-"),
            ("/%2B", "/%252B"),
        ] {
            set_route(&mut url, path, PREFIXES);
            assert_eq!(url.path(), routed, "{path}");
        }
    }

    #[test]
    fn an_unknown_method_is_no_panic() {
        let method = Method::from_bytes(b"get").unwrap();
        assert_eq!(route_method(&method), http_types::Method::Trace);
    }
}
