//! The power is cut at every point while the proxy's cache fills, replaces, evicts and drops: on
//! whatever disk comes out of it, no client is served anything that is torn.
//!
//! What the real program does to the cache's directory is recorded, and replayed to each prefix in
//! which what was not synced may or may not have arrived, see [`replay`]. On all disks that come out
//! of it, what reads as an entry has to be right. On some of them a proxy is started, first without a
//! cloud, so that it serves whatever it believes in.

#[path = "crash/record.rs"]
mod record;
#[path = "crash/replay.rs"]
mod replay;
#[path = "storage/tamper.rs"]
mod tamper;

use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use c8y_proxy::cache::files::list;
use record::{Op, Recording};
use replay::{Content, Contents, Tree};
use tamper::Tamper;

use crate::promises::cache_index::start_with;
use crate::promises::cache_shared::growth;
use crate::support::answer::Answer;
use crate::support::cached::{assert_all, request};
use crate::support::client;
use crate::support::cloud::artifact::Artifact;
use crate::support::device::{Outside, PROGRAM};
use crate::support::directory::Directory;
use crate::support::release;
use crate::support::service::{Service, Setup};

/// Where downloads are that are not whole.
const TEMPORARY: &str = ".tedge-uploads/";
/// How many binaries are in the cloud.
const PATHS: u64 = 4;
/// What is written at a time.
const PIECE: usize = 128 * 1024;

/// In memory, where there is such a place: no disk is waited for.
fn directory() -> Arc<Directory> {
    let memory = Path::new("/dev/shm");
    Arc::new(if memory.is_dir() { Directory::within(memory) } else { Directory::new() })
}

fn path(number: u64) -> String {
    format!("/inventory/binaries/{number}")
}

/// A version of a binary; no two have the same length.
fn artifact(number: u64, version: u64) -> Artifact {
    let length = [5_000, 30_000, 70_000, 140_000][usize::try_from(number).unwrap()];
    Artifact::new(number * 1000 + version, length + version)
}

/// A cache of small answers, in which not all of the binaries fit.
fn configure(setup: &mut Setup, outside: &Outside) {
    outside.settings(setup);
    let data = setup.directory().join("data");
    fs::create_dir_all(&data).unwrap();
    setup.set_own_path("c8y.proxy.cache.path", data);
    setup.set_own("c8y.proxy.cache.max_size", 220_000);
    setup.set_own("c8y.proxy.cache.min_size", 1000);
    setup.set_own("c8y.proxy.cache.offline", "\"1h\"");
    setup.set_own("http.upload.min_free", 0);
}

/// What a client asks for, and what changes in the cloud.
#[derive(Clone, Copy, Debug)]
enum Step {
    Get(u64),
    Replace(u64, u64),
    Refuse(u64),
}

use Step::{Get, Refuse, Replace};

/// A life of a proxy in which these steps are done one after the other; `inject` may kill it.
fn live(
    recording: &mut Recording,
    outside: Outside,
    directory: &Arc<Directory>,
    inject: Option<&str>,
    steps: &[Step],
) -> Outside {
    let proxy = Service::start_in(directory, PROGRAM, |setup| {
        configure(setup, &outside);
        record::trace(setup, inject);
    });
    for step in steps {
        match *step {
            Replace(number, version) => {
                outside.cloud.serve(&path(number), &artifact(number, version));
            }
            Refuse(number) => {
                let gone = artifact(number, 1).refused("404 Not Found");
                outside.cloud.serve(&path(number), &gone);
            }
            Get(number) => {
                // It may have been killed.
                let asked = request("GET", &path(number), "Connection: close\r\n");
                let _gone = client::ask(proxy.address, asked);
            }
        }
    }
    proxy.stop();
    recording.append(&proxy);
    outside
}

/// The disks that may be found after a power cut, without those that differ in nothing but what is
/// in temporary files.
fn disks(ops: &[Op]) -> (usize, Vec<Tree>) {
    let (mut count, mut seen, mut trees) = (0, HashSet::new(), Vec::new());
    let mut contents = Contents::default();
    for done in 0..=ops.len() {
        replay::crashes(ops, done, &mut contents, |tree| {
            count += 1;
            let mut shape = tree.clone();
            for (path, content) in &mut shape.0 {
                if path.contains(TEMPORARY) {
                    *content = content.as_ref().map(|_| Content::default());
                }
            }
            if seen.insert(shape) {
                trees.push(tree);
            }
        });
    }
    (count, trees)
}

