//! Storage against a model: random sequences of requests, kills, restarts, full disks and disks
//! that fail or are slow. After each step, the answers and the disk must agree with the model;
//! after a failure, either the old or the new file is there, complete.
//!
//! A sequence that fails is made as short as it can be and kept in `storage.regressions`, which
//! every later run begins with.

mod disk;
mod driver;
mod model;
mod requests;
mod steps;
mod tamper;
mod totals;

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::test_runner::{Config, FileFailurePersistence, TestError, TestRunner};

use disk::{Disk, Kind};
use driver::Driver;
pub(crate) use tamper::Tamper;
use totals::TOTALS;

/// Sequences of up to so many steps.
const LONGEST: usize = 16;

fn check(kind: Kind, sequences: u32) {
    let can_tamper = Tamper::is_possible();
    let mut runner = TestRunner::new(Config {
        cases: sequences,
        // Each attempt starts and stops programs.
        max_shrink_iters: 300,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "../tests/faults/storage.regressions",
        ))),
        ..Config::default()
    });
    let sequence = vec(steps::step(kind.is_small(), can_tamper), 1..=LONGEST);
    let outcome = runner.run(&sequence, |steps| {
        let Some(disk) = Disk::new(kind) else { return Ok(()) };
        Driver::new(disk).run(&steps);
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, steps)) => panic!("{reason}\nafter the steps {steps:#?}"),
        Err(TestError::Abort(reason)) => panic!("given up: {reason}"),
    }
}

#[test]
fn files_are_what_the_model_says() {
    check(Kind::Plain, 20);
    eprintln!("{TOTALS}");
}

#[test]
fn files_are_what_the_model_says_on_a_disk_that_fills_up() {
    check(Kind::Memory, 20);
    eprintln!("{TOTALS}");
}

#[test]
#[ignore = "takes ten minutes: make test-faults"]
fn files_are_what_the_model_says_again_and_again() {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(600) {
        for kind in [Kind::Plain, Kind::Memory, Kind::Image] {
            check(kind, 10);
        }
    }
    eprintln!("{TOTALS}");
}
