//! Process tests of the `tedge` command: the real program, under that name, in a directory of its
//! own.

#![allow(dead_code, reason = "what the tests stand on is shared by several test programs")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests have no executor to stall")]

#[path = "support"]
mod support {
    pub(crate) mod certificates;
    pub(crate) mod directory;
    pub(crate) mod machine;
    pub(crate) mod memory;
    pub(crate) mod namespace;
    pub(crate) mod release;
    pub(crate) mod service;
    pub(crate) mod tedge;
    pub(crate) mod wait;
}

#[path = "tedge"]
mod promises {
    mod access;
    mod certs;
    mod certs_attacked;
    mod certs_killed;
    mod check;
    mod config_attacked;
    mod config_command;
    mod config_reading;
    mod config_thin_edge;
    mod config_writing;
    mod escapes;
    mod help;
    mod http_attacked;
    mod http_files;
    mod http_levels;
    mod http_output;
    mod http_refused;
    mod http_sending;
    mod http_silence;
    mod http_targets;
    mod profiles;
    mod sudo_rules;
}
