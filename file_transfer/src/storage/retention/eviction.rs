//! The least recently used files, as candidates for deletion.
//!
//! Their list is limited. While a listed file is unchanged, every file that is not listed was used
//! later, since files only become younger.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ffi::CString;

use rustix::fs::Stat;

use super::reads::LastUse;
use super::traversal::{Traversal, Visit, Visited};

/// The maximum memory of the list, in bytes.
const MOST: usize = 64 * 1024;

/// The next files to delete. When the list is used up, files are listed again.
#[derive(Default)]
pub(super) struct Oldest {
    /// The next one is at the end.
    candidates: Vec<Candidate>,
    listing: Option<(Traversal, Candidates)>,
    /// The number of the sweep that has listed and counted them. 0: no sweep has.
    pub(super) sweep: u64,
    /// How many listings have begun.
    pub(super) listings: u64,
    /// Whether a listed file was deleted since the last one began.
    pub(super) has_deleted: bool,
}

/// The least recently used files. While they are collected, the heap finds the one to drop if there
/// are too many.
pub(super) struct Candidates {
    heap: BinaryHeap<Candidate>,
    size: usize,
    /// Files that were used at this time or later are not listed.
    end: Option<LastUse>,
}

/// A file, in the order of its last use.
pub(super) struct Candidate {
    pub(super) last_use: LastUse,
    pub(super) inode: u64,
    pub(super) bytes: u64,
    /// The path of its directory, with a slash at its end if it is not the root.
    pub(super) path: Box<[u8]>,
    pub(super) name: CString,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.last_use.cmp(&other.last_use)
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.last_use == other.last_use
    }
}

impl Eq for Candidate {}

impl Candidate {
    fn size(&self) -> usize {
        size_of::<Self>() + self.path.len() + self.name.as_bytes().len()
    }

    /// Whether the file is the listed one and was not used since.
    pub(super) fn is_still(&self, stat: &Stat, last_use: LastUse) -> bool {
        stat.st_ino == self.inode && last_use <= self.last_use
    }
}

impl Oldest {
    /// Replaces the list.
    pub(super) fn renew(&mut self, candidates: Candidates, sweep: u64) {
        (self.candidates, self.listing, self.sweep) = (candidates.sorted(), None, sweep);
    }

    /// Takes the next file from the list.
    pub(super) fn pop(&mut self) -> Option<Candidate> {
        self.candidates.pop()
    }

    /// Whether all files are being listed.
    pub(super) fn is_listing(&self) -> bool {
        self.listing.is_some()
    }

    /// Begins to list all files.
    pub(super) fn list(&mut self, traversal: Traversal) {
        self.listing = Some((traversal, Candidates::new()));
        self.listings += 1;
        self.has_deleted = false;
    }

    /// Lists some more files.
    pub(super) fn list_more(&mut self, last_use: impl Fn(&Stat) -> LastUse) {
        let Some((traversal, candidates)) = &mut self.listing else { return };
        let is_more = traversal.step(&mut |visit| {
            if let Visit::File(file) = visit {
                candidates.add(file, last_use(file.stat));
            }
            false
        });
        if !is_more {
            if let Some((_, candidates)) = self.listing.take() {
                self.renew(candidates, 0);
            }
        }
    }
}

impl Candidates {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), size: 0, end: None }
    }

    /// Adds a file, if the list has room or the file was used before a listed one.
    pub(super) fn add(&mut self, file: &Visited<'_>, last_use: LastUse) {
        // Deleting an empty file makes no room.
        if file.stat.st_size == 0 || self.end.is_some_and(|end| last_use >= end) {
            return;
        }
        let (path, name) = (file.path.into(), file.name.to_owned());
        let (inode, bytes) = (file.stat.st_ino, file.stat.st_size as u64);
        let candidate = Candidate { last_use, inode, bytes, path, name };
        self.size += candidate.size();
        self.heap.push(candidate);
        while self.size > MOST {
            let Some(last) = self.heap.pop() else { break };
            self.size -= last.size();
            self.end = Some(last.last_use);
        }
    }

    /// The files, with the least recently used one at the end.
    fn sorted(self) -> Vec<Candidate> {
        let mut sorted = self.heap.into_sorted_vec();
        sorted.reverse();
        sorted
    }
}
