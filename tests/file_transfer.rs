//! Process tests of the File Transfer Service: the real program and real clients, one file per
//! promise of its contract.
#![allow(dead_code, reason = "what the tests stand on is shared by several test programs")]
#![allow(clippy::unwrap_used, reason = "this is all test code")]
#![allow(clippy::disallowed_methods, reason = "tests have no executor to stall")]

#[path = "support"]
mod support {
    pub(crate) mod answer;
    pub(crate) mod certificates;
    pub(crate) mod client;
    pub(crate) mod curl;
    pub(crate) mod directory;
    pub(crate) mod memory;
    pub(crate) mod service;
}

use support::service::{Ended, Service, Setup};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tedge-file-transfer");

/// Starts the service on a port of its own, with its files below its own directory.
fn start(configure: impl FnOnce(&mut Setup)) -> Service {
    Service::start(PROGRAM, |setup| {
        prepare(setup);
        configure(setup);
    })
}

/// Runs the service to its end, for a start that has to fail.
fn run(configure: impl FnOnce(&mut Setup)) -> Ended {
    Service::run(PROGRAM, |setup| {
        prepare(setup);
        configure(setup);
    })
}

fn prepare(setup: &mut Setup) {
    setup.set_raw("http.bind.port", 0);
    setup.set("data.path", setup.directory().join("data"));
}
