//! Keeps recently read small files open for a moment. Reading one again then needs a check of its
//! name, but no open. A file that has changed is opened again. Requests that arrived together share
//! one check and one read.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::net::Arrival;
use common::storage::{SMALL, read_cached};

use super::Version;
use super::lookup::{Lookup, Parent};
use crate::path::FilePath;

/// The maximum number of open files.
const CAPACITY: usize = 8;
/// How long a file stays open after its last use. During this time, a removed file keeps its few
/// blocks, and its file system cannot be unmounted.
const LIFETIME: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct OpenFileCache(Mutex<Vec<OpenFile>>);

struct OpenFile {
    path: FilePath,
    parent: Option<Parent>,
    found: Found,
    used: Instant,
    /// The requests for which it was checked and read last.
    arrival: Arrival,
}

/// An open file.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) file: Arc<OwnedFd>,
    pub(super) version: Version,
    /// All of it, if it is small and in memory.
    pub(super) content: Option<Bytes>,
}

impl Found {
    /// Reads the file if it is small.
    pub(super) fn new(file: Arc<OwnedFd>, version: Version) -> Self {
        let content = Self::read(&file, &version);
        Self { file, version, content }
    }

    fn read(file: &OwnedFd, version: &Version) -> Option<Bytes> {
        let length = usize::try_from(version.length).ok()?;
        let content = (1..=SMALL).contains(&length).then(|| read_cached(file, length))?;
        content.filter(|content| content.len() == length)
    }
}

impl OpenFileCache {
    /// The file at this path, if it is open and unchanged. Does not wait for the disk, since the
    /// names of open files are in memory.
    pub(super) fn find(
        &self,
        path: &FilePath,
        lookup: &Lookup,
        now: Instant,
        arrival: Arrival,
    ) -> Option<Found> {
        let mut files = self.lock();
        let index = files.iter().position(|open| open.path == *path)?;
        let open = &mut files[index];
        if open.arrival == arrival {
            return Some(open.found.clone());
        }
        let found = &mut open.found;
        let there = || lookup.stat_cached(path, open.parent);
        if now - open.used < LIFETIME && there().ok() == Some(found.version) {
            (open.used, open.arrival) = (now, arrival);
            found.content = Found::read(&found.file, &found.version);
            return Some(found.clone());
        }
        files.swap_remove(index);
        None
    }

    /// Adds an open file. If the cache is full, the least recently used file is closed.
    pub(super) fn insert(
        &self,
        path: &FilePath,
        lookup: &Lookup,
        found: &Found,
        now: Instant,
        arrival: Arrival,
    ) {
        if found.version.length > SMALL as u64 {
            return;
        }
        let mut files = self.lock();
        if files.len() == CAPACITY {
            let oldest = (0..CAPACITY).min_by_key(|index| files[*index].used).unwrap_or(0);
            files.swap_remove(oldest);
        }
        let (path, parent, found) = (path.clone(), lookup.parent(path), found.clone());
        files.push(OpenFile { path, parent, found, used: now, arrival });
    }

    /// Closes files that have not been used for a while.
    pub(super) fn close_unused(&self) {
        let now = Instant::now();
        let mut files = self.lock();
        files.retain(|open| now - open.used < LIFETIME);
        if files.is_empty() {
            files.shrink_to_fit();
        }
    }

    /// Closes files that no client is reading.
    pub(super) fn close_idle(&self) {
        self.lock().retain(|open| Arc::strong_count(&open.found.file) > 1);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<OpenFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "no executor waits here")]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::lookup::Wait;
    use super::*;

    struct Files {
        directory: PathBuf,
        lookup: Lookup,
        open_files: OpenFileCache,
    }

    impl Files {
        fn new() -> Self {
            let directory = crate::tests::new_directory();
            fs::create_dir_all(directory.join("a")).unwrap();
            let root = fs::File::open(&directory).unwrap();
            let lookup = Lookup::new(Arc::new(root.into()), &directory);
            Self { directory, lookup, open_files: OpenFileCache::default() }
        }

        /// Writes a file, opens it, and adds it.
        fn add(&self, name: &str, content: &str) -> FilePath {
            fs::write(self.directory.join(name), content).unwrap();
            let path = FilePath::parse(&format!("/te/v1/files/{name}")).unwrap();
            let (file, version) = self.lookup.open(&path, Wait::Allowed).unwrap();
            let found = Found::new(Arc::new(file), version);
            let now = Instant::now();
            self.open_files.insert(&path, &self.lookup, &found, now, Arrival::begin());
            path
        }

        fn has(&self, path: &FilePath) -> bool {
            let arrival = Arrival::begin();
            self.open_files.find(path, &self.lookup, Instant::now(), arrival).is_some()
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            fs::remove_dir_all(self.directory.parent().unwrap()).unwrap();
        }
    }

    #[test]
    fn finds_a_file_as_long_as_its_name_leads_to_it() {
        let files = Files::new();
        for name in ["b", "a/b"] {
            let path = files.add(name, "old");
            assert!(files.has(&path) && files.has(&path), "{name}");

            let at = files.directory.join(name);
            fs::write(at.with_extension("new"), "new").unwrap();
            fs::rename(at.with_extension("new"), &at).unwrap();
            assert!(!files.has(&path), "{name} was replaced");

            let path = files.add(name, "old");
            fs::remove_file(&at).unwrap();
            assert!(!files.has(&path), "{name} was removed");

            let path = files.add(name, "old");
            fs::rename(&at, at.with_extension("other")).unwrap();
            std::os::unix::fs::symlink(at.with_extension("other"), &at).unwrap();
            assert!(!files.has(&path), "{name} is a symbolic link now");
            fs::remove_file(&at).unwrap();
        }
    }

    #[test]
    fn a_file_that_grows_is_opened_again() {
        let files = Files::new();
        let path = files.add("b", "old");
        fs::write(files.directory.join("b"), "longer").unwrap();
        assert!(!files.has(&path));
    }

    #[test]
    fn a_directory_that_becomes_a_symbolic_link_is_not_followed() {
        let files = Files::new();
        let path = files.add("a/b", "old");
        let directory = &files.directory;
        fs::rename(directory.join("a"), directory.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", directory.join("a")).unwrap();
        assert!(!files.has(&path));
    }

    #[test]
    fn keeps_a_few_small_files_for_a_moment() {
        let files = Files::new();
        let first = files.add("0", "x");
        let large = files.add("large", &"x".repeat(SMALL + 1));
        assert!(files.has(&first) && !files.has(&large));
        for number in 1..=CAPACITY {
            files.add(&number.to_string(), "x");
        }
        assert!(!files.has(&first));
        assert_eq!(files.open_files.lock().len(), CAPACITY);

        for open in &mut *files.open_files.lock() {
            open.used -= LIFETIME;
        }
        files.open_files.close_unused();
        assert_eq!(files.open_files.lock().len(), 0);
    }
}
