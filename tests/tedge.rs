//! Process tests of the `tedge` command: the real program, under that name, in a directory of its
//! own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "tedge/certs.rs"]
mod certs;
#[path = "tedge/config_command.rs"]
mod config_command;
#[path = "tedge/config_reading.rs"]
mod config_reading;
#[path = "tedge/config_writing.rs"]
mod config_writing;
#[path = "tedge/help.rs"]
mod help;
#[path = "support/tedge.rs"]
mod support;
