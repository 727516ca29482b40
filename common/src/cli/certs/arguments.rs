//! The arguments after the verb of `tedge certs`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::store::CA;
use crate::cli::command_line::{Argument, CommandLine, Exit, usage};
use crate::error::Error;
use crate::net::Host;

/// What stands on the command line after the verb.
#[derive(Default)]
pub(super) struct Arguments {
    pub(super) words: Vec<OsString>,
    pub(super) hosts: Vec<Host>,
    pub(super) csr: Option<PathBuf>,
    pub(super) dir: Option<PathBuf>,
    pub(super) days: Option<i64>,
    pub(super) force: bool,
}

impl Arguments {
    pub(super) fn read(line: &mut CommandLine, verb: &str) -> Result<Self, Exit> {
        let words = match verb {
            "ca" => 0..=0,
            "show" => 1..=usize::MAX,
            _ => 1..=1,
        };
        let mut read = Self::default();
        while let Some(argument) = line.argument()? {
            match argument {
                Argument::Word(word) if read.words.len() < *words.end() => read.words.push(word),
                Argument::Option("--dir") => read.dir = Some(line.value()?.into()),
                Argument::Option("--force") => read.force = true,
                Argument::Option("--days") => read.days = Some(days(&line.value()?)?),
                Argument::Option("--host") => read.hosts.push(host(&line.value()?)?),
                Argument::Option("--csr") => read.csr = Some(line.value()?.into()),
                other => return Err(other.unexpected()),
            }
        }
        if read.words.len() < *words.start() {
            let missing = if verb == "show" { "FILE" } else { "NAME" };
            return Err(usage(format!("missing {missing}")));
        }
        Ok(read)
    }
}

fn days(value: &OsString) -> Result<i64, Error> {
    value
        .to_str()
        .and_then(|text| text.parse().ok())
        .filter(|days| (1..=36_500).contains(days))
        .ok_or_else(|| {
            Error::Usage(format!("--days is '{}': expected 1 to 36500", value.to_string_lossy()))
        })
}

fn host(value: &OsString) -> Result<Host, Error> {
    let pattern = value.to_str().map(str::to_ascii_lowercase);
    pattern.and_then(|pattern| Host::parse_pattern(&pattern)).ok_or_else(|| {
        let value = value.to_string_lossy();
        Error::Usage(format!("--host is '{value}': expected a host name or an IP address"))
    })
}

pub(super) fn file_name(word: &OsString) -> Result<String, Error> {
    word.to_str()
        .filter(|name| (1..=64).contains(&name.len()) && !name.starts_with(['.', '-']))
        .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b)))
        .filter(|name| *name != CA)
        .map(str::to_owned)
        .ok_or_else(|| {
            let word = word.to_string_lossy();
            Error::Usage(format!(
                "NAME is '{word}': expected a name for the files, of letters, digits, '-', '_' \
                 and '.', at most 64, and not {CA}"
            ))
        })
}
