//! Which requests the cache answers, and the name of the entry that answers one.

use common::settings::items;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, COOKIE, HeaderMap, HeaderName, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderValue, Method};
use ring::digest::{SHA256, digest};

use crate::access::is_override;
use crate::upstream::{Head, is_authorized};

/// A request with one of these fields, or one that names a method, has another answer than a
/// request without.
const OTHERS: [HeaderName; 4] = [COOKIE, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];

/// The paths whose answers are cached.
pub(super) struct Paths(Vec<String>);

#[derive(Clone, Debug)]
pub(super) struct EntryKey {
    pub(super) path: String,
    /// The scheme, host and path. The entry contains them.
    pub(super) url: String,
    /// The name of its file, in hexadecimal.
    pub(super) name: u128,
    /// [`Credentials::user_changes`](crate::credentials::Credentials::user_changes) at that time.
    pub(super) user_changes: u64,
}

/// Why a request is passed on without the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bypass {
    /// Its method is neither GET nor HEAD.
    Method,
    /// Its path or its query is not cached.
    Path,
    /// Its fields prevent it.
    Request,
}

impl Paths {
    /// The paths of Cumulocity's binaries, and the given ones.
    pub(super) fn new(more: &[String]) -> Self {
        let mut paths = more.to_vec();
        paths.push("/inventory/binaries/*".to_owned());
        paths.push("/event/events/*/binaries".to_owned());
        Self(paths)
    }

    /// Whether the request may be answered from the cache.
    pub(super) fn check(&self, head: &Head) -> Result<(), Bypass> {
        let path = head.target.path();
        if !self.have(path) || head.target.query().is_some() || !is_plain(path) {
            return Err(Bypass::Path);
        }
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Err(Bypass::Method);
        }
        let fields = &head.fields;
        let is_other = is_authorized(fields)
            || fields.keys().any(|name| OTHERS.contains(name) || is_override(name))
            || says(fields, &["no-store"]);
        if is_other {
            return Err(Bypass::Request);
        }
        Ok(())
    }

    /// Whether the answers of this path are cached.
    pub(super) fn have(&self, path: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, path))
    }
}

impl EntryKey {
    /// The key of this path for this user. Without a user name, it is for the user of the token.
    pub(super) fn new(
        host: &HeaderValue,
        user: Option<&[u8]>,
        user_changes: u64,
        path: &str,
    ) -> Self {
        let host = String::from_utf8_lossy(host.as_bytes());
        let url = format!("https://{host}{path}");
        let mut named = url.clone().into_bytes();
        if let Some(user) = user {
            named.push(b'\n');
            named.extend_from_slice(user);
        }
        let mut name = [0; 16];
        name.copy_from_slice(&digest(&SHA256, &named).as_ref()[..16]);
        let name = u128::from_be_bytes(name);
        Self { path: path.to_owned(), url, name, user_changes }
    }

    /// The managed object that describes a binary of the inventory.
    pub(super) fn object(&self) -> Option<String> {
        let id = self.path.strip_prefix("/inventory/binaries/")?;
        (!id.contains('/')).then(|| format!("/inventory/managedObjects/{id}"))
    }
}

/// Whether `Cache-Control` contains one of these directives, also if its syntax is wrong.
pub(super) fn says(fields: &HeaderMap, directives: &[&str]) -> bool {
    let is_between = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"-_".contains(byte);
    let values = fields.get_all(CACHE_CONTROL).into_iter();
    values.flat_map(|value| value.as_bytes().split(is_between)).any(|token| {
        directives.iter().any(|directive| token.eq_ignore_ascii_case(directive.as_bytes()))
    })
}

/// The members of a list, in lower case.
pub(super) fn members(fields: &HeaderMap, name: HeaderName) -> Vec<String> {
    let mut members = Vec::new();
    for value in fields.get_all(name) {
        let list = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        for member in items(&list) {
            members.push(member.to_owned());
        }
    }
    members
}

