//! The entries in the directory of the cache, and their size. The index is rebuilt from the
//! directory at the start, and takes about 50 bytes for each entry.

mod reservation;

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use common::journal::complain;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;

pub(super) use self::reservation::Reservation;

/// The entries of a directory.
pub(super) struct Index {
    max_size: u64,
    start: Instant,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<u128, Known>,
    bytes: u64,
    /// The bytes of the downloads in progress.
    reserved: u64,
    /// Of these, the bytes of downloads of unknown length.
    unmeasured: u64,
    /// The files of removed entries, and their bytes. A file takes space while a client reads it.
    removed: Vec<(Weak<OwnedFd>, u64)>,
    /// The time of the last use, in milliseconds since 1970. Each value is given only once.
    used: u64,
}

struct Known {
    bytes: u64,
    used: u64,
    /// When its file was last found in the directory, on the scale of `used`.
    seen: u64,
    /// When it was inserted, on the scale of [`Inner::used`]. Distinguishes it from an entry that
    /// replaces it.
    version: u64,
    /// When upstream last confirmed it, in seconds since the start of the index; negative if
    /// before.
    confirmed: i64,
    /// The open file, while a client reads it.
    file: Weak<OwnedFd>,
}

pub(super) struct FoundEntry {
    /// The open file, if a client reads it.
    pub(super) file: Option<Arc<OwnedFd>>,
    /// The time since upstream was last asked.
    pub(super) age: Duration,
    /// Distinguishes the entry from one that replaces it.
    pub(super) version: u64,
}

/// The time of an entry that upstream forbids to serve without asking: long ago.
const NEVER: i64 = i64::MIN;

impl Index {
    /// Reads the names and sizes of the files. Waits for the disk.
    pub(super) fn read(directory: &OwnedFd, max_size: u64) -> Result<Self, Errno> {
        let mut inner = Inner::default();
        let now = SystemTime::now();
        for name in names(directory)? {
            let stat = statat(directory, file_name(name), AtFlags::SYMLINK_NOFOLLOW)?;
            if !is_own(&stat) {
                let _ = unlink(directory, name);
                continue;
            }
            let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            // A time in the future is ignored.
            let age = now.duration_since(modified).map_or(i64::MAX, |age| age.as_secs() as i64);
            let used = seconds * 1000 + u64::from(stat.st_mtime_nsec as u32 / 1_000_000);
            let bytes = stat.st_size as u64;
            inner.bytes += bytes;
            inner.used = inner.used.max(used);
            let file = Weak::new();
            let known = Known { bytes, used, seen: 0, version: 0, confirmed: -age, file };
            inner.entries.insert(name, known);
        }
        Ok(Self { max_size, start: Instant::now(), inner: Mutex::new(inner) })
    }

    /// Replaces the entries by those that were just read from another directory.
    pub(super) fn replace(&self, other: Self) {
        let other = other.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (mut inner, now) = (self.lock(), self.now());
        (inner.entries, inner.bytes) = (other.entries, other.bytes);
        for known in inner.entries.values_mut() {
            known.confirmed = known.confirmed.saturating_add(now);
        }
    }

    /// The entry with this name. Counts as a use.
    pub(super) fn find(&self, name: u128) -> Option<FoundEntry> {
        let mut inner = self.lock();
        let used = inner.tick();
        let known = inner.entries.get_mut(&name)?;
        known.used = used;
        let age = self.now().saturating_sub(known.confirmed).max(0) as u64;
        let (file, version) = (known.file.upgrade(), known.version);
        Some(FoundEntry { file, age: Duration::from_secs(age), version })
    }

    /// Notes that a client reads the file.
    pub(super) fn open(&self, name: u128, version: u64, file: &Arc<OwnedFd>) {
        let mut inner = self.lock();
        let known = inner.entries.get_mut(&name).filter(|known| known.version == version);
        if let Some(known) = known {
            known.file = Arc::downgrade(file);
        }
    }

    /// Notes that upstream has just confirmed the entry, and whether this may be relied on later.
    /// Returns whether this should also be written to the file, for the next start: once a minute.
    pub(super) fn confirm(&self, name: u128, may_be_stale: bool) -> bool {
        let confirmed = if may_be_stale { self.now() } else { NEVER };
        let mut inner = self.lock();
        let Some(known) = inner.entries.get_mut(&name) else { return false };
        let before = std::mem::replace(&mut known.confirmed, confirmed);
        before.div_euclid(60) != confirmed.div_euclid(60)
    }

