//! The server name and the application protocols of a ClientHello.

use super::*;

/// RFC 6066, 3; RFC 7301, 3.1.
pub(super) fn names() -> Vec<Case> {
    let name = |name: &[u8]| {
        let body = server_name(name);
        move |hello: Hello| hello.with(SERVER_NAME, body.clone())
    };
    let protocols = |names: &[&[u8]]| {
        let list: Vec<u8> = names.iter().flat_map(|name| vector(1, name)).collect();
        move |hello: Hello| hello.with(ALPN, vector(2, &list))
    };
    // TLS 1.3 says so under the keys of the handshake: that is among the cases below.
    let none_of_ours = Expected::any(&[NO_APPLICATION_PROTOCOL]);
    [
        twice("no name", GOES_ON, |hello| hello.without(SERVER_NAME)),
        twice("another name", GOES_ON, name(b"elsewhere.example")),
        twice("an empty name", FALSE, name(b"")),
        twice("a name with NUL", FALSE, name(b"local\0host")),
        twice("a name that is no text", FALSE, name(&[0xff, 0xfe])),
        twice("an IPv4 address", OVERLOOKED, name(b"127.0.0.1")),
        twice("an IPv6 address", OVERLOOKED, name(b"::1")),
        twice("a name with a dot behind it", OVERLOOKED, name(b"localhost.")),
        twice("a name of 300 bytes", FALSE, name(&[b'a'; 300])),
        twice("two names", FALSE, |hello| {
            let entry = [&[0], &vector(2, b"localhost")[..]].concat();
            hello.with(SERVER_NAME, vector(2, &[&entry[..], &entry].concat()))
        }),
        twice("a name of an unknown type", GOES_ON.but(ILLEGAL_PARAMETER), |hello| {
            hello.with(SERVER_NAME, vector(2, &[&[9], &vector(2, b"localhost")[..]].concat()))
        }),
        twice("an empty list of names", MALFORMED, |hello| hello.with(SERVER_NAME, vector(2, &[]))),
        twice("no ALPN", GOES_ON, |hello| hello.without(ALPN)),
        old("ALPN of others", none_of_ours, protocols(&[b"h2", b"smtp"])(Hello::tls12())),
        old("ALPN in capitals", none_of_ours, protocols(&[b"HTTP/1.1"])(Hello::tls12())),
        twice("ALPN of others and ours", GOES_ON, protocols(&[b"h2", b"http/1.1"])),
        twice("ALPN without an entry", MALFORMED, protocols(&[])),
        twice("ALPN with an empty entry", FALSE, protocols(&[b"http/1.1", b""])),
        twice("ALPN with an entry that is too long", FALSE, |hello| {
            hello.with(ALPN, vector(2, &[200, b'h', b'2']))
        }),
        twice("ALPN of 16,000 entries", GOES_ON, |hello| {
            let many = [b'\x01', b'x'].repeat(16_000);
            hello.with(ALPN, vector(2, &[&many[..], &vector(1, b"http/1.1")].concat()))
        }),
    ]
    .concat()
}
