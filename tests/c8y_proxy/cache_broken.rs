//! An interrupted download is resumed, and the readers do not notice it. If it cannot be resumed,
//! the answers to the readers are interrupted too. No answer ever contains two versions.

use crate::support::answer::Answer;
use crate::support::cached::{
    self, PATH, assert_all, assert_broken, assert_bytes, begin, get, read, request,
};
use crate::support::client::Client;
use crate::support::cloud::artifact::Artifact;
use crate::support::cloud::record::Request;
use crate::support::cloud::{Gate, Script};
use crate::support::device::{Device, SOON};

const LENGTH: u64 = 3_000_001;
const PIECE: u64 = 16 * 1024;

/// Several who download at once, and what they get.
fn download(device: &Device, count: usize) -> Vec<Answer> {
    let mut clients: Vec<_> = (0..count).map(|_| device.connect()).collect();
    for client in &mut clients {
        client.send(request("GET", PATH, "")).unwrap();
    }
    clients.iter_mut().map(|client| client.answer_to("GET").unwrap()).collect()
}

fn requests(device: &Device) -> Vec<Request> {
    device.cloud().requests(PATH)
}

fn text(request: &Request, name: &str) -> Option<String> {
    request.field(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

#[test]
fn breaks_at_one_at_fifty_and_at_ninety_nine_percent_are_resumed() {
    let places = [LENGTH / 100, LENGTH / 2, LENGTH / 100 * 99];
    for (artifact, validator) in [
        (Artifact::new(1, LENGTH), "\"version-1\""),
        (
            Artifact::new(1, LENGTH).with_date("Thu, 02 Jan 2025 03:04:05 GMT"),
            "Thu, 02 Jan 2025 03:04:05 GMT",
        ),
    ] {
        let device = cached::start();
        device.warm();
        device.cloud().serve(PATH, &artifact.clone().breaking_at(places));
        for answer in download(&device, 5) {
            assert_all(&answer, &artifact);
        }
        let requests = requests(&device);
        assert_eq!(requests.len(), 4, "{requests:?}");
        for (resumed, place) in requests[1..].iter().zip(places) {
            assert_eq!(text(resumed, "range"), Some(format!("bytes={place}-")), "{resumed:?}");
            assert_eq!(text(resumed, "if-range").as_deref(), Some(validator), "{resumed:?}");
            assert_eq!(resumed.all("authorization").len(), 1, "{resumed:?}");
        }
        assert_eq!(device.cloud().sent(PATH), LENGTH);
        assert_all(&get(&device, PATH), &artifact);
        assert_eq!(device.cloud().sent(PATH), LENGTH, "it is kept");
    }
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn five_breaks_are_resumed_and_a_sixth_is_passed_on() {
    let device = cached::start();
    device.warm();
    let artifact = Artifact::new(1, LENGTH);
    let places = (1..=5).map(|nth| nth * 400_000);
    device.cloud().serve(PATH, &artifact.clone().breaking_at(places));
    assert_all(&get(&device, PATH), &artifact);

    let device = cached::start();
    device.warm();
    let places = (1..=6).map(|nth| nth * 400_000);
    device.cloud().serve(PATH, &artifact.clone().breaking_at(places));
    for answer in download(&device, 3) {
        assert_broken(&answer, &artifact);
    }
    assert_eq!(requests(&device).len(), 6);
    assert_all(&get(&device, PATH), &artifact);
}

#[test]
fn a_break_whose_token_ran_out_meanwhile_is_resumed_with_a_new_one() {
    let device = cached::start();
    device.warm();
    let (gate, artifact) = (Gate::default(), Artifact::new(1, LENGTH));
    let broken = artifact.clone().gated(PIECE * 10, &gate).breaking_at([PIECE * 11]);
    device.cloud().serve(PATH, &broken);
    let (mut client, _) = begin(&device, PATH, "");
    let begun = read(&mut client, PIECE * 10);
    device.cloud().tokens().revoke_all();
    gate.open();
    let rest = read(&mut client, LENGTH - PIECE * 10);
    assert_bytes(&[begun, rest].concat(), &artifact, 0);
}

/// Interrupts a download. When it is resumed, the cloud has another artifact. Returns what a reader
/// got.
fn replaced(device: &Device, first: &Artifact, second: &Artifact) -> Vec<Answer> {
    let gate = Gate::default();
    let at = PIECE * 60;
    device.cloud().serve(PATH, &first.clone().gated(at, &gate).breaking_at([at + PIECE]));
    let mut clients: Vec<_> = (0..3).map(|_| device.connect()).collect();
    for client in &mut clients {
        client.send(request("GET", PATH, "")).unwrap();
    }
    device.cloud().wait(SOON, |seen| seen.requests.iter().any(|request| request.sent >= at));
    device.cloud().serve(PATH, second);
    gate.open();
    clients.iter_mut().map(|client: &mut Client| client.answer_to("GET").unwrap()).collect()
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn what_changes_meanwhile_breaks_off_and_is_never_mixed() {
    let first = Artifact::new(1, LENGTH);
    let dated = |version, date| Artifact::new(version, LENGTH).with_date(date);
    let (old, new) = ("Thu, 02 Jan 2025 03:04:05 GMT", "Fri, 03 Jan 2025 03:04:05 GMT");
    let bare = |version| Artifact::new(version, LENGTH).without_validator();
    for (what, first, second) in [
        ("another entity tag", first.clone(), Artifact::new(2, LENGTH)),
        ("another length", first.clone(), Artifact::new(2, LENGTH + 5)),
        ("a shorter one", first.clone(), Artifact::new(2, 100_000)),
        ("another date", dated(1, old), dated(2, new)),
        ("no If-Range there", first.clone(), Artifact::new(2, LENGTH).without_if_range()),
        ("no If-Range, shorter", first.clone(), Artifact::new(2, 100_000).without_if_range()),
        ("no If-Range, another date", dated(1, old), dated(2, new).without_if_range()),
        (
            "the same tag, another length",
            first.clone(),
            Artifact::new(2, LENGTH + 5).with_etag("\"version-1\""),
        ),
        ("no tag any more", first.clone(), bare(2).without_if_range()),
        ("no parts any more", first.clone(), Artifact::new(2, LENGTH).without_ranges()),
        ("a part of the wrong place", first.clone(), first.clone().with_shifted_ranges(PIECE)),
        ("gone", first.clone(), first.clone().refused("404 Not Found")),
        ("forbidden", first.clone(), first.clone().refused("403 Forbidden")),
        ("an error", first.clone(), first.refused("500 Internal Server Error")),
        ("no validator", bare(1), bare(2)),
        ("no validator, no If-Range", bare(1), bare(2).without_if_range()),
        (
            "a weak tag",
            Artifact::new(1, LENGTH).with_etag("W/\"x\""),
            Artifact::new(2, LENGTH).with_etag("W/\"x\"").without_if_range(),
        ),
    ] {
        let device = cached::start();
        device.warm();
        eprintln!("{what}");
        for answer in replaced(&device, &first, &second) {
            assert_broken(&answer, &first);
        }
        // Nothing of it is cached: the next client gets the new version.
        let now = Artifact::new(3, LENGTH);
        device.cloud().serve(PATH, &now);
        assert_all(&get(&device, PATH), &now);
    }
}

#[test]
fn without_a_validator_the_object_says_whether_a_break_can_be_resumed() {
    let device = cached::start();
    device.warm();
    let artifact = Artifact::new(1, LENGTH).without_validator();
    device.cloud().serve(PATH, &artifact.clone().breaking_at([LENGTH / 2]));
    for answer in download(&device, 3) {
        assert_all(&answer, &artifact);
    }
    let device = cached::start();
    device.warm();
    let artifact = artifact.without_object();
    device.cloud().serve(PATH, &artifact.clone().breaking_at([LENGTH / 2; 3]));
    for answer in download(&device, 3) {
        assert_broken(&answer, &artifact);
    }
    assert_all(&get(&device, PATH), &artifact);
}

#[test]
fn a_cloud_that_knows_no_parts_never_makes_a_wrong_answer() {
    let device = cached::start();
    device.warm();
    let artifact = Artifact::new(1, LENGTH).without_ranges();
    device.cloud().serve(PATH, &artifact.clone().breaking_at([LENGTH / 2]));
    // The cloud sends all of it again, with the same tag. The readers may continue with the rest,
    // or be interrupted.
    for answer in download(&device, 3) {
        match answer.broken {
            Some(_) => assert_broken(&answer, &artifact),
            None => assert_all(&answer, &artifact),
        }
    }
    assert_all(&get(&device, PATH), &artifact);
}

#[test]
fn a_part_that_was_requested_is_whole_although_upstream_broke_off() {
    let device = cached::start();
    device.warm();
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact.clone().breaking_at([LENGTH / 2, LENGTH / 2 + 100]));
    let (from, to) = (LENGTH / 2 - 1000, LENGTH / 2 + 1000);
    let fields = format!("Range: bytes={from}-{}\r\n", to - 1);
    let (mut first, _) = begin(&device, PATH, "");
    let answer = cached::get_with(&device, PATH, &fields);
    assert_eq!((answer.status, answer.broken.as_deref()), (206, None));
    assert_bytes(&answer.body, &artifact, from);
    assert_eq!(answer.body.len() as u64, to - from);
    assert_bytes(&read(&mut first, LENGTH), &artifact, 0);
}

#[test]
fn chunks_that_break_off_are_never_kept() {
    let device = cached::start();
    device.warm();
    for (artifact, places) in [
        (Artifact::new(1, LENGTH).without_validator().chunked(), vec![LENGTH / 2]),
        (Artifact::new(1, LENGTH).without_validator().until_close(), vec![LENGTH / 2]),
        (Artifact::new(1, LENGTH).chunked().without_ranges(), vec![LENGTH / 2; 7]),
    ] {
        device.cloud().serve(PATH, &artifact.clone().breaking_at(places));
        assert_broken(&get(&device, PATH), &artifact);
        device.cloud().serve(PATH, &artifact);
        assert_all(&get(&device, PATH), &artifact);
        device.cloud().forget();
        // Whether from the cache or from the cloud, the answer is complete.
        assert_all(&get(&device, PATH), &artifact);
        device.cloud().serve(PATH, &Artifact::new(9, LENGTH).refused("404 Not Found"));
        assert_eq!(get(&device, PATH).status, 404);
    }
}

#[test]
fn a_head_that_never_comes_is_an_error_for_all_who_wait() {
    let device = cached::start();
    device.warm();
    device.cloud().answer(PATH, Script::new().break_off());
    for answer in download(&device, 3) {
        assert_eq!(answer.status, 502, "{}", answer.text());
    }
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().answer(PATH, Script::answer("503 Service Unavailable", b"later").once());
    device.cloud().answer(PATH, Script::answer("200 OK", b"small"));
    assert_eq!(get(&device, PATH).status, 503);
    let other = "/inventory/binaries/4712";
    device.cloud().serve(other, &artifact);
    assert_all(&get(&device, other), &artifact);
}
