//! The power is cut at every point: no file whose upload was acknowledged is missing or torn, and
//! after a new start nothing is left of unfinished ones.
//!
//! What the real program does to its disk is recorded, and replayed to each prefix in which what
//! was not synced may or may not have arrived. On each disk that comes out of it a service is
//! started.

mod record;
mod replay;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use record::{Op, Recording};
use replay::{Content, Contents, Tree};

use super::storage::Tamper;
use crate::support::client::Client;
use crate::support::directory::Directory;
use crate::support::service::{Service, Setup};
use crate::{prepare, put, request, start_again, stored};

/// Where unfinished uploads are.
const RESERVED: &str = ".tedge-uploads";
/// Where the service keeps files, below `data.path`.
const FILES: &str = "file-transfer/";

/// A change, as its client asks for it.
#[derive(Clone, Debug)]
struct Change {
    path: &'static str,
    /// `None` is a deletion.
    content: Option<Vec<u8>>,
}

/// Letters, which strace shows as they are.
fn letters(count: usize, seed: u64) -> Vec<u8> {
    crate::bytes(count, seed).into_iter().map(|byte| b'a' + byte % 26).collect()
}

fn upload(path: &'static str, count: usize, seed: u64) -> Change {
    Change { path, content: Some(letters(count, seed)) }
}

fn deletion(path: &'static str) -> Change {
    Change { path, content: None }
}

/// Services one after the other on one directory, and what they were asked.
#[derive(Default)]
struct History {
    recording: Recording,
    /// In order, and whether each was acknowledged.
    changes: Vec<(Change, bool)>,
}

impl History {
    /// Has a service make these changes one after the other; `inject` may kill it.
    fn live(
        &mut self,
        directory: &Arc<Directory>,
        inject: Option<&str>,
        configure: impl FnOnce(&mut Setup),
        changes: Vec<Change>,
    ) {
        let service = Service::start_in(directory, crate::PROGRAM, |setup| {
            prepare(setup);
            record::trace(setup, inject);
            configure(setup);
        });
        let mut client = Client::connect(service.address);
        for change in changes {
            let sent = match &change.content {
                Some(content) => put(change.path, content),
                None => request("DELETE", change.path).into_bytes(),
            };
            let _ = client.send(sent);
            let answer = client.try_answer().ok().flatten();
            let is_done = answer.as_ref().is_some_and(|answer| answer.status < 300);
            assert!(is_done || answer.is_none(), "{change:?}: {answer:?}");
            self.changes.push((change, is_done));
            if !is_done {
                break;
            }
        }
        drop(client);
        service.stop();
        self.recording.append(&service);
    }

    /// For each path what may be found, after so many answers.
    fn expected(&self, answers: usize) -> BTreeMap<&'static str, BTreeSet<Option<&[u8]>>> {
        let mut expected: BTreeMap<_, _> = BTreeMap::new();
        let mut left = answers;
        for (change, is_done) in &self.changes {
            let may_be = expected.entry(change.path).or_insert_with(|| BTreeSet::from([None]));
            if *is_done && left > 0 {
                may_be.clear();
            }
            may_be.insert(change.content.as_deref());
            if *is_done && left == 0 {
                // It is under way; nothing later has begun.
                break;
            }
            left -= usize::from(*is_done);
        }
        expected
    }

    /// Each disk that may be found, with what is missing or torn on it.
    fn crashes(&self, ops: &[Op], mut check: impl FnMut(Tree, Vec<String>)) {
        let mut contents = Contents::default();
        for count in 0..=ops.len() {
            let answers = ops[..count].iter().filter(|op| matches!(op, Op::Answer)).count();
            let expected = self.expected(answers);
            replay::crashes(ops, count, &mut contents, |tree| {
                let found = |path: &str| tree.0.get(&format!("{FILES}{path}"))?.as_deref();
                let is_wrong = |(path, may_be): (&&str, &BTreeSet<Option<&[u8]>>)| {
                    (!may_be.contains(&found(path))).then(|| {
                        let length = found(path).map(<[u8]>::len);
                        format!("{path} after {answers} answers and {count} calls: {length:?}")
                    })
                };
                let mut losses: Vec<_> = expected.iter().filter_map(is_wrong).collect();
                let is_known = |path: &&String| {
                    let path = path.strip_prefix(FILES);
                    path.is_some_and(|path| {
                        path.starts_with(RESERVED) || expected.contains_key(path)
                    })
                };
                let files = tree.0.iter().filter(|(_, content)| content.is_some());
                let strange = files.map(|(path, _)| path).find(|path| !is_known(path));
                losses.extend(strange.map(|path| format!("{path} was never uploaded")));
                check(tree, losses);
            });
        }
    }

    fn losses(&self, ops: &[Op]) -> Vec<String> {
        let mut all = Vec::new();
        self.crashes(ops, |_, losses| all.extend(losses));
        all
    }
}

