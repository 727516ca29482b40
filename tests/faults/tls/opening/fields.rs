//! The fields of a ClientHello before its extensions.

use super::*;

/// RFC 8446, 4.1.2; RFC 5246, 7.4.1.2.
pub(super) fn fields() -> Vec<Case> {
    let version = |version| move |hello| Hello { version, ..hello };
    let suites = |suites: &[u16]| {
        let suites = suites.to_vec();
        move |hello| Hello { suites: suites.clone(), ..hello }
    };
    let compressions = |compressions: &[u8]| {
        let compressions = compressions.to_vec();
        move |hello| Hello { compressions: compressions.clone(), ..hello }
    };
    let greased = |mut hello: Hello| {
        hello.suites.insert(0, 0x0a0a);
        hello.extensions.get_or_insert_default().insert(0, (0x1a1a, vec![]));
        hello
            .with(GROUPS, vector(2, &[0x2a, 0x2a, 0, 0x1d, 0, 0x17]))
            .with(SIGNATURES, vector(2, &[0x3a, 0x3a, 4, 3, 8, 4, 4, 1]))
            .with(ALPN, vector(2, &[vector(1, &[0x4a, 0x4a]), vector(1, b"http/1.1")].concat()))
            .and(0x5a5a, [0])
    };
    [
        twice("as it should be", GOES_ON, |hello| hello),
        // Of TLS 1.3 this field says nothing; in TLS 1.2 it is what is asked for.
        new("legacy version 3.0", GOES_ON, version(0x0300)(Hello::tls13())),
        new("legacy version 3.4", GOES_ON, version(0x0304)(Hello::tls13())),
        new("legacy version 3.5", GOES_ON, version(0x0305)(Hello::tls13())),
        twice("legacy version 3.3", GOES_ON, version(0x0303)),
        ["0000", "0200", "0300", "0301", "0302"]
            .into_iter()
            .flat_map(|digits| {
                let number = u16::from_str_radix(digits, 16).unwrap();
                let hello = version(number)(Hello::tls12());
                old(&format!("version {digits}"), TOO_OLD, hello)
            })
            .collect(),
        old("version 0305", GOES_ON, version(0x0305)(Hello::tls12())),
        old("version 7f7f", GOES_ON, version(0x7f7f)(Hello::tls12())),
        twice("no session", GOES_ON, |hello| Hello { session: vec![], ..hello }),
        twice("a session of 33 bytes", MALFORMED, |hello| Hello { session: vec![1; 33], ..hello }),
        twice("a session of 255 bytes", FALSE, |hello| Hello { session: vec![1; 255], ..hello }),
        twice("no suites", FALSE, suites(&[])),
        twice("unknown suites", NOTHING_IN_COMMON, suites(&[0xfefe, 0x0a0a])),
        twice("null and export suites", NOTHING_IN_COMMON, suites(&[0, 1, 3, 8, 0x11])),
        twice("RC4, 3DES and CBC", NOTHING_IN_COMMON, suites(&[4, 5, 10, 0x2f, 0xc009, 0xc013])),
        twice("suites of signalling", NOTHING_IN_COMMON, suites(&[0x00ff, 0x5600])),
        old("suites of 1.3 alone", NOTHING_IN_COMMON, suites(&[0x1301])(Hello::tls12())),
        new("suites of 1.2 alone", NOTHING_IN_COMMON, suites(&[0xc02b])(Hello::tls13())),
        twice("32,000 unknown suites before a good one", GOES_ON, |hello| {
            let many = std::iter::repeat_n(0xfe00, 32_000);
            Hello { suites: many.chain(hello.suites.clone()).collect(), ..hello }
        }),
        twice("no compressions", FALSE, compressions(&[])),
        twice("deflate without null", ILLEGAL, compressions(&[1])),
        twice("unknown compressions without null", ILLEGAL, compressions(&[2, 64, 255])),
        new("deflate and null", ILLEGAL, compressions(&[1, 0])(Hello::tls13())),
        old("deflate and null", GOES_ON, compressions(&[1, 0])(Hello::tls12())),
        twice("GREASE", GOES_ON, greased),
    ]
    .concat()
}
