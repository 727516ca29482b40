//! The promises whose time limits take up to a minute to see. Each stands with its like in its own
//! file.

use crate::support::wait::run_ignored;

#[test]
fn what_takes_a_minute_keeps_its_time() {
    run_ignored("promises::");
}
