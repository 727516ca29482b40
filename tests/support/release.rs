//! The programs as they are shipped: budgets of time and memory hold for those alone.

use std::path::PathBuf;

/// A program of the release build, where `TEDGE_RELEASE_DIR` says where that is, as the Makefile
/// does when it has built it.
pub(crate) fn built(name: &str) -> Option<String> {
    let program = PathBuf::from(std::env::var_os("TEDGE_RELEASE_DIR")?).join(name);
    assert!(program.exists(), "{} is not there", program.display());
    Some(program.to_str().unwrap().to_owned())
}

/// The same; where there is none, it is said that the test is skipped.
pub(crate) fn or_skip(name: &str) -> Option<String> {
    let program = built(name);
    if program.is_none() {
        eprintln!("skipped: TEDGE_RELEASE_DIR does not say where the release build is");
    }
    program
}