/// What was wrong in an answer from such a disk; `None` is right.
fn fault(number: u64, answer: &Answer) -> Option<String> {
    let tag = answer.field("etag").unwrap_or_default();
    let version =
        tag.trim_matches('"').strip_prefix("version-").and_then(|v| v.parse::<u64>().ok());
    let right = version.is_some_and(|version| {
        version / 1000 == number && answer.body == artifact(number, version % 1000).bytes()
    });
    let is_fault = answer.broken.is_none() && !right;
    is_fault.then(|| format!("binary {number}, {tag}: {} bytes", answer.body.len()))
}

/// Starts a proxy on a disk: what it serves without a cloud, and what of that was wrong; with the
/// cloud back, everything is right.
fn start_on(tree: &Tree, mut outside: Outside) -> (Outside, usize, Vec<String>) {
    let directory = directory();
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    tree.write_to(&data);
    // Before the cloud is stopped, or it may get the port of the cloud.
    let proxy = Service::start_in(&directory, PROGRAM, |setup| configure(setup, &outside));
    outside.cloud.stop();
    let ask = |number| client::ask(proxy.address, request("GET", &path(number), "")).unwrap();
    let (mut served, mut faults) = (0, Vec::new());
    for number in 0..PATHS {
        let answer = ask(number);
        if answer.status == 200 {
            served += 1;
            faults.extend(fault(number, &answer));
        } else {
            assert_eq!(answer.status, 502, "{}", answer.text());
        }
    }
    outside.cloud.restart().unwrap();
    for number in 0..PATHS {
        let now = artifact(number, 3);
        outside.cloud.serve(&path(number), &now);
        assert_all(&ask(number), &now);
    }
    (outside, served, faults)
}

/// What the proxy would take for an entry on one of these disks, and is not right.
fn torn(trees: &[Tree]) -> Vec<String> {
    let files = trees.iter().flat_map(|tree| &tree.0);
    let files = files.filter_map(|(path, content)| Some((path, content.as_ref()?)));
    let files: HashSet<_> = files.filter(|(path, _)| !path.contains(TEMPORARY)).collect();
    let wrong = files.into_iter().filter_map(|(name, content)| {
        let directory = directory();
        directory.write(name, &**content);
        let cached = list(directory.path()).unwrap().pop()?;
        let right = (0..PATHS).filter(|number| cached.is(&path(*number))).any(|number| {
            let mut versions = (1..=2).map(|version| artifact(number, version).bytes());
            let length = usize::try_from(cached.length).unwrap();
            versions.any(|version| version == content[..length])
        });
        (!right).then(|| format!("{cached:?} in {name}"))
    });
    wrong.collect()
}

/// Looks at all disks that a recording leads to, and starts a proxy on so many of them; how many
/// there were, how often something was served without the cloud, and what was wrong.
fn replay(recording: &[Op], starts: usize, mut outside: Outside) -> (usize, usize, Vec<String>) {
    let (count, trees) = disks(recording);
    let step = trees.len().div_ceil(starts).max(1);
    let (mut served, mut faults, mut started) = (0, torn(&trees), 0);
    for tree in trees.iter().step_by(step) {
        let (back, more, wrong) = start_on(tree, outside);
        (outside, served, started) = (back, served + more, started + 1);
        faults.extend(wrong);
    }
    eprintln!(
        "power cuts: {count} disks, {} of them different, a proxy started on {started}, {served} \
         answers without a cloud",
        trees.len()
    );
    (trees.len(), served, faults)
}

const LIFE: [Step; 16] = [
    Replace(0, 1),
    Replace(1, 1),
    Replace(2, 1),
    Replace(3, 1),
    Get(0),
    Get(1),
    Get(2),
    Get(0),
    Replace(1, 2),
    Get(1),
    Get(3),
    Get(2),
    Refuse(2),
    Get(2),
    Get(3),
    Get(0),
];

fn record() -> (Recording, Outside) {
    let mut recording = Recording::default();
    let directory = directory();
    let outside = live(&mut recording, Outside::new(), &directory, None, &LIFE);
    (recording, outside)
}

/// The calls, without what was written.
fn calls(ops: &[Op]) -> Vec<String> {
    let short = |op: &Op| match op {
        Op::Write { id, offset, data } => format!("Write {id} {offset} {}", data.len()),
        op => format!("{op:?}"),
    };
    ops.iter().map(short).collect()
}

