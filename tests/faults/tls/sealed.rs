//! Once the handshake is done: what is sealed with the right keys and yet wrong, and what is not.

use super::hello::*;
use super::scene::Scene;
use super::seal::Seal;
use super::session::{Kind, REQUEST, Session};
use super::verdict::*;

const SERVED: Expected = Expected::any(&[Verdict::Served]);
const UNEXPECTED: Expected = Expected::any(&[UNEXPECTED_MESSAGE]);
const BAD_MAC: Expected = Expected::any(&[BAD_RECORD_MAC]);
const TOO_LARGE: Expected = Expected::any(&[RECORD_OVERFLOW]);
const MALFORMED: Expected = Expected::any(&[DECODE_ERROR]);
const ENDS: Expected = Expected::any(&[Verdict::Closed]);
/// A flood that the RFC allows; rustls hangs up on who goes on for too long, without a word.
const FLOOD: Expected = SERVED.but(Verdict::Closed);
/// rustls hangs up without the alert that the RFC has for it.
const UNSAID: Expected = UNEXPECTED.but(Verdict::Closed);
/// To rustls, a type that it does not know is malformed.
const UNKNOWN: Expected = UNEXPECTED.but(DECODE_ERROR);

/// The most that may be in a record.
const FULL: usize = 1 << 14;

/// What is sent between the handshake and a request.
type Act = Box<dyn Fn(&mut Seal) -> Vec<u8>>;

struct After {
    name: &'static str,
    kinds: &'static [Kind],
    expected: Expected,
    act: Act,
}

const BOTH: &[Kind] = &[Kind::Tls12, Kind::Tls13];
const OLD: &[Kind] = &[Kind::Tls12];
const NEW: &[Kind] = &[Kind::Tls13];

fn after(
    name: &'static str,
    kinds: &'static [Kind],
    expected: Expected,
    act: impl Fn(&mut Seal) -> Vec<u8> + 'static,
) -> After {
    After { name, kinds, expected, act: Box::new(act) }
}

/// A handshake message of this type.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &vector(3, body)[..]].concat()
}

/// Asks for new keys, in both directions where `answered`.
fn update(seal: &mut Seal, answered: bool) -> Vec<u8> {
    let record = seal.record(HANDSHAKE, &message(24, &[u8::from(answered)]));
    seal.update();
    record
}

/// RFC 8446, 5; RFC 5246, 6.2.
fn records() -> Vec<After> {
    vec![
        after("nothing", BOTH, SERVED, |_| vec![]),
        after("an unknown type", BOTH, UNKNOWN, |_| record(99, &[1; 40])),
        after("a heartbeat", BOTH, UNEXPECTED.but(BAD_RECORD_MAC), |_| record(24, &[1; 40])),
        after("a sealed heartbeat", BOTH, UNKNOWN, |seal| seal.record(24, &[1, 0, 3, 0, 0, 0])),
        after("a sealed unknown type", BOTH, UNKNOWN, |seal| seal.record(99, &[1; 40])),
        after("no type at all", NEW, UNSAID, |seal| seal.padded(0, &[], 100)),
        after("padding", NEW, SERVED, |seal| seal.padded(DATA, &[], FULL - 1)),
        after("data in the clear", BOTH, BAD_MAC, |_| record(DATA, REQUEST)),
        after("short data in the clear", BOTH, BAD_MAC.but(DECODE_ERROR), |_| record(DATA, b"x")),
        after("an empty record in the clear", BOTH, BAD_MAC, |_| record(DATA, &[])),
        after("handshake in the clear", NEW, UNEXPECTED.but(BAD_RECORD_MAC), |_| {
            Hello::tls13().records()
        }),
        after("handshake in the clear", OLD, BAD_MAC, |_| Hello::tls12().records()),
        after("an alert in the clear", BOTH, BAD_MAC, |_| record(ALERT, &[1, 0])),
        after("10 empty records", BOTH, SERVED, |seal| {
            (0..10).flat_map(|_| seal.record(DATA, &[])).collect()
        }),
        after("10,000 empty records", BOTH, FLOOD, |seal| {
            (0..10_000).flat_map(|_| seal.record(DATA, &[])).collect()
        }),
        // RFC 8446, 5.4; rustls looks past a few.
        after("an empty handshake record", BOTH, UNEXPECTED.but(Verdict::Served), |seal| {
            seal.record(HANDSHAKE, &[])
        }),
        after("a byte too much", OLD, TOO_LARGE, |seal| seal.record(DATA, &[b'\n'; FULL + 1])),
        after("a byte too much", NEW, TOO_LARGE, |seal| seal.record(DATA, &[b'\n'; FULL + 1])),
        after("a byte of padding too much", NEW, TOO_LARGE, |seal| {
            seal.padded(DATA, &[], FULL + 1)
        }),
        after("a kilobyte too much", BOTH, TOO_LARGE, |seal| {
            seal.record(DATA, &[b'\n'; FULL + 1024])
        }),
        after("garbage a byte larger than can be", NEW, TOO_LARGE.but(BAD_RECORD_MAC), |_| {
            record(DATA, &[7; FULL + 257])
        }),
        after("garbage of 64 KB", BOTH, TOO_LARGE.but(DECODE_ERROR), |_| record(DATA, &[7; 65535])),
        after(
            "another version in a record",
            BOTH,
            Expected::any(&[DECODE_ERROR, PROTOCOL_VERSION]),
            |seal| {
                let mut record = seal.record(DATA, b"\n");
                record[1] = 4;
                record
            },
        ),
        after("a record that was lost", BOTH, BAD_MAC, |seal| {
            seal.skip(1);
            vec![]
        }),
        after("records out of order", BOTH, BAD_MAC, |seal| {
            let first = seal.record(DATA, REQUEST);
            [seal.record(DATA, REQUEST), first].concat()
        }),
        after("ChangeCipherSpec", BOTH, UNEXPECTED, |_| record(CHANGE_CIPHER_SPEC, &[1])),
        after("a sealed ChangeCipherSpec", BOTH, UNKNOWN, |seal| {
            seal.record(CHANGE_CIPHER_SPEC, &[1])
        }),
    ]
}

