//! The records that a ClientHello comes in, and what comes in its place.

use super::*;

/// RFC 8446, 5.1; RFC 5246, 6.2.1 and E.1.
pub(super) fn records() -> Vec<Case> {
    let versioned = |version: [u8; 2]| {
        move |hello: Hello| {
            let mut bytes = hello.records();
            bytes[1..3].copy_from_slice(&version);
            bytes
        }
    };
    let amid = |kind, content: &[u8]| {
        let inserted = record(kind, content);
        move |hello: Hello| {
            let message = hello.message();
            let (first, second) = message.split_at(40);
            [record(HANDSHAKE, first), inserted.clone(), record(HANDSHAKE, second)].concat()
        }
    };
    let before = |kind, content: &[u8]| {
        let first = record(kind, content);
        move |hello: Hello| [first.clone(), hello.records()].concat()
    };
    let other = |kind: u8| {
        move |hello: Hello| {
            let mut message = hello.message();
            message[0] = kind;
            record(HANDSHAKE, &message)
        }
    };
    let sized = |size: usize| {
        move |mut hello: Hello| {
            while hello.message().len() + 4 < size {
                let rest = size - hello.message().len() - 4;
                hello = hello.and(0x6000 + (rest / 16_000) as u16, vec![0; rest.min(16_000)]);
            }
            hello
        }
    };
    let in_one = |size| move |hello| record(HANDSHAKE, &sized(size)(hello).message());
    let unknown_version = Expected::any(&[DECODE_ERROR, PROTOCOL_VERSION]);
    let unexpected = Expected::any(&[UNEXPECTED_MESSAGE]);
    let too_large = Expected::any(&[RECORD_OVERFLOW]);
    let mut cases = Vec::new();
    for number in [0x0300_u16, 0x0301, 0x0302, 0x0304, 0x03ff] {
        let name = format!("record version {number:04x}");
        cases.extend(bytes(&name, GOES_ON, versioned(number.to_be_bytes())));
    }
    // RFC 8446, D.5: not to be accepted, if possible. rustls knows that number from SSL 2.
    let old = unknown_version.but(Verdict::Hello);
    cases.extend(bytes("record version 0002", old, versioned([0, 2])));
    for number in [0x0200_u16, 0x0400, 0xffff] {
        let name = format!("record version {number:04x}");
        cases.extend(bytes(&name, unknown_version, versioned(number.to_be_bytes())));
    }
    for kind in [0, 2, 4, 5, 8, 11, 13, 14, 15, 16, 20, 24, 25, 67, 99, 254] {
        let name = format!("message {kind} in its place");
        // rustls reads a message before it looks whether it is its turn.
        cases.extend(bytes(&name, unexpected.but(DECODE_ERROR), other(kind)));
    }
    // rustls hangs up without a word on what comes between two parts of a message.
    for (name, kind, content) in [
        ("an alert", ALERT, &[1, 90][..]),
        ("ChangeCipherSpec", CHANGE_CIPHER_SPEC, &[1]),
        ("data", DATA, b"GET / HTTP/1.1\r\n\r\n"),
        ("a heartbeat", 24, &[1, 0, 0]),
    ] {
        cases.extend(bytes(
            &format!("{name} amid it"),
            unexpected.but(Verdict::Closed),
            amid(kind, content),
        ));
    }
    cases.extend(bytes("an unknown type amid it", unexpected.but(DECODE_ERROR), amid(99, &[1])));
    cases.extend(bytes("an empty record before it", FALSE, before(HANDSHAKE, &[])));
    cases.extend(bytes("an empty record amid it", FALSE, amid(HANDSHAKE, &[])));
    cases.extend(bytes("the largest record", GOES_ON, in_one(1 << 14)));
    // What is not sealed may be as large as what is.
    let unseen = too_large.but(Verdict::Hello);
    cases.extend(bytes("a record a byte too large", unseen, in_one((1 << 14) + 1)));
    // Beyond what a sealed record may have, rustls calls it malformed.
    let malformed = too_large.but(DECODE_ERROR);
    cases.extend(bytes("a record far too large", malformed, in_one((1 << 14) + 2049)));
    cases.extend(bytes("a record of 65,535 bytes", malformed, in_one(65_535)));
    cases.extend(bytes("a message of 60,000 bytes", GOES_ON, |hello| {
        let suites = vec![0xfe00; 8_000];
        let hello = Hello { suites: [suites, hello.suites.clone()].concat(), ..hello };
        sized(60_000)(hello).records()
    }));
    // What the RFC allows, and rustls has no room for.
    cases.extend(bytes("a message of 80,000 bytes", GOES_ON.but(Verdict::Closed), |hello| {
        let suites = vec![0xfe00; 20_000];
        let hello = Hello { suites: [suites, hello.suites.clone()].concat(), ..hello };
        sized(80_000)(hello).records()
    }));
    cases.extend(bytes("a megabyte of a message", WAITS, |hello| {
        let mut message = hello.message();
        message.resize(1 << 20, 0);
        message[1] = 0xff;
        message.chunks(1 << 14).flat_map(|piece| record(HANDSHAKE, piece)).collect()
    }));
    cases
}

/// A case for each version of TLS, of which there is nothing but bytes.
fn bytes(name: &str, expected: Expected, change: impl Fn(Hello) -> Vec<u8>) -> Vec<Case> {
    let case = |(version, hello)| Case {
        name: format!("{version}: {name}"),
        bytes: change(hello),
        expected,
    };
    both().into_iter().map(case).collect()
}