#[test]
fn nothing_torn_is_served_from_a_cache_after_a_power_cut() {
    if !Tamper::is_possible() {
        return;
    }
    let (recording, outside) = record();
    let (_, served, faults) = replay(&recording.ops, 60, outside);
    assert_eq!(faults, [""; 0], "{:#?}", calls(&recording.ops));
    assert!(served > 20, "only {served} answers");
}

#[test]
fn a_download_is_written_in_pieces_that_the_kernel_keeps_whole() {
    if !Tamper::is_possible() {
        return;
    }
    let recording = record().0;
    let pieces = recording.ops.iter().filter_map(|op| match op {
        Op::Write { offset, data, .. } => Some(*offset..*offset + data.len()),
        _ => None,
    });
    let pieces: Vec<_> = pieces.collect();
    let is_across = |piece: &&Range<usize>| piece.start / PIECE != (piece.end - 1) / PIECE;
    assert_eq!(pieces.iter().find(is_across), None, "{pieces:?}");
    // Seven downloads, one of them of two pieces, each with what is known of it; some may be late.
    assert!((15..24).contains(&pieces.len()), "{}: {pieces:?}", pieces.len());
}

#[test]
fn a_sync_that_the_cache_leaves_out_is_seen() {
    if !Tamper::is_possible() {
        return;
    }
    let (recording, outside) = record();
    let is_sync = |op: &Op| matches!(op, Op::Sync { .. });
    assert!(recording.ops.iter().any(is_sync), "{:#?}", calls(&recording.ops));
    let without: Vec<_> = recording.ops.into_iter().filter(|op| !is_sync(op)).collect();
    assert!(!torn(&disks(&without).1).is_empty(), "no file is torn: {:#?}", calls(&without));
    let (_, _, faults) = replay(&without, 60, outside);
    assert!(!faults.is_empty(), "nobody misses a sync: {:#?}", calls(&without));
}

#[test]
#[ignore = "takes five minutes: make test-faults"]
fn nothing_torn_is_served_from_a_cache_whatever_came_before_a_power_cut() {
    if !Tamper::is_possible() {
        return;
    }
    let (begun, mut outside) = (Instant::now(), Outside::new());
    let (mut histories, mut disks, mut served) = (0, 0, 0);
    let mut seed = 1_u64;
    while begun.elapsed() < Duration::from_secs(300) {
        let mut chance = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let (mut recording, directory) = (Recording::default(), directory());
        for life in 0..3 {
            let steps: Vec<_> = (0..PATHS)
                .map(|number| Replace(number, 1 + chance(2)))
                .chain((0..8).map(|_| Get(0)))
                .collect();
            let steps: Vec<_> = steps
                .into_iter()
                .map(|step| match step {
                    Get(_) => match chance(6) {
                        0 => Refuse(chance(PATHS)),
                        1 => Replace(chance(PATHS), 1 + chance(2)),
                        _ => Get(chance(PATHS)),
                    },
                    step => step,
                })
                .collect();
            let call =
                ["fsync", "renameat", "unlinkat", "pwrite64"][usize::try_from(chance(4)).unwrap()];
            let inject = format!("inject={call}:signal=KILL:when={}", 1 + chance(8));
            let inject = (life < 2).then_some(inject);
            outside = live(&mut recording, outside, &directory, inject.as_deref(), &steps);
        }
        let (different, more, faults) = replay(&recording.ops, 10, outside);
        assert_eq!(faults, [""; 0], "{:#?}", calls(&recording.ops));
        (histories, disks) = (histories + 1, disks + different);
        (outside, served) = (Outside::new(), served + more);
    }
    eprintln!(
        "power cuts: {histories} histories of three lives, {disks} disks, {served} answers were \
         right"
    );
}

#[test]
#[ignore = "downloads a gigabyte: make test-faults"]
fn a_gigabyte_for_twenty_clients_takes_little_memory() {
    let program = release::built("tedge-c8y-proxy").unwrap_or_else(|| PROGRAM.to_owned());
    let grown = growth(&program, 1 << 30);
    assert!(grown < 2 << 20, "{grown} bytes");
}

#[test]
#[ignore = "keeps ten thousand answers: make test-faults"]
fn ten_thousand_answers_are_found_in_a_second_and_take_two_megabytes() {
    let program = release::built("tedge-c8y-proxy").unwrap_or_else(|| PROGRAM.to_owned());
    let (time, grown) = start_with(&program, 10_000);
    assert!(time < Duration::from_secs(1), "{time:?}");
    assert!(grown < 2 << 20, "{grown} bytes");
}