/// RFC 8446, 6; RFC 5246, 7.2.
fn alerts() -> Vec<After> {
    let alert =
        |level, description| move |seal: &mut Seal| seal.record(ALERT, &[level, description]);
    vec![
        after("close_notify", BOTH, ENDS, alert(1, 0)),
        after("a fatal alert", BOTH, ENDS, alert(2, 80)),
        after("an unknown fatal alert", BOTH, ENDS, alert(2, 199)),
        after("a warning", OLD, SERVED, alert(1, 90)),
        after("a warning that the user leaves", NEW, SERVED, alert(1, 90)),
        // Each alert but those two ends it, whatever level it claims.
        after("a warning", NEW, ENDS.but(DECODE_ERROR), alert(1, 112)),
        after(
            "an unknown level",
            BOTH,
            Expected::any(&[DECODE_ERROR, ILLEGAL_PARAMETER, Verdict::Closed]),
            alert(9, 90),
        ),
        after("half an alert", BOTH, MALFORMED, |seal| seal.record(ALERT, &[1])),
        after("an alert and more", BOTH, MALFORMED, |seal| seal.record(ALERT, &[1, 90, 0])),
        after("1,000 warnings", BOTH, FLOOD, |seal| {
            (0..1_000).flat_map(|_| seal.record(ALERT, &[1, 90])).collect()
        }),
    ]
}

/// RFC 8446, 4.6; RFC 5246, 7.4.1.
fn handshakes() -> Vec<After> {
    let send =
        |kind, size| move |seal: &mut Seal| seal.record(HANDSHAKE, &message(kind, &vec![0; size]));
    vec![
        after("a second hello", NEW, UNEXPECTED, |seal| {
            seal.record(HANDSHAKE, &Hello::tls13().message())
        }),
        after("HelloRequest", BOTH, UNEXPECTED, send(0, 0)),
        after("EndOfEarlyData", NEW, UNEXPECTED, send(5, 0)),
        after("Finished again", BOTH, UNEXPECTED, send(20, 32)),
        after("ClientKeyExchange again", OLD, UNEXPECTED, send(16, 32)),
        after("an unknown message", BOTH, UNEXPECTED, send(99, 8)),
        after(
            "a message without an end",
            BOTH,
            Expected::any(&[DECODE_ERROR, ILLEGAL_PARAMETER, UNEXPECTED_MESSAGE])
                .but(Verdict::Closed),
            |seal| seal.record(HANDSHAKE, &[24, 0xff, 0xff, 0xff, 0]),
        ),
        after("data amid a message", BOTH, UNSAID, |seal| seal.record(HANDSHAKE, &[24, 0, 0, 1])),
        after("new keys", NEW, SERVED, |seal| update(seal, false)),
        after("new keys for both", NEW, SERVED, |seal| update(seal, true)),
        after("new keys 20 times", NEW, SERVED, |seal| {
            (0..20).flat_map(|_| update(seal, true)).collect()
        }),
        after("new keys 10,000 times", NEW, FLOOD, |seal| {
            (0..10_000).flat_map(|_| update(seal, true)).collect()
        }),
        after("new keys that are not used", NEW, BAD_MAC, |seal| {
            seal.record(HANDSHAKE, &message(24, &[0]))
        }),
        after("new keys in two records", NEW, SERVED, |seal| {
            let parts = [seal.record(HANDSHAKE, &[24, 0]), seal.record(HANDSHAKE, &[0, 1, 0])];
            seal.update();
            parts.concat()
        }),
        after("new keys amid a record", NEW, UNEXPECTED, |seal| {
            seal.record(HANDSHAKE, &[message(24, &[0]), vec![24, 0, 0]].concat())
        }),
        after("new keys of an unknown kind", NEW, Expected::any(&[ILLEGAL_PARAMETER]), |seal| {
            seal.record(HANDSHAKE, &message(24, &[2]))
        }),
        after("new keys and a byte behind it", NEW, MALFORMED, |seal| {
            seal.record(HANDSHAKE, &message(24, &[0, 0]))
        }),
        after("new keys without a kind", NEW, MALFORMED, |seal| {
            seal.record(HANDSHAKE, &message(24, &[]))
        }),
        after("new keys in TLS 1.2", OLD, UNEXPECTED, send(24, 1)),
    ]
}

