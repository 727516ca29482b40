//! The first message, false in one place at a time.

mod extensions;
mod fields;
mod keys;
mod names;
mod records;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use rustls::SignatureScheme;

use super::hello::*;
use super::scene::Scene;
use super::session::{Anybody, Kind, REQUEST, Session};
use super::verdict::*;

const GOES_ON: Expected = Expected::any(&[Verdict::Hello]);
const MALFORMED: Expected = Expected::any(&[DECODE_ERROR]);
const ILLEGAL: Expected = Expected::any(&[ILLEGAL_PARAMETER]);
/// Malformed either in its length or in what it says then.
const FALSE: Expected = Expected::any(&[DECODE_ERROR, ILLEGAL_PARAMETER]);
const NOTHING_IN_COMMON: Expected = Expected::any(&[HANDSHAKE_FAILURE]);
const TOO_OLD: Expected = Expected::any(&[PROTOCOL_VERSION]);
/// RFC 8446, 9.2. rustls has one alert for whatever it has nothing in common with.
const MISSING: Expected = Expected::any(&[MISSING_EXTENSION]).but(HANDSHAKE_FAILURE);
/// RFC 6066, 3, forbids them and does not say how to react.
const OVERLOOKED: Expected = Expected::any(&[Verdict::Hello, ILLEGAL_PARAMETER]);
/// The server waits for the rest, until its time is over.
const WAITS: Expected = Expected::any(&[Verdict::Closed]);

fn both() -> [(&'static str, Hello); 2] {
    [("1.3", Hello::tls13()), ("1.2", Hello::tls12())]
}

/// A case for each version of TLS.
fn twice(name: &str, expected: Expected, change: impl Fn(Hello) -> Hello) -> Vec<Case> {
    let case = |(version, hello)| Case {
        name: format!("{version}: {name}"),
        bytes: change(hello).records(),
        expected,
    };
    both().into_iter().map(case).collect()
}

/// A case of TLS 1.3.
fn new(name: &str, expected: Expected, hello: Hello) -> Vec<Case> {
    vec![Case { name: format!("1.3: {name}"), bytes: hello.records(), expected }]
}

/// A case of TLS 1.2.
fn old(name: &str, expected: Expected, hello: Hello) -> Vec<Case> {
    vec![Case { name: format!("1.2: {name}"), bytes: hello.records(), expected }]
}

/// Each length says less, more, nothing, and the most it can.
fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for (version, hello) in both() {
        let message = hello.message();
        for length in hello.lengths() {
            let field = length.at..length.at + length.width;
            let true_length = message[field.clone()]
                .iter()
                .fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
            let most = (1 << (8 * length.width)) - 1;
            for lie in [0, true_length.wrapping_sub(1), true_length + 1, true_length + 2, most] {
                if lie == true_length || lie > most {
                    continue;
                }
                let mut bytes = message.clone();
                bytes[field.clone()].copy_from_slice(&lie.to_be_bytes()[8 - length.width..]);
                cases.push(Case {
                    name: format!("{version}: length of {} {lie}, not {true_length}", length.of),
                    bytes: record(HANDSHAKE, &bytes),
                    expected: match length.at {
                        1 if lie > true_length => WAITS,
                        // What follows an empty message is taken for one that is too large.
                        1 if lie == 0 => FALSE.but(Verdict::Closed),
                        _ => FALSE,
                    },
                });
            }
        }
    }
    cases
}

/// Each beginning of the message, then the end.
fn beginnings() -> Vec<Case> {
    let mut cases = Vec::new();
    for (version, hello) in both() {
        let bytes = hello.records();
        for length in 1..bytes.len() {
            let (name, bytes) = (format!("{version}: {length} bytes"), bytes[..length].to_vec());
            cases.push(Case { name, bytes, expected: WAITS });
        }
        let message = hello.message();
        let bare = Hello { extensions: None, ..hello }.message().len();
        // Whole by its own account, but where it is whole indeed.
        for length in (4..message.len()).filter(|&length| length != bare) {
            let mut cut = message[..length].to_vec();
            cut[1..4].copy_from_slice(&(length - 4).to_be_bytes()[5..]);
            cases.push(Case {
                name: format!("{version}: {length} bytes, and said so"),
                bytes: record(HANDSHAKE, &cut),
                expected: FALSE,
            });
        }
    }
    cases
}

