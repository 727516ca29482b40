//! What was done in a run, for its log.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What was done so far in this run.
pub(super) static TOTALS: Totals = Totals {
    sequences: AtomicU64::new(0),
    steps: AtomicU64::new(0),
    requests: AtomicU64::new(0),
    faults: AtomicU64::new(0),
    kills: AtomicU64::new(0),
};

pub(super) struct Totals {
    pub(super) sequences: AtomicU64,
    pub(super) steps: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) faults: AtomicU64,
    pub(super) kills: AtomicU64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [sequences, steps, requests, faults, kills] =
            [&self.sequences, &self.steps, &self.requests, &self.faults, &self.kills]
                .map(|total| total.load(Relaxed));
        write!(
            f,
            "model of storage: {sequences} sequences, {steps} steps, {requests} requests, \
             {faults} with calls that failed or were slow, {kills} kills"
        )
    }
}
