//! Counts the exchanges in progress in this process. The fewer there are, the more memory each may
//! use for speed.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The server's connections between a request head and the last byte of the answer.
static BUSY: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn begin() {
    BUSY.fetch_add(1, Relaxed);
}

pub(crate) fn end() {
    BUSY.fetch_sub(1, Relaxed);
}

/// The length of a buffer of which each exchange has one: a power of two from `least` to `most`,
/// which are powers of two. All buffers together take at most 1 MiB, unless `least` is more.
pub fn share(least: usize, most: usize) -> usize {
    share_of(BUSY.load(Relaxed)).clamp(least, most)
}

fn share_of(busy: usize) -> usize {
    const TOGETHER: usize = 1024 * 1024;
    TOGETHER / busy.clamp(1, TOGETHER).next_power_of_two()
}

/// Whether few exchanges are in progress.
pub fn is_light() -> bool {
    const FEW: usize = 4;
    BUSY.load(Relaxed) <= FEW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_buffers_together_take_at_most_a_mebibyte() {
        for busy in 0..=4096 {
            let share = share_of(busy);
            assert!(share.is_power_of_two() && share * busy <= 1024 * 1024, "{busy}: {share}");
            assert!(share * (busy + 1) > 512 * 1024, "{busy}: {share}");
        }
    }
}
