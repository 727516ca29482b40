//! Counts the exchanges in progress in this process, to decide whether each may use memory for
//! speed.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The server's connections that are between a head and the last byte of its answer.
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