    /// Adds or replaces an entry. Upstream was asked about it at this time. Returns its version.
    pub(super) fn insert(
        &self,
        name: u128,
        bytes: u64,
        asked: Instant,
        file: &Arc<OwnedFd>,
    ) -> u64 {
        let confirmed = asked.saturating_duration_since(self.start).as_secs() as i64;
        let mut inner = self.lock();
        let used = inner.tick();
        inner.remove(name);
        inner.bytes += bytes;
        let file = Arc::downgrade(file);
        inner.entries.insert(name, Known { bytes, used, seen: 0, version: used, confirmed, file });
        used
    }

    /// Forgets the entries whose files another process has removed. Waits for the disk.
    pub(super) fn look_again(&self, directory: &OwnedFd) -> Result<(), Errno> {
        let begun = self.lock().tick();
        for name in names(directory)? {
            if let Some(known) = self.lock().entries.get_mut(&name) {
                known.seen = begun;
            }
        }
        let mut inner = self.lock();
        // An entry that was added since may be missing in the list.
        inner.entries.retain(|_, known| known.seen == begun || known.used > begun);
        inner.bytes = inner.entries.values().map(|known| known.bytes).sum();
        Ok(())
    }

    /// Forgets an entry, if it is of this version. Returns whether there was one.
    pub(super) fn remove(&self, name: u128, version: Option<u64>) -> bool {
        let mut inner = self.lock();
        let is_it = inner
            .entries
            .get(&name)
            .is_some_and(|known| version.is_none_or(|version| known.version == version));
        is_it && inner.remove(name)
    }

    /// The space of a new download, at first none.
    pub(super) fn reserve(self: &Arc<Self>, has_length: bool) -> Reservation {
        Reservation::new(self.clone(), has_length)
    }

    /// Forgets the least recently used entry that no client reads: its space is free then.
    pub(super) fn evict(&self) -> Option<u128> {
        let mut inner = self.lock();
        let name = inner.oldest(0)?;
        inner.remove(name);
        Some(name)
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.lock().bytes > self.max_size
    }

    /// How many entries there are, and their bytes.
    pub(super) fn totals(&self) -> (usize, u64) {
        let inner = self.lock();
        (inner.entries.len(), inner.bytes)
    }

    fn now(&self) -> i64 {
        self.start.elapsed().as_secs() as i64
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn tick(&mut self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.used = (self.used + 1).max(now.as_millis() as u64);
        self.used
    }

    fn remove(&mut self, name: u128) -> bool {
        let Some(known) = self.entries.remove(&name) else { return false };
        self.bytes -= known.bytes;
        self.removed.push((known.file, known.bytes));
        self.removed.retain(|(file, _)| file.strong_count() > 0);
        true
    }

    /// The least recently used entry. One that clients read counts if the removed files that are
    /// still open take at most `max_open` bytes with it.
    fn oldest(&mut self, max_open: u64) -> Option<u128> {
        self.removed.retain(|(file, _)| file.strong_count() > 0);
        let open: u64 = self.removed.iter().map(|(_, bytes)| bytes).sum();
        let may_go = |known: &Known| {
            known.file.strong_count() == 0 || open.saturating_add(known.bytes) <= max_open
        };
        let entries = self.entries.iter().filter(|(_, known)| may_go(known));
        entries.min_by_key(|(_, known)| known.used).map(|(name, _)| *name)
    }
}

/// The names of the entries in a directory. Waits for the disk.
pub(super) fn names(directory: &OwnedFd) -> Result<Vec<u128>, Errno> {
    let mut names = Vec::new();
    for file in Dir::read_from(directory)? {
        if let Some(name) = file?.file_name().to_str().ok().and_then(parse) {
            names.push(name);
        }
    }
    Ok(names)
}

pub(super) fn file_name(name: u128) -> String {
    format!("{name:032x}")
}

/// The name of the entry that a file has, or `None` if it is not one of an entry.
fn parse(file_name: &str) -> Option<u128> {
    let name = u128::from_str_radix(file_name, 16).ok()?;
    (self::file_name(name) == file_name).then_some(name)
}

/// Opens a file. Does not wait for a writer if it is a FIFO. Waits for the disk.
pub(super) fn open(directory: impl AsFd, name: u128) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(directory, file_name(name), flags, Mode::empty())
}

/// Whether only this service can have written the file of an entry. Another user may have put it
/// there, or may change it, while the directory was writable to others.
pub(super) fn is_own(stat: &Stat) -> bool {
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let is_own = is_file && stat.st_uid == geteuid().as_raw() && stat.st_nlink == 1;
    if !is_own {
        complain("other users could change them", &"entries of the cache are not served");
    }
    is_own
}

