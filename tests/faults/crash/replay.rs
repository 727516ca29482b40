//! What may be on a disk after a power cut: all that was synced, and any part of the rest.
//!
//! An operation that was not synced can be on the disk or not. A name can be new, old or missing.
//! Content can be complete, missing, partly there, or zeros if only the length was stored. POSIX
//! promises no more; most file systems store more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::path::Path;
use std::rc::Rc;

use super::record::{Id, Op, ROOT};

/// What is found after a crash: files with their content, and directories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tree(pub(super) BTreeMap<String, Option<Content>>);

/// What is in a file: made once, however many trees have it.
#[derive(Clone, Debug, Default, Eq)]
pub(super) struct Content {
    bytes: Rc<Vec<u8>>,
    hash: u64,
}

impl Content {
    fn new(bytes: Vec<u8>) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self { bytes: Rc::new(bytes), hash: hasher.finish() }
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        let is_same = Rc::ptr_eq(&self.bytes, &other.bytes);
        self.hash == other.hash && (is_same || self.bytes == other.bytes)
    }
}

impl Hash for Content {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Tree {
    pub(super) fn write_to(&self, directory: &Path) {
        for (path, content) in &self.0 {
            let path = directory.join(path);
            match content {
                None => fs::create_dir_all(path).unwrap(),
                Some(content) => fs::write(path, &**content).unwrap(),
            }
        }
    }
}

/// How much of an operation that was not synced has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Arrival {
    None,
    All,
    Half,
    /// The length of the file, but not its content.
    Zeros,
}

/// If there are more, not all combinations are tried: none, all, one more or less, and random ones.
const MOST: usize = 300;

/// The contents that files may have, by their writes and what has arrived of each.
#[derive(Default)]
pub(super) struct Contents(HashMap<Vec<(usize, Arrival)>, Content>);

/// Calls `check` with each tree that may be found after the first `count` operations. `contents`
/// are those of these operations.
pub(super) fn crashes(
    ops: &[Op],
    count: usize,
    contents: &mut Contents,
    mut check: impl FnMut(Tree),
) {
    let pending = pending(ops, count);
    let choices: Vec<&[Arrival]> = pending
        .iter()
        .map(|&index| match ops[index] {
            Op::Write { .. } => {
                [Arrival::None, Arrival::All, Arrival::Half, Arrival::Zeros].as_slice()
            }
            _ => &[Arrival::None, Arrival::All],
        })
        .collect();
    let number = choices
        .iter()
        .try_fold(1_usize, |product, choice| product.checked_mul(choice.len()))
        .unwrap_or(usize::MAX);

    let mut seen = HashSet::new();
    let mut visit = |arrivals: &[Arrival]| {
        let tree = tree(ops, count, &pending, arrivals, contents);
        if seen.insert(tree.clone()) {
            check(tree);
        }
    };
    let pick = |mut number: usize| -> Vec<Arrival> {
        let digit = |choice: &&[Arrival]| {
            let arrival = choice[number % choice.len()];
            number /= choice.len();
            arrival
        };
        choices.iter().map(digit).collect()
    };
    if number <= MOST {
        (0..number).for_each(|number| visit(&pick(number)));
        return;
    }
    for all in [Arrival::None, Arrival::All] {
        let mut arrivals = vec![all; choices.len()];
        visit(&arrivals);
        for (index, choice) in choices.iter().enumerate() {
            for &one in *choice {
                arrivals[index] = one;
                visit(&arrivals);
            }
            arrivals[index] = all;
        }
    }
    let mut chance = 0x9e37_79b9_usize + count;
    for _ in 0..MOST {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005_u64 as usize).wrapping_add(1);
        visit(&pick(chance >> 8));
    }
}

/// The operations that no sync has made sure of.
fn pending(ops: &[Op], count: usize) -> Vec<usize> {
    let is_synced = |index: usize, ids: &[Id]| {
        ops[index..count]
            .iter()
            .any(|op| matches!(op, Op::Sync { id, covers } if ids.contains(id) && *covers > index))
    };
    let is_pending = |&index: &usize| match &ops[index] {
        Op::Mkdir { directory, .. }
        | Op::Create { directory, .. }
        | Op::Unlink { directory, .. } => !is_synced(index, &[*directory]),
        Op::Write { id, .. } => !is_synced(index, &[*id]),
        Op::Rename { from, to, .. } => !is_synced(index, &[from.0, to.0]),
        Op::Sync { .. } | Op::Answer => false,
    };
    (0..count).filter(is_pending).collect()
}

fn tree(
    ops: &[Op],
    count: usize,
    pending: &[usize],
    arrivals: &[Arrival],
    contents: &mut Contents,
) -> Tree {
    let mut names: HashMap<Id, BTreeMap<&str, Id>> = HashMap::from([(ROOT, BTreeMap::new())]);
    let mut writes: HashMap<Id, Vec<(usize, Arrival)>> = HashMap::new();
    let mut arrivals = pending.iter().zip(arrivals).peekable();
    for (index, op) in ops[..count].iter().enumerate() {
        let arrival = match arrivals.next_if(|(pending, _)| **pending == index) {
            Some((_, arrival)) => *arrival,
            None => Arrival::All,
        };
        if let Op::Mkdir { id, .. } = op {
            names.entry(*id).or_default();
        }
        if arrival == Arrival::None {
            continue;
        }
        match op {
            Op::Mkdir { directory, name, id } | Op::Create { directory, name, id } => {
                names.entry(*directory).or_default().insert(name, *id);
            }
            Op::Write { id, .. } => writes.entry(*id).or_default().push((index, arrival)),
            Op::Rename { from, to, id } => {
                let source = names.entry(from.0).or_default();
                if source.get(&*from.1) == Some(id) {
                    source.remove(&*from.1);
                }
                names.entry(to.0).or_default().insert(&to.1, *id);
            }
            Op::Unlink { directory, name } => {
                names.entry(*directory).or_default().remove(&**name);
            }
            Op::Sync { .. } | Op::Answer => {}
        }
    }
    let contents = writes.into_iter().map(|(id, writes)| (id, contents.of(ops, writes))).collect();
    let mut tree = Tree::default();
    gather(ROOT, "", &names, &contents, &mut tree);
    tree
}

impl Contents {
    fn of(&mut self, ops: &[Op], writes: Vec<(usize, Arrival)>) -> Content {
        let make = |writes: &Vec<(usize, Arrival)>| {
            let mut content = Vec::new();
            for (index, arrival) in writes {
                let Op::Write { offset, data, .. } = &ops[*index] else { unreachable!() };
                let arrived = if *arrival == Arrival::Half { data.len() / 2 } else { data.len() };
                content.resize(content.len().max(offset + arrived), 0);
                if *arrival != Arrival::Zeros {
                    content[*offset..offset + arrived].copy_from_slice(&data[..arrived]);
                }
            }
            Content::new(content)
        };
        self.0.entry(writes).or_insert_with_key(make).clone()
    }
}

fn gather(
    directory: Id,
    prefix: &str,
    names: &HashMap<Id, BTreeMap<&str, Id>>,
    contents: &HashMap<Id, Content>,
    tree: &mut Tree,
) {
    for (name, id) in &names[&directory] {
        let path = format!("{prefix}{name}");
        if names.contains_key(id) {
            tree.0.insert(path.clone(), None);
            gather(*id, &format!("{path}/"), names, contents, tree);
        } else {
            tree.0.insert(path, Some(contents.get(id).cloned().unwrap_or_default()));
        }
    }
}
