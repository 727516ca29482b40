//! The small files that were read last, still open for a moment: whoever asks for one of them again
//! finds it by a look at its name alone. What is not as it was is opened anew.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Version;
use super::lookup::Resolver;
use super::traffic::SMALL;
use crate::path::FilePath;

/// How many stay open.
const MOST: usize = 8;
/// How long after they were used last. Until then a file that is removed keeps its few blocks, and
/// its file system cannot be unmounted.
const MOMENT: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Recent(Mutex<Vec<Kept>>);

struct Kept {
    path: FilePath,
    file: Arc<OwnedFd>,
    version: Version,
    used: Instant,
}

impl Recent {
    /// The file of this name, if it is open and still has it. Does not wait: what is open has its
    /// name in memory.
    pub(super) fn find(
        &self,
        path: &FilePath,
        resolver: &Resolver,
    ) -> Option<(Arc<OwnedFd>, Version)> {
        let mut all = self.lock();
        let place = all.iter().position(|kept| kept.path == *path)?;
        let now = Instant::now();
        let kept = &mut all[place];
        if now - kept.used < MOMENT && resolver.look_cached(path).ok() == Some(kept.version) {
            kept.used = now;
            return Some((kept.file.clone(), kept.version));
        }
        all.swap_remove(place);
        None
    }

    /// Keeps a file that was opened, in place of the one that was used longest ago.
    pub(super) fn keep(&self, path: &FilePath, file: &Arc<OwnedFd>, version: Version) {
        if version.length > SMALL as u64 {
            return;
        }
        let mut all = self.lock();
        if all.len() == MOST {
            let oldest = (0..MOST).min_by_key(|place| all[*place].used).unwrap_or(0);
            all.swap_remove(oldest);
        }
        let (path, file) = (path.clone(), file.clone());
        all.push(Kept { path, file, version, used: Instant::now() });
    }

    /// Closes those whose moment is over.
    pub(super) fn let_go(&self) {
        let now = Instant::now();
        let mut all = self.lock();
        all.retain(|kept| now - kept.used < MOMENT);
        if all.is_empty() {
            all.shrink_to_fit();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "no executor waits here")]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::lookup::Haste;
    use super::*;

    struct Files {
        directory: PathBuf,
        resolver: Resolver,
        recent: Recent,
    }

    impl Files {
        fn new() -> Self {
            let directory = crate::tests::new_directory();
            fs::create_dir_all(directory.join("a")).unwrap();
            let root = fs::File::open(&directory).unwrap();
            let resolver = Resolver::new(Arc::new(root.into()));
            Self { directory, resolver, recent: Recent::default() }
        }

        /// Writes a file, opens it, and keeps it.
        fn keep(&self, name: &str, content: &str) -> FilePath {
            fs::write(self.directory.join(name), content).unwrap();
            let path = FilePath::parse(&format!("/te/v1/files/{name}")).unwrap();
            let (file, version) = self.resolver.open(&path, Haste::Patient).unwrap();
            self.recent.keep(&path, &Arc::new(file), version);
            path
        }

        fn has(&self, path: &FilePath) -> bool {
            self.recent.find(path, &self.resolver).is_some()
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            fs::remove_dir_all(self.directory.parent().unwrap()).unwrap();
        }
    }

    #[test]
    fn a_file_is_found_as_long_as_its_name_leads_to_it() {
        let files = Files::new();
        for name in ["b", "a/b"] {
            let path = files.keep(name, "old");
            assert!(files.has(&path) && files.has(&path), "{name}");

            let at = files.directory.join(name);
            fs::write(at.with_extension("new"), "new").unwrap();
            fs::rename(at.with_extension("new"), &at).unwrap();
            assert!(!files.has(&path), "{name} was replaced");

            let path = files.keep(name, "old");
            fs::remove_file(&at).unwrap();
            assert!(!files.has(&path), "{name} was removed");

            let path = files.keep(name, "old");
            fs::rename(&at, at.with_extension("other")).unwrap();
            std::os::unix::fs::symlink(at.with_extension("other"), &at).unwrap();
            assert!(!files.has(&path), "{name} is a symbolic link now");
            fs::remove_file(&at).unwrap();
        }
    }

    #[test]
    fn a_file_that_grows_is_opened_anew() {
        let files = Files::new();
        let path = files.keep("b", "old");
        fs::write(files.directory.join("b"), "longer").unwrap();
        assert!(!files.has(&path));
    }

    #[test]
    fn a_directory_that_becomes_a_symbolic_link_is_not_followed() {
        let files = Files::new();
        let path = files.keep("a/b", "old");
        let directory = &files.directory;
        fs::rename(directory.join("a"), directory.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", directory.join("a")).unwrap();
        assert!(!files.has(&path));
    }

    #[test]
    fn few_and_small_ones_are_kept_and_for_a_moment() {
        let files = Files::new();
        let first = files.keep("0", "x");
        let large = files.keep("large", &"x".repeat(SMALL + 1));
        assert!(files.has(&first) && !files.has(&large));
        for number in 1..=MOST {
            files.keep(&number.to_string(), "x");
        }
        assert!(!files.has(&first));
        assert_eq!(files.recent.lock().len(), MOST);

        for kept in &mut *files.recent.lock() {
            kept.used -= MOMENT;
        }
        files.recent.let_go();
        assert_eq!(files.recent.lock().len(), 0);
    }
}
