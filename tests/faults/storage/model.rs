//! What the service has stored, as it should be, in memory; and what it should answer. Written
//! down from the contract, not from the code.

use std::collections::{BTreeMap, BTreeSet};

use super::steps::{Condition, Range};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) files: BTreeMap<String, File>,
    pub(super) directories: BTreeSet<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let begin = &self.content[..self.content.len().min(8)];
        write!(f, "{} bytes {begin:x?}… {:o}", self.content.len(), self.mode)
    }
}

/// What a download gets.
pub(super) struct Download<'a> {
    pub(super) status: u16,
    pub(super) content: &'a [u8],
    pub(super) content_range: Option<String>,
}

impl Model {
    /// The status of an upload; it changes nothing yet.
    pub(super) fn upload_status(&self, path: &str, condition: Condition) -> u16 {
        let is_below_file = parents(path).any(|parent| self.files.contains_key(parent));
        if is_below_file || self.directories.contains(path) {
            return 409;
        }
        if self.admits(path, condition) { 201 } else { 412 }
    }

    pub(super) fn store(&mut self, path: &str, content: Vec<u8>) {
        self.directories.extend(parents(path).map(str::to_owned));
        let mode = self.files.get(path).map_or(0o644, |file| file.mode);
        self.files.insert(path.to_owned(), File { content, mode });
    }

    pub(super) fn deletion_status(&self, path: &str, condition: Condition) -> u16 {
        match self.directories.contains(path) {
            true => 404,
            false if self.admits(path, condition) => 202,
            false => 412,
        }
    }

    /// Deletes a file, and the directories that are empty then.
    pub(super) fn delete(&mut self, path: &str) {
        self.files.remove(path);
        let Self { files, directories } = self;
        let mut up: Vec<_> = parents(path).collect();
        while let Some(directory) = up.pop() {
            let below = format!("{directory}/");
            let is_below = |name: &String| name.starts_with(&below);
            if files.keys().any(is_below) || directories.iter().any(is_below) {
                break;
            }
            directories.remove(directory);
        }
    }

    /// Directories without a file in or below them.
    pub(super) fn empty_directories(&self) -> BTreeSet<String> {
        let needed: BTreeSet<_> = self.files.keys().flat_map(|path| parents(path)).collect();
        self.directories.iter().filter(|it| !needed.contains(it.as_str())).cloned().collect()
    }

    /// Whether a change may be made; RFC 9110, section 13.1.
    fn admits(&self, path: &str, condition: Condition) -> bool {
        let is_there = self.files.contains_key(path);
        match condition {
            Condition::None
            | Condition::NoneMatchOther
            | Condition::UnmodifiedSinceSame
            | Condition::ModifiedSinceSame
            | Condition::ModifiedSinceLongAgo => true,
            Condition::MatchSame | Condition::MatchAny => is_there,
            Condition::MatchOther => false,
            Condition::NoneMatchSame
            | Condition::NoneMatchAny
            | Condition::UnmodifiedSinceLongAgo => !is_there,
        }
    }

    pub(super) fn download(
        &self,
        path: &str,
        is_head: bool,
        range: Range,
        condition: Condition,
    ) -> Download<'_> {
        let bare = |status| Download { status, content: &[], content_range: None };
        let Some(file) = self.files.get(path) else { return bare(404) };
        match condition {
            Condition::MatchOther | Condition::UnmodifiedSinceLongAgo => return bare(412),
            Condition::NoneMatchSame | Condition::NoneMatchAny | Condition::ModifiedSinceSame => {
                return bare(304);
            }
            _ => {}
        }
        let content = file.content.as_slice();
        let length = content.len() as u64;
        let whole = Download { status: 200, content, content_range: None };
        let (first, last) = match range {
            _ if is_head => return whole,
            Range::None | Range::Several | Range::PartOfOther => return whole,
            Range::Part(first, last) if first > last => return whole,
            Range::Part(first, last) => (first, last),
            Range::From(first) => (first, u64::MAX),
            Range::Last(1..) if length == 0 => return whole,
            Range::Last(0) => (length, u64::MAX),
            Range::Last(count) => (length.saturating_sub(count), u64::MAX),
        };
        if first >= length {
            let content_range = Some(format!("bytes */{length}"));
            return Download { content_range, ..bare(416) };
        }
        let last = last.min(length - 1);
        Download {
            status: 206,
            content: &content[first as usize..=last as usize],
            content_range: Some(format!("bytes {first}-{last}/{length}")),
        }
    }

    /// Whether `self` may be what is on the disk when something has failed half-way: the files of
    /// `before` or `after`, and no directory that is in neither.
    pub(super) fn is_between(&self, before: &Self, after: &Self) -> bool {
        let is_known =
            |it: &String| before.directories.contains(it) || after.directories.contains(it);
        (self.files == before.files || self.files == after.files)
            && self.directories.iter().all(is_known)
    }
}

/// The directories on the way, from the top.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}
