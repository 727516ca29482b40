//! The files that were used longest ago, as candidates for making room.
//!
//! Their list is bounded. As long as an entry is unchanged, every file that is not listed was used
//! later, since files only get younger.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ffi::CString;

use rustix::fs::Stat;

use super::walk::Visited;

/// How much memory the list may take, in bytes.
const MOST: usize = 64 * 1024;

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
    pub(super) fn sorted(self) -> Vec<Candidate> {
        let mut sorted = self.heap.into_sorted_vec();
        sorted.reverse();
        sorted
    }
}
