//! The files that were used longest ago, as candidates for making room.
//!
//! Their list is bounded. As long as an entry is unchanged, every file that is not listed was used
//! later, since files only get younger.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ffi::CString;

use rustix::fs::Stat;

use super::walk::{Visit, Visited, Walk};

/// How much memory the list may take, in bytes.
const MOST: usize = 64 * 1024;

/// The files to delete next, listed again once they are used up.
#[derive(Default)]
pub(super) struct Oldest {
    /// The last one first.
    candidates: Vec<Candidate>,
    /// A listing that is under way.
    listing: Option<(Walk, Candidates)>,
    /// How many listings were begun.
    pub(super) listings: u64,
    /// Whether a listed file was deleted since the last one began.
    pub(super) has_deleted: bool,
}

/// Files, those used longest ago. While they are collected, the heap tells which one goes if there
/// is one more.
pub(super) struct Candidates {
    heap: BinaryHeap<Candidate>,
    size: usize,
    /// Files that were used at this time or later are not listed.
    end: i64,
}

/// A file, in the order of its last use.
pub(super) struct Candidate {
    pub(super) last_use: i64,
    pub(super) inode: u64,
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

    /// Whether the file is the one that was listed, and was not used since.
    pub(super) fn is_still(&self, stat: &Stat, last_use: i64) -> bool {
        stat.st_ino == self.inode && last_use <= self.last_use
    }
}

impl Oldest {
    /// Replaces the list by a new one.
    pub(super) fn renew(&mut self, candidates: Candidates) {
        (self.candidates, self.listing) = (candidates.sorted(), None);
    }

    /// The next file, if one is listed.
    pub(super) fn pop(&mut self) -> Option<Candidate> {
        self.candidates.pop()
    }

    /// Whether all files are being listed.
    pub(super) fn is_listing(&self) -> bool {
        self.listing.is_some()
    }

    /// Begins to list all files.
    pub(super) fn list(&mut self, walk: Walk) {
        self.listing = Some((walk, Candidates::new()));
        self.listings += 1;
        self.has_deleted = false;
    }

    /// Lists some more files.
    pub(super) fn list_more(&mut self, last_use: impl Fn(&Stat) -> i64) {
        let Some((walk, candidates)) = &mut self.listing else { return };
        let is_more = walk.step(&mut |visit| {
            if let Visit::File(file) = visit {
                candidates.add(file, last_use(file.stat));
            }
            false
        });
        if !is_more {
            if let Some((_, candidates)) = self.listing.take() {
                self.renew(candidates);
            }
        }
    }
}

impl Candidates {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), size: 0, end: i64::MAX }
    }

    /// Adds a file, unless so many others were used before it that there is no room.
    pub(super) fn add(&mut self, file: &Visited<'_>, last_use: i64) {
        // An empty one makes no room.
        if file.stat.st_size == 0 || last_use >= self.end {
            return;
        }
        let (path, name) = (file.path.into(), file.name.to_owned());
        let candidate = Candidate { last_use, inode: file.stat.st_ino, path, name };
        self.size += candidate.size();
        self.heap.push(candidate);
        while self.size > MOST {
            let Some(last) = self.heap.pop() else { break };
            self.size -= last.size();
            self.end = last.last_use;
        }
    }

    /// The files, the one that was used longest ago at the end.
    fn sorted(self) -> Vec<Candidate> {
        let mut sorted = self.heap.into_sorted_vec();
        sorted.reverse();
        sorted
    }
}