fn run(scene: &Scene, cases: &[After]) {
    let mut wrong = Vec::new();
    for After { name, kinds, expected, act } in cases {
        for &kind in *kinds {
            let mut session = scene.session(kind);
            session.shake();
            let mut seal = session.data_seal();
            let bytes = act(&mut seal);
            let request = seal.record(DATA, REQUEST);
            session.send([bytes, request].concat());
            let verdict = session.status();
            let answers = usize::from(verdict == Verdict::Served);
            if !expected.holds(verdict) || session.answers() != answers {
                let answers = session.answers();
                wrong.push(format!(
                    "{kind:?} {name}: {verdict:?}, {answers} answers; wanted: {expected:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_wrong_after_the_handshake_gets_its_alert_and_no_answer() {
    let mut scene = Scene::open();
    for (name, cases) in
        [("records", records()), ("alerts", alerts()), ("handshakes", handshakes())]
    {
        scene.attack(name, |scene| run(scene, &cases));
    }
}

#[test]
fn a_damaged_record_is_never_answered() {
    let mut scene = Scene::open();
    for kind in [Kind::Tls12, Kind::Tls13] {
        scene.attack("damaged requests", |scene| {
            let mut length = 6;
            let mut at = 0;
            while at < length {
                let mut session = scene.session(kind);
                session.shake();
                let mut records = session.request_records();
                length = records[0].len();
                records[0][at] ^= 1 << (at % 8);
                session.send(records.concat());
                // More may be promised than comes.
                let is_length = matches!(at, 3 | 4);
                let verdict = if is_length { session.verdict() } else { session.status() };
                let is_right = match at {
                    // No type or version of ours, or the wrong one of them.
                    0 if kind == Kind::Tls13 => {
                        verdict == Verdict::Served || verdict == BAD_RECORD_MAC
                    }
                    0 | 1 => matches!(verdict, DECODE_ERROR | UNEXPECTED_MESSAGE | BAD_RECORD_MAC),
                    // RFC 8446, 5.1: nobody looks at it. TLS 1.2 has it under the seal.
                    2 => {
                        verdict == Verdict::Served && kind == Kind::Tls13
                            || verdict == BAD_RECORD_MAC
                    }
                    // More is to come than does.
                    3 | 4 => matches!(verdict, BAD_RECORD_MAC | DECODE_ERROR | Verdict::Closed),
                    _ => verdict == BAD_RECORD_MAC,
                };
                assert!(is_right, "{kind:?}, byte {at}: {verdict:?}");
                at += 1;
            }
        });
        scene.attack("a request twice", |scene| {
            let mut session = scene.session(kind);
            session.shake();
            let request = session.request_records().concat();
            session.send([&request[..], &request].concat());
            let mut verdict = session.status();
            if verdict == Verdict::Served {
                verdict = session.status();
            }
            assert_eq!(verdict, BAD_RECORD_MAC);
            assert!(session.answers() <= 1);
        });
        scene.attack("the end amid a request", |scene| {
            let mut session = scene.session(kind);
            session.shake();
            let request = session.request_records().concat();
            for end in 0..request.len() {
                let mut session = scene.session(kind);
                session.shake();
                let request = session.request_records().concat();
                session.send(&request[..end]);
                assert_eq!(session.verdict(), Verdict::Closed, "{kind:?} after {end} bytes");
            }
        });
    }
}

#[test]
fn a_renegotiation_is_refused_and_a_flood_of_them_ends() {
    let mut scene = Scene::open();
    scene.attack("renegotiation", |scene| {
        let mut session = scene.session(Kind::Tls12);
        session.shake();
        let mut seal = session.data_seal();
        let hello = seal.record(HANDSHAKE, &Hello::tls12().message());
        session.send([hello, seal.record(DATA, REQUEST)].concat());
        assert_eq!(session.status(), Verdict::Served);
        assert_eq!(session.alerts(), 1, "a warning that there is none");

        let mut session: Session = scene.session(Kind::Tls12);
        session.shake();
        let mut seal = session.data_seal();
        let mut hellos = || seal.record(HANDSHAKE, &Hello::tls12().message());
        session.send((0..1_000).flat_map(|_| hellos()).collect::<Vec<_>>());
        session.verdict();
        assert!(session.alerts() <= 2, "{} warnings", session.alerts());
    });
}
