//! How large the pieces are in which files move: large while few move, for speed, and small when
//! many do, so that memory stays small.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A piece of a file while no more than [`FEW`] move.
const LARGE: usize = 64 * 1024;
const FEW: usize = 4;

/// And when it is written, since each piece goes to another thread for that.
const LARGE_BATCH: usize = 256 * 1024;

/// And while more do.
pub(super) const SMALL: usize = 8 * 1024;

/// How many files are under way, in either direction.
#[derive(Default)]
pub(super) struct Traffic(AtomicUsize);

/// One file under way.
pub(super) struct Transfer(Arc<Traffic>);

impl Traffic {
    pub(super) fn enter(self: &Arc<Self>) -> Transfer {
        self.0.fetch_add(1, Relaxed);
        Transfer(self.clone())
    }
}

impl Transfer {
    /// How many bytes to move at a time now.
    pub(super) fn piece(&self) -> usize {
        if self.are_few() { LARGE } else { SMALL }
    }

    /// How many bytes to collect before they are written.
    pub(super) fn batch(&self) -> usize {
        if self.are_few() { LARGE_BATCH } else { SMALL }
    }

    fn are_few(&self) -> bool {
        self.0.0.load(Relaxed) <= FEW
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_large_while_few_files_move() {
        let traffic = Arc::new(Traffic::default());
        let mut transfers: Vec<_> = (0..FEW).map(|_| traffic.enter()).collect();
        assert_eq!(transfers[0].piece(), LARGE);
        transfers.push(traffic.enter());
        assert_eq!(transfers[0].piece(), SMALL);
        transfers.pop();
        assert_eq!(transfers[0].piece(), LARGE);
    }
}
