//! Between the server's first messages and the client's Finished: nothing invalid in this phase
//! gives a client access.

use super::hello::*;
use super::scene::Scene;
use super::seal::Seal;
use super::session::{Kind, REQUEST, Session};
use super::verdict::*;

const SERVED: Expected = Expected::any(&[Verdict::Served]);
const UNEXPECTED: Expected = Expected::any(&[UNEXPECTED_MESSAGE]);
const BAD_MAC: Expected = Expected::any(&[BAD_RECORD_MAC]);
const ENDS: Expected = Expected::any(&[Verdict::Closed]);
/// Malformed or not as agreed.
const FALSE: Expected = Expected::any(&[DECODE_ERROR, ILLEGAL_PARAMETER]);
const WRONG: Expected = Expected::any(&[DECRYPT_ERROR]);
/// A flood that the RFC allows; rustls hangs up on who goes on for too long, without a word.
const FLOOD: Expected = SERVED.but(Verdict::Closed);

/// What becomes of the client's second flight.
type Act = fn(&Session, Vec<Vec<u8>>) -> Vec<u8>;
type Change = (&'static str, Expected, Act);

fn change_of_ciphers(content: &[u8]) -> Vec<u8> {
    record(CHANGE_CIPHER_SPEC, content)
}

/// The flight with these bytes before it.
fn after(bytes: &[u8], flight: &[Vec<u8>]) -> Vec<u8> {
    [bytes, &flight.concat()].concat()
}

/// The flight without its last record, which holds Finished, and these bytes there.
fn in_place_of_finished(flight: &[Vec<u8>], bytes: &[u8]) -> Vec<u8> {
    [&flight[..flight.len() - 1].concat(), bytes].concat()
}

/// Finished as the client has it, changed and sealed anew.
fn finished(session: &Session, flight: &[Vec<u8>], change: fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut seal: Seal = session.handshake_seal();
    // Where its 12 bytes are taken from is no matter: they are false.
    let mut verify = vec![0x99; if seal.is_tls13() { 32 } else { 12 }];
    change(&mut verify);
    let message = [&[20], &vector(3, &verify)[..]].concat();
    in_place_of_finished(flight, &seal.record(HANDSHAKE, &message))
}

/// ClientKeyExchange of TLS 1.2 with this body.
fn key_exchange(flight: &[Vec<u8>], body: &[u8]) -> Vec<u8> {
    let message = [&[16], &vector(3, body)[..]].concat();
    [record(HANDSHAKE, &message), flight[1..].concat()].concat()
}

/// RFC 8446, 4.4.4, 5 and D.4.
const TLS13: &[Change] = &[
    ("nothing", SERVED, |_, flight| flight.concat()),
    ("data before it", BAD_MAC, |session, flight| {
        after(&session.data_seal().record(DATA, REQUEST), &flight)
    }),
    ("data in the clear before it", BAD_MAC, |_, flight| after(&record(DATA, REQUEST), &flight)),
    ("a hello in the clear", UNEXPECTED.but(BAD_RECORD_MAC), |_, flight| {
        after(&Hello::tls13().records(), &flight)
    }),
    ("no Finished", BAD_MAC, |_, flight| in_place_of_finished(&flight, &[])),
    // The second ChangeCipherSpec comes after Finished.
    ("the flight twice", UNEXPECTED, |_, flight| [flight.concat(), flight.concat()].concat()),
    ("Finished that is false", WRONG, |session, flight| finished(session, &flight, |_| {})),
    ("Finished that is short", FALSE.but(DECRYPT_ERROR), |session, flight| {
        finished(session, &flight, |verify| verify.truncate(31))
    }),
    ("Finished that is empty", FALSE.but(DECRYPT_ERROR), |session, flight| {
        finished(session, &flight, Vec::clear)
    }),
    ("Finished that is long", FALSE.but(DECRYPT_ERROR), |session, flight| {
        finished(session, &flight, |verify| verify.push(0))
    }),
    ("no ChangeCipherSpec", SERVED, |_, flight| flight[1..].concat()),
    ("ChangeCipherSpec twice", SERVED, |_, flight| after(&change_of_ciphers(&[1]), &flight)),
    ("ChangeCipherSpec 1,000 times", FLOOD, |_, flight| {
        after(&change_of_ciphers(&[1]).repeat(1_000), &flight)
    }),
    ("ChangeCipherSpec with another byte", UNEXPECTED, |_, flight| {
        after(&change_of_ciphers(&[2]), &flight)
    }),
    ("ChangeCipherSpec with two bytes", UNEXPECTED, |_, flight| {
        after(&change_of_ciphers(&[1, 1]), &flight)
    }),
    ("ChangeCipherSpec with none", UNEXPECTED.but(DECODE_ERROR), |_, flight| {
        after(&change_of_ciphers(&[]), &flight)
    }),
    ("sealed ChangeCipherSpec", UNEXPECTED, |session, flight| {
        after(&session.handshake_seal().record(CHANGE_CIPHER_SPEC, &[1]), &flight)
    }),
    ("sealed data", UNEXPECTED, |session, flight| {
        after(&session.handshake_seal().record(DATA, REQUEST), &flight)
    }),
    ("a warning in the clear", SERVED, |_, flight| after(&record(ALERT, &[1, 90]), &flight)),
    ("1,000 warnings in the clear", FLOOD, |_, flight| {
        after(&record(ALERT, &[1, 90]).repeat(1_000), &flight)
    }),
    ("close_notify in the clear", ENDS.but(DECODE_ERROR), |_, flight| {
        after(&record(ALERT, &[1, 0]), &flight)
    }),
    ("a fatal alert in the clear", ENDS, |_, flight| after(&record(ALERT, &[2, 40]), &flight)),
    ("a sealed fatal alert", ENDS, |session, flight| {
        after(&session.handshake_seal().record(ALERT, &[2, 40]), &flight)
    }),
    ("new keys before Finished", UNEXPECTED, |session, flight| {
        after(&session.handshake_seal().record(HANDSHAKE, &[24, 0, 0, 1, 0]), &flight)
    }),
    ("CertificateVerify that nobody asked for", UNEXPECTED, |session, flight| {
        let message = [&[15], &vector(3, &[&[4, 3], &vector(2, &[1; 70])[..]].concat())[..]];
        after(&session.handshake_seal().record(HANDSHAKE, &message.concat()), &flight)
    }),
    ("a certificate that nobody asked for", UNEXPECTED, |session, flight| {
        after(&session.handshake_seal().record(HANDSHAKE, &[11, 0, 0, 4, 0, 0, 0, 0]), &flight)
    }),
    ("EndOfEarlyData", UNEXPECTED, |session, flight| {
        after(&session.handshake_seal().record(HANDSHAKE, &[5, 0, 0, 0]), &flight)
    }),
];

/// RFC 5246, 7.1, 7.2 and 7.4; RFC 8422, 5.7 and 5.11.
const TLS12: &[Change] = &[
    ("nothing", SERVED, |_, flight| flight.concat()),
    ("data before it", UNEXPECTED, |session, flight| {
        after(&session.data_seal().record(DATA, REQUEST), &flight)
    }),
    ("data in the clear before it", UNEXPECTED, |_, flight| after(&record(DATA, REQUEST), &flight)),
    ("data in the clear before Finished", BAD_MAC, |_, flight| {
        in_place_of_finished(&flight, &record(DATA, REQUEST))
    }),
    ("sealed data before Finished", UNEXPECTED, |session, flight| {
        in_place_of_finished(&flight, &session.handshake_seal().record(DATA, REQUEST))
    }),
    ("a hello", UNEXPECTED, |_, flight| after(&Hello::tls12().records(), &flight)),
    ("no Finished", BAD_MAC, |_, flight| in_place_of_finished(&flight, &[])),
    ("Finished that is false", WRONG, |session, flight| finished(session, &flight, |_| {})),
    ("Finished that is short", FALSE.but(DECRYPT_ERROR), |session, flight| {
        finished(session, &flight, |verify| verify.truncate(11))
    }),
    ("Finished that is empty", FALSE.but(DECRYPT_ERROR), |session, flight| {
        finished(session, &flight, Vec::clear)
    }),
    ("Finished that is long", FALSE.but(DECRYPT_ERROR), |session, flight| {
        finished(session, &flight, |verify| verify.push(0))
    }),
    // The sealed Finished is read as it is: what it then looks like depends on chance.
    (
        "no ChangeCipherSpec",
        Expected::any(&[UNEXPECTED_MESSAGE, DECODE_ERROR]).but(Verdict::Closed),
        |_, flight| [&flight[0][..], &flight[2]].concat(),
    ),
    ("ChangeCipherSpec before its turn", UNEXPECTED, |_, flight| {
        after(&change_of_ciphers(&[1]), &flight)
    }),
    ("ChangeCipherSpec twice", UNEXPECTED, |_, flight| {
        [&flight[0][..], &flight[1], &flight[1], &flight[2]].concat()
    }),
    ("ChangeCipherSpec with another byte", FALSE, |_, flight| {
        [&flight[0][..], &change_of_ciphers(&[2]), &flight[2]].concat()
    }),
    ("ChangeCipherSpec with two bytes", FALSE, |_, flight| {
        [&flight[0][..], &change_of_ciphers(&[1, 1]), &flight[2]].concat()
    }),
    ("ChangeCipherSpec with none", FALSE, |_, flight| {
        [&flight[0][..], &change_of_ciphers(&[]), &flight[2]].concat()
    }),
    ("a warning", SERVED, |_, flight| after(&record(ALERT, &[1, 90]), &flight)),
    ("1,000 warnings", FLOOD, |_, flight| after(&record(ALERT, &[1, 90]).repeat(1_000), &flight)),
    ("a fatal alert", ENDS, |_, flight| after(&record(ALERT, &[2, 40]), &flight)),
    ("no key exchange", UNEXPECTED, |_, flight| flight[1..].concat()),
    ("the key exchange twice", UNEXPECTED, |_, flight| after(&flight[0], &flight)),
    // rustls hangs up without a word.
    ("an empty key exchange", FALSE.but(Verdict::Closed), |_, flight| key_exchange(&flight, &[])),
    ("a key exchange without a key", FALSE.but(Verdict::Closed), |_, flight| {
        key_exchange(&flight, &[0])
    }),
    ("a key of 31 bytes", FALSE, |_, flight| key_exchange(&flight, &vector(1, &[9; 31]))),
    ("a key of all zeros", FALSE, |_, flight| key_exchange(&flight, &vector(1, &[0; 32]))),
    ("a key and a byte behind it", FALSE, |_, flight| {
        key_exchange(&flight, &[&vector(1, &x25519())[..], &[0]].concat())
    }),
    ("another key", BAD_MAC, |_, flight| key_exchange(&flight, &vector(1, &x25519()))),
    ("a certificate that nobody asked for", UNEXPECTED, |_, flight| {
        after(&record(HANDSHAKE, &[11, 0, 0, 3, 0, 0, 0]), &flight)
    }),
    ("an empty record", Expected::any(&[DECODE_ERROR, UNEXPECTED_MESSAGE]), |_, flight| {
        after(&record(HANDSHAKE, &[]), &flight)
    }),
];

#[test]
fn nothing_false_before_the_end_of_the_handshake_lets_a_request_through() {
    let mut scene = Scene::open();
    for (kind, cases) in [(Kind::Tls13, TLS13), (Kind::Tls12, TLS12)] {
        scene.attack("second flight", |scene| {
            let mut wrong = Vec::new();
            for (name, expected, act) in cases {
                let mut session = scene.session(kind);
                let flight = session.second_flight();
                let bytes = act(&session, flight);
                let request = session.data_seal().record(DATA, REQUEST);
                session.send([bytes, request].concat());
                let verdict = session.status();
                let answers = usize::from(verdict == Verdict::Served);
                if !expected.holds(verdict) || session.answers() != answers {
                    wrong.push(format!("{kind:?} {name}: {verdict:?}; wanted: {expected:?}"));
                }
            }
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        });
        scene.attack("a damaged Finished", |scene| {
            let (mut at, mut length) = (5, 6);
            while at < length {
                let mut session = scene.session(kind);
                let mut flight = session.second_flight();
                let finished = flight.last_mut().unwrap();
                length = finished.len();
                finished[at] ^= 1 << (at % 8);
                let request = session.data_seal().record(DATA, REQUEST);
                session.send([flight.concat(), request].concat());
                assert_eq!(session.status(), BAD_RECORD_MAC, "{kind:?}, byte {at}");
                assert_eq!(session.answers(), 0);
                at += 1;
            }
        });
    }
}
