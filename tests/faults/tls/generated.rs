//! What a client says first, changed at random where it has a structure and where it has none:
//! an alert, a ServerHello or the end, and never a byte of HTTP.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::hello::*;
use super::scene::Scene;
use super::session::Kind;
use super::verdict::*;

/// A change to a message, by fractions of its length, so that it fits any.
#[derive(Clone, Debug)]
enum Change {
    Byte(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
    Double(prop::sample::Index, usize),
    /// One of the true lengths, off by so much.
    Length(prop::sample::Index, i8),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (at(), 1..40_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (at(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, new)| Change::Insert(at, new)),
        (at(), 1..40_usize).prop_map(|(at, count)| Change::Double(at, count)),
        (at(), any::<i8>()).prop_map(|(at, by)| Change::Length(at, by)),
    ]
}

fn apply(message: &mut Vec<u8>, lengths: &[Length], change: &Change) {
    if message.is_empty() {
        return;
    }
    let length = message.len();
    match change {
        Change::Byte(at, byte) => message[at.index(length)] = *byte,
        Change::Remove(at, count) => {
            let at = at.index(length);
            message.drain(at..length.min(at + count));
        }
        Change::Insert(at, new) => {
            let at = at.index(length);
            message.splice(at..at, new.iter().copied());
        }
        Change::Double(at, count) => {
            let at = at.index(length);
            let copy = message[at..length.min(at + count)].to_vec();
            message.splice(at..at, copy);
        }
        Change::Length(at, by) => {
            let Length { at, width, .. } = lengths[at.index(lengths.len())];
            if let Some(last) = message.get_mut(at + width - 1) {
                *last = last.wrapping_add_signed(*by);
            }
        }
    }
}

/// Whether the handshake message says its own length afterwards, and where it is cut in records.
type Plan = (Vec<Change>, bool, Vec<prop::sample::Index>, Vec<Change>);

fn plan() -> impl Strategy<Value = Plan> {
    let few = prop::collection::vec(change(), 0..4);
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    let outside = prop::collection::vec(change(), 0..2);
    (few, any::<bool>(), cuts, outside)
}

fn bytes(message: &[u8], lengths: &[Length], (changes, mends, cuts, outside): &Plan) -> Vec<u8> {
    let mut message = message.to_vec();
    changes.iter().for_each(|change| apply(&mut message, lengths, change));
    if *mends && message.len() >= 4 {
        let length = (message.len() - 4).to_be_bytes();
        message[1..4].copy_from_slice(&length[length.len() - 3..]);
    }
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(message.len() + 1)).collect();
    cuts.extend([0, message.len()]);
    cuts.sort_unstable();
    let pieces = cuts.windows(2).map(|pair| record(HANDSHAKE, &message[pair[0]..pair[1]]));
    let mut bytes: Vec<u8> = pieces.flatten().collect();
    outside.iter().for_each(|change| apply(&mut bytes, lengths, change));
    // Anything else is no TLS, and is told so in HTTP.
    if let Some(first) = bytes.first_mut() {
        *first = HANDSHAKE;
    }
    bytes
}

/// One round of so many, or of as many as there are within the time.
fn round(scene: &Scene, runner: &mut TestRunner, limit: Duration) {
    let start = Instant::now();
    // As rustls says it, and lengths that fit it as closely as one of ours has them.
    let recorded = [Kind::Tls12, Kind::Tls13].map(|kind| {
        let hello = scene.session(kind).flight().concat();
        hello[5..].to_vec()
    });
    let ours = [Hello::tls12(), Hello::tls13()];
    let lengths = ours.each_ref().map(Hello::lengths);
    let ours = ours.map(|hello| hello.message());
    let outcome = runner.run(&(plan(), 0..4_usize), |(plan, which)| {
        if start.elapsed() < limit {
            let messages = if which < 2 { &recorded } else { &ours };
            let bytes = bytes(&messages[which % 2], &lengths[which % 2], &plan);
            // It panics on what is no TLS, and on silence.
            let verdict = ask(scene.service.address, &bytes);
            prop_assert_ne!(verdict, Verdict::Served);
        }
        Ok(())
    });
    outcome.unwrap();
}

fn generate(rounds: u32, cases: u32, limit: Duration) {
    let mut scene = Scene::open();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    for _ in 0..rounds {
        let mut runner = TestRunner::new(config.clone());
        scene.attack("generated", |scene| round(scene, &mut runner, limit));
    }
}

#[test]
fn no_generated_hello_gets_a_word_of_http() {
    generate(1, 1_000, Duration::from_secs(5));
}

#[test]
#[ignore = "minutes: make test-faults"]
fn no_generated_hello_gets_a_word_of_http_for_long() {
    generate(20, 20_000, Duration::from_secs(12));
}