/// Starts a service on each of these disks: what is there stays, and nothing else does.
fn start_on(trees: &[Tree]) {
    for tree in trees {
        let directory = Arc::new(Directory::new());
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        tree.write_to(&data);
        let service = start_again(&directory);
        let expected: Vec<_> = tree
            .0
            .iter()
            .filter_map(|(path, content)| Some((path.strip_prefix(FILES)?, content.as_deref()?)))
            .filter(|(path, _)| !path.starts_with(RESERVED))
            .collect();
        let left: Vec<_> = stored(&service).into_keys().collect();
        assert_eq!(left.len(), expected.len(), "{left:?} are left of {:?}", tree.0.keys());
        let mut client = Client::connect(service.address);
        for (path, content) in &expected {
            let answer = client.exchange(request("GET", path));
            assert!(answer.status == 200 && answer.body == *content, "{path} is not served");
        }
    }
}

/// Asserts that nothing is ever lost in this history, and starts a service on so many of the
/// disks. Returns how many disks there were, and on how many one was started.
fn assert_nothing_lost(history: &History, starts: usize) -> (usize, usize) {
    let (mut crashes, mut seen, mut trees) = (0, HashSet::new(), Vec::new());
    history.crashes(&history.recording.ops, |tree, losses| {
        assert!(losses.is_empty(), "{losses:#?}\nin {:#?}", calls(&history.recording.ops));
        crashes += 1;
        // What is in a temporary file makes no difference.
        let mut shape = tree.clone();
        for (path, content) in &mut shape.0 {
            if path.starts_with(&format!("{FILES}{RESERVED}")) {
                *content = content.as_ref().map(|_| Content::default());
            }
        }
        if seen.insert(shape) {
            trees.push(tree);
        }
    });
    let step = trees.len().div_ceil(starts).max(1);
    let picked: Vec<_> = trees.into_iter().step_by(step).collect();
    start_on(&picked);
    (crashes, picked.len())
}

/// The calls, without what was written.
fn calls(ops: &[Op]) -> Vec<String> {
    let short = |op: &Op| match op {
        Op::Write { id, offset, data } => format!("Write {id} {offset} {}", data.len()),
        op => format!("{op:?}"),
    };
    ops.iter().map(short).collect()
}

fn directory() -> Arc<Directory> {
    Arc::new(Directory::new())
}

fn one_upload(inject: Option<&str>, configure: impl FnOnce(&mut Setup)) -> History {
    let mut history = History::default();
    history.live(&directory(), inject, configure, vec![upload("a/b/foo", 70_000, 1)]);
    history
}

#[test]
fn no_acknowledged_file_is_missing_or_torn_after_a_power_cut() {
    if !Tamper::is_possible() {
        return;
    }
    let mut history = History::default();
    let changes = vec![
        upload("foo", 10, 1),
        upload("foo", 70_000, 2),
        upload("a/b/foo", 2000, 3),
        upload("a/foo", 0, 4),
        deletion("foo"),
        deletion("a/missing"),
        upload("foo", 3000, 5),
        upload("a/b/foo", 140_000, 6),
    ];
    history.live(&directory(), None, |_| {}, changes);
    let (crashes, starts) = assert_nothing_lost(&history, 100);
    eprintln!("power cuts: {crashes} disks, a service started on {starts}");
    assert!(crashes > 100, "only {crashes} disks");
}

