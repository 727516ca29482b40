//! The answers that are given before routing: to a request without a valid `Host`, to an
//! unsupported `Expect` or `Transfer-Encoding`, and to plain HTTP on a TLS port, which is redirected
//! to https.
//!
//! Pure functions of a request's head.

use std::ops::ControlFlow::{self, Break, Continue};

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header, request};

use crate::http::Body;
use crate::http::respond::text;

/// The answer to plain HTTP on an HTTPS port: a redirect to the host that the request was sent to.
/// Only a target that is a path is redirected, since any other could lead to another host.
pub(super) fn use_https(head: &request::Parts) -> Response<Body> {
    let is_path = head.uri.authority().is_none() && head.uri.path().starts_with('/');
    closing(match authority(head).flatten() {
        Some(authority) if is_path => to_https(&authority, head),
        _ => text(
            StatusCode::BAD_REQUEST,
            "This port uses HTTPS. Use https://, a path and a Host field.".to_owned(),
        ),
    })
}

/// The host that a request is for, if it names one, or the answer to a request whose `Host` is not
/// valid.
pub(super) fn named_host(head: &request::Parts) -> ControlFlow<Response<Body>, Option<Authority>> {
    authority(head).map_or_else(
        || {
            Break(closing(text(
                StatusCode::BAD_REQUEST,
                "A request needs exactly one Host field, with a valid host.".to_owned(),
            )))
        },
        Continue,
    )
}

/// A response after which the connection is closed.
pub(super) fn closing<B>(mut response: Response<B>) -> Response<B> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The host and port that the request is for. `None`: missing, given twice or malformed.
/// `Some(None)`: absent in HTTP/1.0, where that is allowed, or empty.
fn authority(head: &request::Parts) -> Option<Option<Authority>> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host),
        (None, None) if head.version == Version::HTTP_10 => None,
        _ => return None,
    };
    let named = match host {
        Some(host) if host.is_empty() => None,
        Some(host) => {
            let authority = Authority::try_from(host.as_bytes()).ok()?;
            let has_user = authority.as_str().contains('@');
            let rest = authority.as_str().strip_prefix(authority.host())?;
            let is_port = rest.is_empty() || rest == ":" || authority.port_u16().is_some();
            (!has_user && is_port).then_some(Some(authority))?
        }
        None => None,
    };
    Some(head.uri.authority().cloned().or(named))
}

fn to_https(authority: &Authority, head: &request::Parts) -> Response<Body> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let location = format!("https://{authority}{target}");
    let mut response =
        text(StatusCode::TEMPORARY_REDIRECT, format!("This port uses HTTPS. Use {location}"));
    match HeaderValue::from_str(&location) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

/// The answer to a request when too many others are waiting.
pub(super) fn busy() -> Response<Body> {
    let mut response = closing(text(
        StatusCode::SERVICE_UNAVAILABLE,
        "Too many requests wait for an answer already. Try again in a moment.".to_owned(),
    ));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    response
}

/// The answer to a body in an unsupported coding. A server in front could find another end of it.
pub(super) fn unknown_coding(fields: &HeaderMap) -> Option<Response<Body>> {
    let mut codings = fields.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = codings.next()?.as_bytes().eq_ignore_ascii_case(b"chunked");
    (!is_chunked || codings.next().is_some()).then(|| {
        closing(text(
            StatusCode::NOT_IMPLEMENTED,
            "The only Transfer-Encoding that is supported here is chunked.".to_owned(),
        ))
    })
}

/// The answer to an unsupported `Expect`.
pub(super) fn unmet_expectation(fields: &HeaderMap) -> Option<Response<Body>> {
    let mut expectations = fields.get_all(header::EXPECT).iter();
    expectations.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")).then(|| {
        closing(text(
            StatusCode::EXPECTATION_FAILED,
            "The only expectation that is supported here is 100-continue.".to_owned(),
        ))
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(version: Version, target: &str, hosts: &[&str]) -> request::Parts {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_names_its_host_once() {
        for (version, hosts, accepted) in [
            (Version::HTTP_11, &["a:8000"][..], true),
            (Version::HTTP_11, &["[::1]:8000"], true),
            (Version::HTTP_11, &[""], true),
            (Version::HTTP_11, &[], false),
            (Version::HTTP_11, &["a", "a"], false),
            (Version::HTTP_11, &["a b"], false),
            (Version::HTTP_11, &["a/b"], false),
            (Version::HTTP_11, &["user@a"], false),
            (Version::HTTP_11, &["a:port"], false),
            (Version::HTTP_11, &["a:70000"], false),
            (Version::HTTP_11, &["a:"], true),
            (Version::HTTP_10, &[], true),
            (Version::HTTP_10, &["a", "b"], false),
        ] {
            let head = head(version, "/", hosts);
            assert_eq!(authority(&head).is_some(), accepted, "{version:?} {hosts:?}");
        }
    }

    #[test]
    fn plain_http_is_sent_to_the_same_host_path_and_query() {
        let head = head(Version::HTTP_11, "/a/%2e%2e//b?x=/;y", &["rpi4:8000"]);
        let authority = authority(&head).flatten().unwrap();
        let response = to_https(&authority, &head);
        assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(response.headers()[header::LOCATION], "https://rpi4:8000/a/%2e%2e//b?x=/;y");
    }

    #[test]
    fn plain_http_is_never_sent_to_another_host() {
        for (target, location) in [
            ("//evil/x", Some("https://rpi4:8000//evil/x")),
            ("/@evil", Some("https://rpi4:8000/@evil")),
            ("*", None),
            ("evil:443", None),
            ("http://evil/x", None),
            ("http://rpi4:8000@evil/x", None),
        ] {
            let response = use_https(&head(Version::HTTP_11, target, &["rpi4:8000"]));
            let named = response.headers().get(header::LOCATION);
            assert_eq!(named.map(|it| it.to_str().unwrap()), location, "{target}");
            let expected = if location.is_some() { 307 } else { 400 };
            assert_eq!(response.status(), expected, "{target}");
        }
    }

    #[test]
    fn the_only_coding_is_chunked() {
        for (codings, known) in [
            (&[][..], true),
            (&["chunked"], true),
            (&["Chunked"], true),
            (&["gzip, chunked"], false),
            (&["chunked, chunked"], false),
            (&["gzip", "chunked"], false),
            (&["chunked", "chunked"], false),
            (&["identity"], false),
            (&[""], false),
        ] {
            let mut fields = HeaderMap::new();
            for coding in codings {
                fields.append(header::TRANSFER_ENCODING, HeaderValue::from_static(coding));
            }
            let refusal = unknown_coding(&fields).map(|refusal| refusal.status().as_u16());
            assert_eq!(refusal, (!known).then_some(501), "{codings:?}");
        }
    }

    #[test]
    fn only_100_continue_can_be_expected() {
        let mut fields = HeaderMap::new();
        assert!(unmet_expectation(&fields).is_none());
        fields.append(header::EXPECT, HeaderValue::from_static("100-Continue"));
        assert!(unmet_expectation(&fields).is_none());
        fields.append(header::EXPECT, HeaderValue::from_static("a-pony"));
        let refusal = unmet_expectation(&fields).unwrap();
        assert_eq!(refusal.status(), StatusCode::EXPECTATION_FAILED);
    }
}
