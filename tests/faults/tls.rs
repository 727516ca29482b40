//! TLS as scanners and attackers see it: only the intended versions and ciphers, for each fault the
//! alert of the RFC, and no effect on other clients.
#![allow(dead_code, reason = "what the tests stand on is shared by several test programs")]
#![allow(clippy::print_stdout, reason = "figures, for whoever asks for them")]
#![allow(clippy::unwrap_used, reason = "this is all test code")]
#![allow(clippy::disallowed_methods, reason = "tests have no executor to stall")]

#[path = "../support"]
mod support {
    pub(crate) mod certificates;
    pub(crate) mod directory;
    pub(crate) mod memory;
    pub(crate) mod service;
    pub(crate) mod wait;
}

mod tls {
    mod clients;
    mod generated;
    mod hello;
    mod opening;
    mod scanner;
    mod scene;
    mod seal;
    mod sealed;
    mod second;
    mod session;
    mod verdict;

    /// The service of this package, and what its settings begin with.
    fn program() -> (&'static str, &'static str) {
        let proxy = option_env!("CARGO_BIN_EXE_tedge-c8y-proxy");
        let file_transfer = option_env!("CARGO_BIN_EXE_tedge-file-transfer");
        match (proxy, file_transfer) {
            (Some(program), _) => (program, "c8y.proxy"),
            (None, Some(program)) => (program, "http"),
            (None, None) => panic!("neither service is of this package"),
        }
    }
}
