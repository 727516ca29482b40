//! Which header fields a service passes on between a client and an upstream server, in both
//! directions. Pure: it knows no connection, no token and no framework.
//!
//! All fields are passed on unchanged, except those that belong to one connection (RFC 9110,
//! 7.6.1).

use ::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE,
};
use ::http::{HeaderMap, HeaderName, HeaderValue, Version};

/// Whether a field belongs to one connection even if `Connection` does not name it: those of RFC
/// 9110, 7.6.1, the credentials for a proxy (11.7), and the announcement of trailer fields, which
/// are dropped. `Transfer-Encoding` is handled separately, since it determines the length of a
/// request.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "upgrade"
    )
}

/// Turns the client's fields into those of the upstream request.
///
/// `Content-Length` and `Transfer-Encoding` stay, so the body has the same framing, and a request
/// without a body is sent without one. `Expect` is answered by us.
pub fn to_upstream(fields: &mut HeaderMap, host: &HeaderValue) {
    remove_named(fields);
    remove_all(fields, |name| is_hop_by_hop(name) || name == EXPECT);
    if has(fields, &TRANSFER_ENCODING) {
        fields.remove(CONTENT_LENGTH);
    }
    fields.insert(HOST, host.clone());
}

/// Turns upstream's fields into those of the answer to the client.
pub fn to_client(fields: &mut HeaderMap) {
    remove_named(fields);
    remove_all(fields, is_hop_by_hop);
    if has(fields, &TRANSFER_ENCODING) {
        fields.remove(TRANSFER_ENCODING);
        fields.remove(CONTENT_LENGTH);
    }
}

/// The protocols to which a request asks to switch, as it spells them (RFC 9110, 7.8). Without h2c,
/// which is HTTP/2 without TLS (RFC 7540, 3.2): the upstream connection uses TLS.
pub fn upgrade(version: Version, fields: &HeaderMap) -> Option<HeaderValue> {
    if version < Version::HTTP_11 || !has(fields, &UPGRADE) {
        return None;
    }
    if !members(fields, CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade")) {
        return None;
    }
    let protocols = members(fields, UPGRADE);
    let passed = protocols.filter(|protocol| !protocol.eq_ignore_ascii_case(b"h2c"));
    let list = passed.collect::<Vec<_>>().join(&b", "[..]);
    HeaderValue::from_bytes(&list).ok().filter(|list| !list.is_empty())
}

/// Requests or confirms the switch in these fields.
pub fn set_upgrade(fields: &mut HeaderMap, protocols: HeaderValue) {
    fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(UPGRADE, protocols);
}

/// Removes the fields for which this is true. One pass over all names is cheaper than a look-up of
/// each name.
fn remove_all(fields: &mut HeaderMap, is_unwanted: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = fields.keys().find(|name| is_unwanted(name)).cloned() {
        fields.remove(name);
    }
}

/// Removes the fields that `Connection` names, except those that say where a body ends, who sends
/// the request and to which host. Without them, the request would have another meaning upstream.
/// `keep-alive`, the most common option, is always removed.
fn remove_named(fields: &mut HeaderMap) {
    if !has(fields, &CONNECTION) {
        return;
    }
    let named: Vec<HeaderName> = members(fields, CONNECTION)
        .filter(|option| !option.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| ![AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING].contains(name))
        .collect();
    for name in named {
        fields.remove(name);
    }
}

/// Whether there is a field of this name. In a message of usual length, comparing all names is
/// faster than the hash of one.
pub fn has(fields: &HeaderMap, name: &HeaderName) -> bool {
    fields.keys().any(|key| key == name)
}

