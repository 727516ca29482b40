//! Waiting under a time limit, and doing several slow things at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

/// Looks again and again until `is_so`; a panic where it is not in time.
///
/// For what no event tells of: what the kernel says of another process, what is in a directory.
#[track_caller]
pub(crate) fn eventually(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "not so in {limit:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs all of these at once, and panics with the names of those that failed.
///
/// `cargo test` runs as many tests at once as there are cores; what waits for a minute should
/// not wait for its turn as well.
pub(crate) fn side_by_side(promises: &[(&str, &(dyn Fn() + Sync))]) {
    let failed: Vec<&str> = thread::scope(|scope| {
        let running: Vec<_> = promises
            .iter()
            .map(|&(name, check)| {
                (name, scope.spawn(move || catch_unwind(AssertUnwindSafe(check)).is_ok()))
            })
            .collect();
        running
            .into_iter()
            .filter_map(|(name, thread)| (!thread.join().unwrap_or(false)).then_some(name))
            .collect()
    });
    assert!(failed.is_empty(), "broken promises: {failed:?}; see the panics above");
}
