//! Runs a property over the inputs that are kept of a fuzz target, so that each stays true.

use std::fs;
use std::path::{Path, PathBuf};

/// Names the input that a panic came from.
struct Witness(PathBuf);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input is {}", self.0.display());
        }
    }
}

/// Checks every file of this target's corpus.
pub(super) fn check_all(target: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let witness = Witness(entry.unwrap().path());
        check(&fs::read(&witness.0).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} is empty", directory.display());
}