/// Removes a file, which may be missing. Waits for the disk.
pub(super) fn unlink(directory: impl AsFd, name: u128) -> Result<(), Errno> {
    match rustix::fs::unlinkat(directory, file_name(name), AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(max_size: u64) -> (Arc<Index>, Arc<OwnedFd>) {
        let inner = Mutex::default();
        let file = std::fs::File::open("/dev/null").unwrap();
        let index = Index { max_size, start: Instant::now(), inner };
        (Arc::new(index), Arc::new(file.into()))
    }

    /// Inserts entries of 10 bytes that nobody reads.
    fn fill(index: &Index, names: &[u128]) {
        let file = Arc::new(std::fs::File::open("/dev/null").unwrap().into());
        for name in names {
            index.insert(*name, 10, Instant::now(), &file);
        }
    }

    #[test]
    fn the_entry_that_was_used_least_recently_goes_first() {
        let (index, _) = index(40);
        fill(&index, &[1, 2, 3]);
        assert!(index.find(1).is_some());
        let (mut space, mut gone) = (index.reserve(true), Vec::new());
        assert!(space.grow(10, &mut gone) && gone.is_empty());
        assert!(space.grow(21, &mut gone));
        assert_eq!((gone, index.totals()), (vec![2, 3], (1, 10)));
        drop(space);
        fill(&index, &[4, 5, 6]);
        assert_eq!(index.totals(), (4, 40));
    }

    #[test]
    fn entries_that_are_read_go_as_well_until_they_take_as_much_again() {
        let (index, file) = index(20);
        index.insert(1, 10, Instant::now(), &file);
        fill(&index, &[2]);
        let (mut space, mut gone) = (index.reserve(true), Vec::new());
        assert!(space.grow(10, &mut gone));
        assert_eq!((gone, index.totals()), (vec![1], (1, 10)));
        drop(space);
        index.insert(3, 11, Instant::now(), &file);
        let (mut space, mut gone) = (index.reserve(true), Vec::new());
        assert!(!space.grow(10, &mut gone));
        assert_eq!((gone, index.evict(), index.totals()), (vec![2], None, (1, 11)));
        drop(file);
        assert!(space.grow(20, &mut Vec::new()));
        assert!(!space.grow(21, &mut Vec::new()));
        assert!(index.lock().removed.is_empty());
    }

    #[test]
    fn downloads_of_unknown_length_take_a_quarter_from_others_and_what_is_free() {
        let (index, _) = index(80);
        fill(&index, &[1, 2, 3, 4, 5, 6, 7, 8]);
        let (mut one, mut other, mut gone) =
            (index.reserve(false), index.reserve(false), Vec::new());
        assert!(one.grow(10, &mut gone) && other.grow(10, &mut gone) && other.may_evict());
        assert!(!one.grow(11, &mut gone));
        assert_eq!(gone, [1, 2]);
        drop(other);
        assert!(one.grow(20, &mut gone) && !one.grow(21, &mut gone));
        assert!(index.remove(3, None) && one.grow(30, &mut gone) && !one.may_evict());
        assert_eq!(gone, [1, 2]);
        let mut known = index.reserve(true);
        assert!(known.grow(50, &mut gone) && !known.grow(51, &mut gone));
        drop((one, known));
        let inner = index.lock();
        assert_eq!((inner.unmeasured, inner.reserved), (0, 0));
    }

    #[test]
    fn what_must_not_be_relied_on_was_confirmed_too_long_ago() {
        let (index, _) = index(80);
        fill(&index, &[1]);
        assert!(index.confirm(1, false) && !index.confirm(1, false));
        assert!(index.find(1).unwrap().age > Duration::from_secs(1 << 40));
        assert!(index.confirm(1, true));
        assert!(index.find(1).unwrap().age < Duration::from_secs(60));
    }

    #[test]
    fn a_replaced_entry_counts_once() {
        let (index, _) = index(100);
        fill(&index, &[1, 1]);
        assert_eq!(index.totals(), (1, 10));
        let version = index.find(1).unwrap().version;
        assert!(!index.remove(1, Some(version - 1)));
        assert!(index.remove(1, Some(version)) && !index.remove(1, None));
        assert_eq!(index.totals(), (0, 0));
    }

    #[test]
    fn only_names_that_entries_have_are_names() {
        assert_eq!(parse(&file_name(77)), Some(77));
        for name in ["", "4d", ".tedge-uploads", "0000000000000000000000000000004D"] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
