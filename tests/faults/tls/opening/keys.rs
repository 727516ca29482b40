//! What keys are agreed on: versions, groups, signatures, key shares, tickets.

use super::*;

/// RFC 8446, 4.2.1, 4.2.3 and 4.2.7 to 4.2.11; RFC 8422, 5.
pub(super) fn keys() -> Vec<Case> {
    // TLS 1.3 complains of signatures under the keys of the handshake: that is among the cases below.
    let shares = |shares: &[(u16, &[u8])]| {
        let list: Vec<u8> = shares.iter().flat_map(|(group, key)| share(*group, key)).collect();
        Hello::tls13().with(KEY_SHARE, vector(2, &list))
    };
    let versions = |list: &[u8]| Hello::tls13().with(VERSIONS, vector(1, list));
    let off_curve = |at: usize| {
        let mut point = p256();
        point[at] ^= 1;
        point
    };
    let ticket = |identities: &[u8], binders: &[u8]| {
        Hello::tls13().and(PRE_SHARED_KEY, [vector(2, identities), vector(2, binders)].concat())
    };
    let identity = [&vector(2, &[0x77; 200])[..], &[0; 4]].concat();
    let binder = vector(1, &[0x66; 32]);
    [
        twice("unknown groups", NOTHING_IN_COMMON, |hello| {
            hello.without(KEY_SHARE).with(GROUPS, vector(2, &[0xfe, 0xfe]))
        }),
        twice("no groups in the list", FALSE, |hello| hello.with(GROUPS, vector(2, &[]))),
        twice("half a group", FALSE, |hello| hello.with(GROUPS, vector(2, &[0, 0x1d, 0]))),
        new("no groups", MISSING, Hello::tls13().without(GROUPS)),
        old(
            "unknown signatures",
            NOTHING_IN_COMMON,
            Hello::tls12().with(SIGNATURES, vector(2, &[0xfe, 0xfe])),
        ),
        old(
            "signatures for another key",
            NOTHING_IN_COMMON,
            Hello::tls12().with(SIGNATURES, vector(2, &[8, 4, 4, 1])),
        ),
        old(
            "signatures with MD5 and SHA-1",
            NOTHING_IN_COMMON,
            Hello::tls12().with(SIGNATURES, vector(2, &[1, 1, 1, 3, 2, 1, 2, 3])),
        ),
        twice("no signatures in the list", FALSE, |hello| hello.with(SIGNATURES, vector(2, &[]))),
        twice("half a signature", FALSE, |hello| hello.with(SIGNATURES, vector(2, &[4, 3, 8]))),
        twice("30,000 signatures", GOES_ON, |hello| {
            hello.with(SIGNATURES, vector(2, &[[4, 3]; 30_000].concat()))
        }),
        new("no signatures", MISSING, Hello::tls13().without(SIGNATURES)),
        old("no signatures, so SHA-1", NOTHING_IN_COMMON, Hello::tls12().without(SIGNATURES)),
        old(
            "compressed points alone",
            ILLEGAL,
            Hello::tls12().with(POINT_FORMATS, vector(1, &[1, 2])),
        ),
        new("no key share", MISSING, Hello::tls13().without(KEY_SHARE)),
        new("an empty list of key shares", Expected::any(&[Verdict::Retry]), shares(&[])),
        new(
            "a key share of P-256",
            GOES_ON,
            shares(&[(P256, &p256())]).with(GROUPS, vector(2, &[0, 0x17])),
        ),
        new(
            "a key share of an unknown group and ours",
            GOES_ON,
            shares(&[(0x2a2a, &[0]), (X25519, &x25519())]),
        ),
        // RFC 8446, 4.2.8: a server may look for this.
        new(
            "a key share of a group that is not offered",
            Expected::any(&[ILLEGAL_PARAMETER, Verdict::Retry]),
            shares(&[(0x18, &[4; 97])]),
        ),
        new(
            "two key shares of one group",
            ILLEGAL,
            shares(&[(X25519, &x25519()), (X25519, &x25519())]),
        ),
        new("an empty key share", FALSE, shares(&[(X25519, &[])])),
        new("X25519 with 31 bytes", ILLEGAL, shares(&[(X25519, &[9; 31])])),
        new("X25519 with 33 bytes", ILLEGAL, shares(&[(X25519, &[9; 33])])),
        new("X25519 of all zeros", ILLEGAL, shares(&[(X25519, &[0; 32])])),
        new("X25519 of order 1", ILLEGAL, shares(&[(X25519, &[&[1][..], &[0; 31]].concat())])),
        new(
            "P-256 off the curve in x",
            ILLEGAL,
            shares(&[(P256, &off_curve(32))]).with(GROUPS, vector(2, &[0, 0x17])),
        ),
        new(
            "P-256 off the curve in y",
            ILLEGAL,
            shares(&[(P256, &off_curve(64))]).with(GROUPS, vector(2, &[0, 0x17])),
        ),
        new(
            "P-256 compressed",
            ILLEGAL,
            shares(&[(P256, &[&[3], &p256()[1..33]].concat())]).with(GROUPS, vector(2, &[0, 0x17])),
        ),
        new(
            "P-256 at infinity",
            ILLEGAL,
            shares(&[(P256, &[0])]).with(GROUPS, vector(2, &[0, 0x17])),
        ),
        new(
            "P-256 of all zeros",
            ILLEGAL,
            shares(&[(P256, &[&[4][..], &[0; 64]].concat())]).with(GROUPS, vector(2, &[0, 0x17])),
        ),
        new("no versions in the list", FALSE, versions(&[])),
        new("half a version", FALSE, versions(&[3, 4, 3])),
        new("versions that are old", TOO_OLD, versions(&[3, 2, 3, 1, 3, 0])),
        new("versions that are unknown", TOO_OLD, versions(&[0x7f, 0x1c, 0x5a, 0x5a, 3, 5])),
        new("versions that are unknown, and 1.3", GOES_ON, versions(&[0x5a, 0x5a, 3, 5, 3, 4])),
        new("version 1.2 before 1.3", GOES_ON, versions(&[3, 3, 3, 4])),
        new("no modes of keys", GOES_ON, Hello::tls13().without(KEY_MODES)),
        new("a cookie that nobody gave", GOES_ON, Hello::tls13().with(COOKIE, vector(2, &[1; 8]))),
        new("early data without a key", GOES_ON, Hello::tls13().with(EARLY_DATA, [])),
        new("a ticket that nobody gave", GOES_ON, ticket(&identity, &binder)),
        new(
            "100 tickets that nobody gave",
            GOES_ON,
            ticket(&identity.repeat(100), &binder.repeat(100)),
        ),
        new("a ticket without a binder", FALSE, ticket(&identity, &[])),
        new("two tickets and one binder", FALSE, ticket(&identity.repeat(2), &binder)),
        new(
            "a binder of 31 bytes",
            FALSE.but(Verdict::Hello),
            ticket(&identity, &vector(1, &[6; 31])),
        ),
        new(
            "a ticket without modes of keys",
            Expected::any(&[MISSING_EXTENSION]),
            ticket(&identity, &binder).without(KEY_MODES),
        ),
        new("a ticket that is not the last", ILLEGAL, ticket(&identity, &binder).and(0x6000, [])),
        old(
            "renegotiation of nothing",
            NOTHING_IN_COMMON.but(Verdict::Hello),
            Hello::tls12().with(RENEGOTIATION, vector(1, &[1; 12])),
        ),
    ]
    .concat()
}
