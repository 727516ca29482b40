//! Which web pages may send requests, and under which host names: a page in a browser on the device
//! or in its network acts with the rights of the browser's user.
//!
//! Checked before routing, by header fields that only browsers send and by `Host`. A request
//! without these fields whose `Host` is an address or one of our names is never refused.

mod own_names;

use std::net::IpAddr;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request};

use super::refusals::closing;
use crate::http::Body;
use crate::http::respond::text;
use crate::journal;
use crate::net::Host;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Local domains, in which nobody can register a name (RFC 6762, RFC 8375, ICANN's .internal).
const LOCAL_DOMAINS: &[&str] = &["localhost", "local", "lan", "home.arpa", "internal"];

/// Which web pages may send requests, and which host names are ours.
#[derive(Debug)]
pub struct BrowserRules {
    /// The prefix of the settings' keys.
    prefix: &'static str,
    /// Other names that are ours; `*.` and a domain, or `*` for all.
    hosts: Vec<String>,
    /// The origins of other sites whose pages may send requests.
    origins: Vec<String>,
    /// The last `Host` that was accepted, since most requests have the same.
    last: Mutex<Vec<u8>>,
}

impl BrowserRules {
    /// The rules, extended by the settings `PREFIX.allowed_hosts` and `PREFIX.allowed_origins`.
    /// `client_host` is the host at which clients reach the service.
    pub fn new(
        prefix: &'static str,
        client_host: &Host,
        allowed_hosts: &[String],
        allowed_origins: &[String],
    ) -> Self {
        let mut hosts = allowed_hosts.to_vec();
        hosts.push(client_host.bare().to_ascii_lowercase());
        hosts.extend(own_names::read());
        Self { prefix, hosts, origins: allowed_origins.to_vec(), last: Mutex::default() }
    }

    /// Whether a request needs no further check: it names the last accepted host, and has none of
    /// the fields that can cause a refusal. One pass over its fields costs a fifth of looking up
    /// each of these.
    pub(super) fn is_usual(&self, head: &request::Parts) -> bool {
        static UNUSUAL: [HeaderName; 5] = [
            header::ORIGIN,
            SEC_FETCH_SITE,
            header::EXPECT,
            header::TRANSFER_ENCODING,
            header::UPGRADE,
        ];
        let last = self.last();
        let mut hosts = 0;
        let is_usual = |(name, value): (&HeaderName, &HeaderValue)| {
            if *name == header::HOST {
                hosts += 1;
                return *last == value.as_bytes();
            }
            !UNUSUAL.contains(name)
        };
        head.uri.authority().is_none() && head.headers.iter().all(is_usual) && hosts == 1
    }

    /// Whether answers depend on the page that sends the request.
    pub(super) fn share_with_pages(&self) -> bool {
        !self.origins.is_empty()
    }

    fn remember(&self, head: &request::Parts) {
        const LONGEST: usize = 255;
        let host = head.headers.get(header::HOST).map(HeaderValue::as_bytes);
        if let (Some(host), None) = (host.filter(|it| it.len() <= LONGEST), head.uri.authority()) {
            *self.last() = host.to_vec();
        }
    }

    fn last(&self) -> MutexGuard<'_, Vec<u8>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The foreign origin whose pages may read the answer, if any; or the answer to a request that
    /// must not reach a route.
    ///
    /// `named` is the host that the request names. `is_certified` says whether the server's
    /// certificate is valid for a name; `None` means that clients have certificates, and then no
    /// name is refused. `is_secure`: the request came over TLS.
    pub(super) fn judge(
        &self,
        head: &request::Parts,
        named: Option<&Authority>,
        is_secure: bool,
        is_certified: Option<&dyn Fn(&str) -> bool>,
    ) -> ControlFlow<Response<Body>, Option<HeaderValue>> {
        let origin = head.headers.get(header::ORIGIN);
        let allowed = origin.filter(|origin| self.is_allowed(origin));
        if allowed.is_none() && is_of_another_site(&head.headers, named, is_secure) {
            return Break(self.refuse_page(origin));
        }
        if let Some(named) = named {
            let host = named.host().to_ascii_lowercase();
            let host = host.strip_suffix('.').unwrap_or(&host);
            if self.is_ours(host) {
                self.remember(head);
            } else if is_certified.is_some_and(|is_certified| !is_certified(host)) {
                return Break(self.refuse_name(host));
            }
        }
        let is_preflight = head.method == Method::OPTIONS
            && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        match allowed {
            Some(origin) if is_preflight => Break(preflight(&head.headers, origin)),
            allowed => Continue(allowed.cloned()),
        }
    }

    fn is_allowed(&self, origin: &HeaderValue) -> bool {
        let is_same = |allowed: &String| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes());
        self.origins.iter().any(is_same)
    }

    fn is_ours(&self, host: &str) -> bool {
        is_address(host)
            || !host.contains('.')
            || LOCAL_DOMAINS.iter().any(|domain| is_below(host, domain))
            || self.hosts.iter().any(|pattern| matches(host, pattern))
    }

    fn refuse_page(&self, origin: Option<&HeaderValue>) -> Response<Body> {
        let origin = origin.and_then(|origin| origin.to_str().ok()).unwrap_or("another site");
        let key = format!("{}.allowed_origins", self.prefix);
        journal::complain(&format!("a page of another site was refused, see {key}"), &origin);
        let mut response = closing(text(
            StatusCode::FORBIDDEN,
            format!(
                "This service does not answer web pages of other sites. To allow a \
                 site, add it to {key}."
            ),
        ));
        if !self.share_with_pages() {
            vary(&mut response);
        }
        response
    }

    fn refuse_name(&self, host: &str) -> Response<Body> {
        let key = format!("{}.allowed_hosts", self.prefix);
        journal::complain(&format!("is not a name of this service, see {key}"), &host);
        closing(text(
            StatusCode::MISDIRECTED_REQUEST,
            format!("This is not {host}. To allow this host name, add it to {key}."),
        ))
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

fn matches(host: &str, pattern: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => is_below(host, domain),
        None => pattern == "*" || host == pattern,
    }
}

/// Whether a page of another site has sent this request. Most browsers state this; the others send
/// `Origin`.
fn is_of_another_site(fields: &HeaderMap, named: Option<&Authority>, is_secure: bool) -> bool {
    let mut sites = fields.get_all(SEC_FETCH_SITE).iter().peekable();
    if sites.peek().is_some() {
        return sites.any(|site| {
            let site = site.as_bytes().trim_ascii();
            site.eq_ignore_ascii_case(b"cross-site") || site.eq_ignore_ascii_case(b"same-site")
        });
    }
    fields.get_all(header::ORIGIN).iter().any(|origin| !is_origin_of(origin, named, is_secure))
}

/// Whether an origin has the host and port that the request is for. The default port is that of the
/// origin's scheme. An https page may be ours although the request came without TLS, since a TLS
/// proxy may be in front of us. An http page is foreign to a request over TLS, as it is for
/// browsers.
fn is_origin_of(origin: &HeaderValue, named: Option<&Authority>, is_secure: bool) -> bool {
    let Some((scheme, rest)) = origin.to_str().ok().and_then(|text| text.split_once("://")) else {
        return false;
    };
    let has_tls = scheme.eq_ignore_ascii_case("https");
    if is_secure && !has_tls {
        return false;
    }
    let default = if has_tls { 443 } else { 80 };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    match (Authority::try_from(rest), named) {
        // An origin has no user (RFC 6454, 7): `evil.example@host` is not one of ours.
        (Ok(origin), Some(named)) if !rest.contains('@') => {
            origin.host().eq_ignore_ascii_case(named.host()) && port(&origin) == port(named)
        }
        _ => false,
    }
}

/// An IP address, also in the forms that browsers accept: `127.1`, `0x7f000001`. A name cannot end
/// in a number (WHATWG URL, "ends in a number").
fn is_address(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    host.starts_with('[')
        || host.parse::<IpAddr>().is_ok()
        || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
        || last.strip_prefix("0x").is_some_and(is_number)
}

/// The answer to a browser's preflight request for a page of an allowed origin.
fn preflight(fields: &HeaderMap, origin: &HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    for (asked, granted) in [
        (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
        (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
    ] {
        if let Some(asked) = fields.get(asked) {
            response.headers_mut().insert(granted, asked.clone());
        }
    }
    let age = HeaderValue::from_static("600");
    response.headers_mut().insert(header::ACCESS_CONTROL_MAX_AGE, age);
    let also = "Access-Control-Request-Method, Access-Control-Request-Headers";
    response.headers_mut().insert(header::VARY, HeaderValue::from_static(also));
    share(&mut response, origin.clone());
    response
}

/// Lets a page of this origin read the answer.
pub(super) fn share<B>(response: &mut Response<B>, origin: HeaderValue) {
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
}

/// Tells caches that the answer depends on the origin.
pub(super) fn vary<B>(response: &mut Response<B>) {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests;
