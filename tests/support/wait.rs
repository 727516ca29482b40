//! Waiting under a time limit, and for many tests at the same time.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Looks again and again until `is_so`; a panic where it is not in time.
///
/// For states that nothing announces: what /proc says of another process, what is in a directory.
#[track_caller]
pub(crate) fn eventually(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "not so in {limit:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs it up to five times, until it takes no longer than `limit`: a busy machine is only
/// sometimes too slow, a fault always.
#[track_caller]
pub(crate) fn within(limit: Duration, mut act: impl FnMut()) {
    let mut times = Vec::new();
    while times.last().is_none_or(|time| *time > limit) {
        assert!(times.len() < 5, "longer than {limit:?}, each time: {times:?}");
        let begun = Instant::now();
        act();
        times.push(begun.elapsed());
    }
}

/// Runs the ignored tests of this program whose names begin with `module`, all at the same time.
///
/// `cargo test` runs as many tests at once as there are cores: what waits for a minute would keep
/// a core from the others for that long.
pub(crate) fn run_ignored(module: &str) {
    let output = Command::new("/proc/self/exe")
        .args([module, "--ignored", "--test-threads=100"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("running 0 tests"), "no test is ignored in {module}");
}
