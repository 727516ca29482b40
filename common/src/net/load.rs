//! Counts the exchanges in progress in this process. While there are few, each may use more memory
//! for speed.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The server's connections between a request head and the last byte of the answer.
static BUSY: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn begin() {
    BUSY.fetch_add(1, Relaxed);
}

pub(crate) fn end() {
    BUSY.fetch_sub(1, Relaxed);
}

/// Whether few are under way.
pub fn is_light() -> bool {
    const FEW: usize = 4;
    BUSY.load(Relaxed) <= FEW
}
