//! `tedge cache`: lists and drops the entries in the cache of the Cumulocity Proxy. Only the
//! program of the Cumulocity Proxy can do this. Other programs that are called as `tedge` report
//! that.

use super::cached::CacheFiles;
use super::command_line::{Command, CommandLine, Exit, PROFILE, Word, utf8};
use super::print::{print, warn};
use crate::error::Error;
use crate::escape::Escaped;
use crate::settings::{Program, Settings};
use crate::staging;

/// The subcommand.
pub const COMMAND: Command = Command {
    name: "cache",
    summary: "list or drop what the Cumulocity Proxy has cached",
    verbs: &[
        Word::new("list", "print path, size and last check of each binary"),
        Word::new("drop [ID]", "drop the binary with this ID or path; without ID, all"),
    ],
    options: &[PROFILE],
    notes: "Settings used: c8y.proxy.cache.path, data.path.\n\n\
            Example: tedge cache drop 4711\n",
    run,
};

fn run(line: &CommandLine) -> Result<(), Exit> {
    let Some(CacheFiles { list, remove }) = line.cache else {
        let program = Program::C8yProxy.name();
        return Err(Exit::from(Error::Failed(format!(
            "only {program} has this command: type `{program} tedge cache`, or install the \
             package {program}"
        ))));
    };
    let config_dir = line.config_dir();
    // Before the settings are read, since users other than root may be able to change them.
    staging::guard(&config_dir);
    let loaded = Settings::load(&config_dir, line.environment()?, &[])?;
    warn(&loaded.warnings);
    let settings = loaded.settings;
    if line.verb == "list" {
        let lines = list(&settings)?.into_iter().map(|cached| {
            let (path, seconds) = (Escaped(cached.path()).to_string(), cached.age.as_secs());
            format!("{path} {} bytes, checked {seconds} s ago\n", cached.length)
        });
        print(&lines.collect::<String>())?;
        return Ok(());
    }
    let named = line.arguments.first().map(|named| utf8(named)).transpose()?;
    let dropped = remove(&settings, named)?;
    match named {
        Some(named) if dropped == 0 => {
            Err(Exit::from(Error::Failed(format!("{named} is not in the cache"))))
        }
        _ => Ok(()),
    }
}