/// Whether every server reads the path in the same way: it contains nothing to decode or resolve.
fn is_plain(path: &str) -> bool {
    let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes().all(is_kept)
        && path.split('/').skip(1).all(|part| !part.is_empty() && !part.bytes().all(|b| b == b'.'))
}

/// Whether a pattern matches: `*` is any part, and a slash at its end means everything below.
fn matches(pattern: &str, path: &str) -> bool {
    // Most paths are others, which the first byte that differs shows.
    let is_same = |(a, b): &(u8, u8)| a == b && *a != b'*';
    let same = pattern.bytes().zip(path.bytes()).take_while(is_same).count();
    if pattern.as_bytes().get(same).is_some_and(|byte| *byte != b'*') {
        return false;
    }
    let (mut patterns, mut parts) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), parts.next()) {
            (Some(""), Some(part)) if !part.is_empty() => return true,
            (Some(pattern), Some(part)) if pattern == "*" || pattern == part => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(method: Method, target: &str, fields: &[(&str, &str)]) -> Result<(), Bypass> {
        let paths = Paths::new(&["/service/firmware/".to_owned(), "/a/*/c".to_owned()]);
        let mut head = Head { method, target: target.parse().unwrap(), fields: HeaderMap::new() };
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            head.fields.insert(name, value.parse().unwrap());
        }
        paths.check(&head)
    }

    #[test]
    fn binaries_and_the_paths_of_the_setting_are_kept() {
        for path in [
            "/inventory/binaries/1",
            "/event/events/12/binaries",
            "/service/firmware/a",
            "/service/firmware/a/b",
            "/a/b/c",
        ] {
            assert!(key(Method::GET, path, &[]).is_ok(), "{path}");
            assert_eq!(key(Method::PUT, path, &[]).unwrap_err(), Bypass::Method, "{path}");
        }
        for path in [
            "/",
            "/inventory/binaries",
            "/inventory/binaries/",
            "/inventory/binaries/1/",
            "/inventory/binaries/1/2",
            "/inventory/binaries/1?a=b",
            "/inventory/binaries/%31",
            "/inventory//binaries/1",
            "/inventory/./binaries/1",
            "/inventory/binaries/..",
            "/inventory/binaries/1;v=1",
            "/event/events/12/binaries/1",
            "/service/firmware",
            "/service/firmware/",
            "/service/firmware/../a",
            "/a/b/d",
            "/a/b",
        ] {
            assert_eq!(key(Method::GET, path, &[]).unwrap_err(), Bypass::Path, "{path}");
        }
    }

    #[test]
    fn what_a_client_adds_of_its_own_is_not_answered_from_the_cache() {
        for field in [
            ("authorization", "Basic eA=="),
            ("cookie", "a=b"),
            ("x-http-method", "DELETE"),
            ("x_http_method", "DELETE"),
            ("cache-control", "no-cache, No-Store"),
            ("content-length", "3"),
        ] {
            let refused = key(Method::GET, "/inventory/binaries/1", &[field]);
            assert_eq!(refused.unwrap_err(), Bypass::Request, "{field:?}");
        }
        for field in [("cache-control", "no-cache"), ("range", "bytes=1-"), ("accept", "*/*")] {
            assert!(key(Method::HEAD, "/inventory/binaries/1", &[field]).is_ok(), "{field:?}");
        }
    }

    #[test]
    fn an_entry_is_for_one_path_of_one_host_and_for_one_user() {
        let name = |host, user: Option<&str>, path| {
            EntryKey::new(&HeaderValue::from_static(host), user.map(str::as_bytes), 0, path).name
        };
        let of = name("a", None, "/b");
        assert_eq!(of, name("a", None, "/b"));
        let by = name("a", Some("t1/u"), "/b");
        assert_eq!(by, name("a", Some("t1/u"), "/b"));
        let others =
            [name("b", None, "/b"), name("a", None, "/c"), by, name("a", Some("t2/u"), "/b")];
        assert!(!others.contains(&of) && others[3] != by);
    }
}
