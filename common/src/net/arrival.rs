//! For which requests a check of the disk is up to date.
//!
//! The kernel reports the requests of many connections together. A check of a file after that is
//! up to date for all of them, since it sees each change that was complete before one of them was
//! sent. It is not for a request that is read later without such a report.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static LAST: AtomicUsize = AtomicUsize::new(0);

/// A moment. Each request that is read from now on, until the next such moment, had begun to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival(usize);

impl Arrival {
    /// The last moment. A check that is made until the next one is up to date for the requests that
    /// are read until then.
    pub(crate) fn last() -> Self {
        Self(LAST.load(Relaxed))
    }

    /// A new moment: from now on a request may be read that was sent after the last check.
    pub fn begin() -> Self {
        Self(LAST.fetch_add(1, Relaxed).wrapping_add(1))
    }
}
