//! Extensions as such: none, many, unknown, twice, empty, too long.

use super::*;

/// RFC 8446, 4.2; RFC 5246, 7.4.1.4.
pub(super) fn extensions() -> Vec<Case> {
    let unknown = |count: u16, size: usize| {
        move |mut hello: Hello| {
            for number in 0..count {
                hello = hello.and(0x6000 + number, vec![0; size]);
            }
            hello
        }
    };
    let mut cases = [
        new(
            "none at all",
            Expected::any(&[PROTOCOL_VERSION, MISSING_EXTENSION, HANDSHAKE_FAILURE]),
            Hello { extensions: None, ..Hello::tls13() },
        ),
        old(
            "none at all, so SHA-1",
            NOTHING_IN_COMMON,
            Hello { extensions: None, ..Hello::tls12() },
        ),
        old(
            "an empty list of them, so SHA-1",
            NOTHING_IN_COMMON,
            Hello { extensions: Some(vec![]), ..Hello::tls12() },
        ),
        twice("an unknown one", GOES_ON, unknown(1, 10)),
        twice("2,000 unknown ones", GOES_ON, unknown(2_000, 8)),
        twice("13,000 unknown ones", GOES_ON, unknown(13_000, 0)),
        // The list holds what two bytes can say; the message is as large as rustls takes.
        twice("65,000 bytes of them", GOES_ON, unknown(65, 990)),
    ]
    .concat();
    for (number, _) in Hello::tls13().extensions.unwrap_or_default() {
        let twofold = |hello: Hello| {
            let body = hello.extensions.iter().flatten().find(|(other, _)| *other == number);
            let body = body.map_or(vec![], |(_, body)| body.clone());
            hello.and(number, body)
        };
        cases.extend(new(&format!("extension {number} twice"), FALSE, twofold(Hello::tls13())));
        if !matches!(number, EXTENDED_MASTER_SECRET) {
            let empty = Hello::tls13().with(number, []);
            cases.extend(new(&format!("extension {number} empty"), FALSE, empty));
        }
        let hello = Hello::tls13();
        let body = hello.extensions.iter().flatten().find(|(other, _)| *other == number).unwrap();
        let longer = [&body.1[..], &[0]].concat();
        let hello = Hello::tls13().with(number, longer);
        cases.extend(new(&format!("extension {number} with a byte behind it"), FALSE, hello));
    }
    cases
}