/// The members of a list, of all fields of this name (RFC 9110, 5.3 and 5.6.1).
pub fn members(fields: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let values = fields.get_all(name).into_iter();
    let members = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::header::TE;
    use proptest::prelude::*;

    type Lines<'a> = &'a [(&'a str, &'a [u8])];

    fn fields(lines: Lines<'_>) -> HeaderMap {
        let line = |(name, value): &(&str, &[u8])| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value).unwrap())
        };
        let mut fields = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            fields.append(name, value);
        }
        fields
    }

    fn names(fields: &HeaderMap) -> Vec<String> {
        let mut names: Vec<_> = fields.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn removes_what_belongs_to_one_connection() {
        for (came, upstream, back) in [
            (&[("keep-alive", &b"timeout=5"[..])][..], &["host"][..], &[][..]),
            (&[("proxy-connection", b"keep-alive")], &["host"], &[]),
            (&[("te", b"trailers")], &["host"], &[]),
            (&[("upgrade", b"h2c")], &["host"], &[]),
            (&[("connection", b"close")], &["host"], &[]),
            (&[("connection", b"X-A , x-b"), ("x-a", b"1"), ("x-b", b"2")], &["host"], &[]),
            (
                &[("connection", b"close"), ("connection", b"x-a"), ("x-a", b"1"), ("x-a", b"2")],
                &["host"],
                &[],
            ),
            (&[("connection", b"not a name, ,;,"), ("x-a", b"1")], &["host", "x-a"], &["x-a"]),
            (&[("connection", b"host"), ("host", b"evil")], &["host"], &[]),
            (&[("expect", b"100-continue")], &["host"], &["expect"]),
            (
                &[("connection", b"content-length"), ("content-length", b"3")],
                &["content-length", "host"],
                &["content-length"],
            ),
            (
                &[("connection", b"x-a, Authorization"), ("authorization", b"x"), ("x-a", b"1")],
                &["authorization", "host"],
                &["authorization"],
            ),
            (
                &[("connection", b"authorization, close"), ("connection", b"AUTHORIZATION")],
                &["host"],
                &[],
            ),
            (&[("transfer-encoding", b"chunked")], &["host", "transfer-encoding"], &[]),
            (
                &[("transfer-encoding", b"chunked"), ("content-length", b"3")],
                &["host", "transfer-encoding"],
                &[],
            ),
            (&[("trailer", b"x-sum")], &["host"], &[]),
            (&[("proxy-authorization", b"Basic eA==")], &["host"], &[]),
            (&[("proxy-authenticate", b"Basic")], &["host"], &[]),
        ] {
            let mut request = fields(came);
            to_upstream(&mut request, &HeaderValue::from_static("tenant.example"));
            assert_eq!(names(&request), upstream, "{came:?}");
            assert_eq!(request[HOST], "tenant.example");

            let mut response = fields(came);
            response.remove(HOST);
            to_client(&mut response);
            assert_eq!(names(&response), back, "{came:?}");
        }
    }

    #[test]
    fn an_upgrade_is_one_that_connection_names_in_http_1_1() {
        let cases: [(Lines<'_>, Version, Option<&str>); 7] = [
            (
                &[("connection", b"keep-alive, Upgrade"), ("upgrade", b"websocket")],
                Version::HTTP_11,
                Some("websocket"),
            ),
            (
                &[("connection", b"upgrade"), ("upgrade", b"a"), ("upgrade", b"b/1")],
                Version::HTTP_11,
                Some("a, b/1"),
            ),
            (&[("upgrade", b"websocket")], Version::HTTP_11, None),
            (&[("connection", b"upgrade"), ("upgrade", b"H2C")], Version::HTTP_11, None),
            (
                &[("connection", b"upgrade"), ("upgrade", b"h2c, websocket")],
                Version::HTTP_11,
                Some("websocket"),
            ),
            (&[("connection", b"upgrade")], Version::HTTP_11, None),
            (&[("connection", b"upgrade"), ("upgrade", b"websocket")], Version::HTTP_10, None),
        ];
        for (lines, version, protocols) in cases {
            let asked = upgrade(version, &fields(lines));
            assert_eq!(asked.as_ref().map(|v| v.to_str().unwrap()), protocols);
        }
    }

    fn any_field() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
        let value = prop::collection::vec(prop_oneof![0x20..0x7fu8, 0x80..=0xffu8], 0..20);
        ("(x-[a-z]{1,3}|connection|te|authorization|content-length|user-agent)", value).prop_map(
            |(name, value)| (name.parse().unwrap(), HeaderValue::from_bytes(&value).unwrap()),
        )
    }

    proptest! {
        #[test]
        fn what_crosses_crosses_byte_for_byte_and_nothing_is_added(
            lines in prop::collection::vec(any_field(), 0..20)
        ) {
            let mut came = HeaderMap::new();
            for (name, value) in lines {
                came.append(name, value);
            }
            let mut sent = came.clone();
            to_upstream(&mut sent, &HeaderValue::from_static("h"));
            prop_assert!(!sent.contains_key(CONNECTION) && !sent.contains_key(TE));
            for name in sent.keys().filter(|name| **name != HOST) {
                prop_assert!(sent.get_all(name).iter().eq(came.get_all(name).iter()));
            }
            let named = members(&came, CONNECTION).map(<[u8]>::to_ascii_lowercase);
            let named: Vec<_> = named.collect();
            for name in came.keys() {
                let kept = sent.contains_key(name);
                let dropped = is_hop_by_hop(name)
                    || named.contains(&name.as_str().as_bytes().to_vec());
                prop_assert!(kept || dropped, "{name} is lost");
            }
        }
    }
}
