//! The space that a download takes from the cache before its entry is there.

use std::sync::Arc;

use common::journal::complain;

use super::Index;

/// The space of a download. It is given back when this is dropped.
pub(in super::super) struct Reservation {
    index: Arc<Index>,
    bytes: u64,
    has_length: bool,
}

/// The part of the cache that downloads of unknown length may take from entries. Such a download
/// may turn out to be too large, and then entries were removed in vain.
const UNMEASURED: u64 = 4;

const READ: &str = "entries that clients read slowly take the space of the cache";

impl Reservation {
    /// At first, it has no space.
    pub(super) fn new(index: Arc<Index>, has_length: bool) -> Self {
        Self { index, bytes: 0, has_length }
    }

    /// Takes space until there are `bytes` in all. Returns whether this succeeded. In both cases,
    /// the names of entries that were removed for it are added to `gone`.
    pub(in super::super) fn grow(&mut self, bytes: u64, gone: &mut Vec<u128>) -> bool {
        let mut inner = self.index.lock();
        let max_size = self.index.max_size;
        let others = inner.reserved - self.bytes;
        if others.saturating_add(bytes) > max_size {
            return false;
        }
        let more = if self.has_length { 0 } else { bytes - self.bytes };
        let unmeasured = inner.unmeasured + more;
        let may_evict = self.has_length || unmeasured <= max_size / UNMEASURED;
        while inner.bytes + others + bytes > max_size {
            if !may_evict {
                return false;
            }
            let Some(name) = inner.oldest(max_size) else {
                drop(inner);
                complain(READ, &"a download is not cached");
                return false;
            };
            inner.remove(name);
            gone.push(name);
        }
        (inner.reserved, inner.unmeasured) = (others + bytes, unmeasured);
        self.bytes = bytes;
        true
    }

    /// Whether entries may be removed for this space.
    pub(in super::super) fn may_evict(&self) -> bool {
        self.has_length || self.index.lock().unmeasured <= self.index.max_size / UNMEASURED
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut inner = self.index.lock();
        inner.reserved -= self.bytes;
        inner.unmeasured -= if self.has_length { 0 } else { self.bytes };
    }
}