#[test]
fn a_false_hello_is_answered_with_its_alert() {
    let mut scene = Scene::open();
    let address = scene.service.address;
    for (name, cases) in [
        ("fields", fields::fields()),
        ("extensions", extensions::extensions()),
        ("names", names::names()),
        ("keys", keys::keys()),
        ("records", records::records()),
        ("lengths", lengths()),
        ("beginnings", beginnings()),
    ] {
        scene.attack(name, |_| check(address, cases));
    }
}

#[test]
fn a_hello_may_come_in_pieces() {
    let mut scene = Scene::open();
    for kind in [Kind::Tls12, Kind::Tls13] {
        scene.attack("in two records", |scene| {
            for at in 1.. {
                let mut session = scene.session(kind);
                let hello = session.flight().concat();
                let message = &hello[5..];
                if at == message.len() {
                    session.reset();
                    break;
                }
                let (first, second) = message.split_at(at);
                session.send([record(HANDSHAKE, first), record(HANDSHAKE, second)].concat());
                session.listen();
                session.shake();
                session.request();
                assert_eq!(session.status(), Verdict::Served, "{kind:?}, cut at {at}");
            }
        });
        scene.attack("a record, and a packet, for each byte", |scene| {
            let mut session = scene.session(kind);
            let hello = session.flight().concat();
            session.send_in_drops(
                hello[5..].chunks(1).flat_map(|byte| record(HANDSHAKE, byte)).collect::<Vec<_>>(),
            );
            assert_eq!(session.listen(), None);
            let second = session.flight().concat();
            session.send_in_drops(second);
            session.listen();
            session.shake();
            let request = session.request_records().concat();
            session.send_in_drops(request);
            assert_eq!(session.status(), Verdict::Served, "{kind:?}");
        });
    }
}

#[test]
fn wishes_that_are_not_ours_are_refused_under_the_keys_of_the_handshake() {
    let mut scene = Scene::open();
    scene.attack("wishes", |scene| {
        let refused = |change: fn(&mut rustls::ClientConfig)| {
            let (address, identity) = (scene.service.address, scene.identity());
            let mut session = Session::wishing(address, Kind::Tls13, identity, change);
            let hello = session.flight().concat();
            session.send(hello);
            session.listen()
        };
        let alpn = refused(|config| config.alpn_protocols = vec![b"h2".to_vec()]);
        assert_eq!(alpn, Some(NO_APPLICATION_PROTOCOL));
        let signatures = refused(|config| {
            let anybody = Arc::new(Anybody(SignatureScheme::ED25519));
            config.dangerous().set_certificate_verifier(anybody);
        });
        assert_eq!(signatures, Some(HANDSHAKE_FAILURE));
    });
}

/// RFC 8446, D.4 and 5, would have an alert. Nobody who speaks TLS begins so.
#[test]
fn what_does_not_begin_as_tls_is_sent_to_https_and_gets_nothing_else() {
    let mut scene = Scene::open();
    scene.attack("first bytes", |scene| {
        let ssl2 = [0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10];
        for bytes in [
            record(CHANGE_CIPHER_SPEC, &[1]),
            record(ALERT, &[2, 40]),
            record(DATA, &[0; 40]),
            record(24, &[1, 0xff, 0xff]),
            ssl2.to_vec(),
        ] {
            let mut socket = connect(scene.service.address);
            let _ = socket.write_all(&[&bytes[..], b"\r\n\r\n", REQUEST].concat());
            let _ = socket.shutdown(Shutdown::Write);
            let mut heard = Vec::new();
            let _ = socket.read_to_end(&mut heard);
            let heard = String::from_utf8_lossy(&heard);
            assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 400 "), "{heard}");
        }
    });
}
