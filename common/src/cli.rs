//! The `tedge` command: the list of subcommands, and how a failure is reported. Each subcommand is
//! in the file with its name. Only this module and [`run`](crate::run) print.

pub mod access;
pub mod c8y;
pub mod cache;
mod cached;
pub mod certs;
mod command_line;
pub mod config;
pub mod http;
mod print;
mod token;

use std::ffi::OsString;
use std::process::ExitCode;

pub use cached::{CacheFiles, Cached};
pub(crate) use command_line::columns;
pub use command_line::{Command, OPTIONS, Word};
pub use token::{FetchedToken, TokenFetcher};

use command_line::{CommandLine, Exit, help_of, help_of_all};
use print::{print, report};

use crate::error::Error;

/// Every subcommand.
pub static COMMANDS: &[Command] = &[
    access::COMMAND,
    c8y::COMMAND,
    cache::COMMAND,
    certs::COMMAND,
    config::COMMAND,
    http::COMMAND,
];

/// Runs the `tedge` command with the arguments after its name. `fetch_token` and `cache` are the
/// functions of this program for tokens and for its cache, if it has them.
pub fn main(
    arguments: impl Iterator<Item = OsString>,
    fetch_token: Option<TokenFetcher>,
    cache: Option<CacheFiles>,
) -> ExitCode {
    let mut line = CommandLine::default();
    (line.fetch_token, line.cache) = (fetch_token, cache);
    let done = line.parse(arguments.collect(), COMMANDS).and_then(|command| (command.run)(&line));
    let done = match done {
        Err(Exit::Help) => {
            let help = line.command.map_or_else(|| help_of_all(COMMANDS), help_of);
            print(&help).map_err(Exit::Failed)
        }
        Err(Exit::Version) => {
            print(concat!("tedge ", env!("CARGO_PKG_VERSION"), "\n")).map_err(Exit::Failed)
        }
        done => done,
    };
    match done {
        Err(Exit::Failed(error)) => {
            report(&format!("Error: {error}"));
            if matches!(error, Error::Usage(_)) {
                let name = line.command.map_or("", |command| command.name);
                report(&format!("Try `{} --help`.", format!("tedge {name}").trim_end()));
            }
            ExitCode::from(error.exit_code())
        }
        Err(Exit::Reported(code)) => ExitCode::from(code),
        _ => ExitCode::SUCCESS,
    }
}