#[test]
fn what_a_killed_service_has_made_is_on_the_disk_before_more_is_promised() {
    if !Tamper::is_possible() {
        return;
    }
    // The first fsync of all is at the start, in another thread.
    for (call, nth) in [("fchmod", 1), ("fchmod", 2), ("fsync", 2), ("renameat", 1), ("fsync", 4)] {
        let (mut history, directory) = (History::default(), directory());
        let inject = format!("inject={call}:signal=KILL:when={nth}");
        history.live(&directory, Some(&inject), |_| {}, vec![upload("a/b/foo", 100, 1)]);
        assert!(!history.changes[0].1, "it was not killed at {call} {nth}");
        let more = vec![upload("a/b/bar", 100, 2), upload("a/baz", 100, 3), deletion("a/b/foo")];
        history.live(&directory, None, |_| {}, more);
        assert_nothing_lost(&history, 20);
    }
}

#[test]
fn a_sync_that_is_missing_is_seen() {
    if !Tamper::is_possible() {
        return;
    }
    let history = one_upload(None, |_| {});
    let ops = &history.recording.ops;
    assert_eq!(history.losses(ops), [""; 0]);
    let syncs: Vec<_> =
        (0..ops.len()).filter(|&index| matches!(ops[index], Op::Sync { .. })).collect();
    assert_eq!(syncs.len(), 5, "the content, and a directory for each name: {:#?}", calls(ops));
    for sync in syncs {
        let mut without = ops.clone();
        without[sync] = Op::Sync { id: usize::MAX, covers: 0 };
        assert!(!history.losses(&without).is_empty(), "nobody misses {:?}", ops[sync]);
    }

    let lied_to = one_upload(Some("inject=fsync:retval=0"), |_| {});
    assert!(!lied_to.losses(&lied_to.recording.ops).is_empty(), "a disk that lies is not seen");
    let unsynced = one_upload(None, |setup| setup.set_own("http.upload.sync", false));
    assert!(!unsynced.losses(&unsynced.recording.ops).is_empty(), "sync = false is not seen");
}

#[test]
#[ignore = "takes five minutes: make test-faults"]
fn no_acknowledged_file_is_missing_or_torn_after_a_power_cut_whatever_came_before() {
    if !Tamper::is_possible() {
        return;
    }
    const PATHS: [&str; 6] = ["foo", "a/foo", "a/b/foo", "a/b/bar", "c/d/e/foo", "c/bar"];
    let begun = Instant::now();
    let (mut histories, mut crashes, mut starts, mut seed) = (0, 0, 0, 0);
    while begun.elapsed() < Duration::from_secs(300) {
        let (mut history, directory) = (History::default(), directory());
        for life in 0..3 {
            let mut chance = || {
                seed += 1;
                usize::from_le_bytes(crate::bytes(8, seed).try_into().unwrap()) >> 8
            };
            let changes = (0..1 + chance() % 4).map(|_| match chance() % 4 {
                0 => deletion(PATHS[chance() % PATHS.len()]),
                _ => {
                    let length = [0, 10, 5000, 66_000, 140_000][chance() % 5];
                    upload(PATHS[chance() % PATHS.len()], length, chance() as u64)
                }
            });
            let changes = changes.collect();
            // The first fsync is at the start.
            let call = ["fsync", "renameat", "mkdirat", "pwrite64", "fchmod"][chance() % 5];
            let inject = format!("inject={call}:signal=KILL:when={}", 2 + chance() % 5);
            history.live(&directory, (life < 2).then_some(&*inject), |_| {}, changes);
        }
        let (more_crashes, more_starts) = assert_nothing_lost(&history, 30);
        (histories, crashes) = (histories + 1, crashes + more_crashes);
        starts += more_starts;
    }
    eprintln!(
        "power cuts: {histories} histories of three lives, {crashes} disks, a service started on \
         {starts}"
    );
}
