//! Process tests of the `tedge` command: the real program, under that name, in a directory of its
//! own.

#![allow(dead_code, reason = "what the tests stand on is shared by several test programs")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests have no executor to stall")]

#[path = "support/certificates.rs"]
mod certificates;
#[path = "tedge/certs.rs"]
mod certs;
#[path = "tedge/check.rs"]
mod check;
#[path = "tedge/config_command.rs"]
mod config_command;
#[path = "tedge/config_reading.rs"]
mod config_reading;
#[path = "tedge/config_writing.rs"]
mod config_writing;
#[path = "support/directory.rs"]
mod directory;
#[path = "tedge/help.rs"]
mod help;
#[path = "tedge/http_levels.rs"]
mod http_levels;
#[path = "tedge/http_output.rs"]
mod http_output;
#[path = "tedge/http_refused.rs"]
mod http_refused;
#[path = "tedge/http_sending.rs"]
mod http_sending;
#[path = "support/machine.rs"]
mod machine;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/service.rs"]
mod service;
#[path = "support/tedge.rs"]
mod support;
