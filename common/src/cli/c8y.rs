//! `tedge c8y`: fetches the device's token for Cumulocity, as the Cumulocity Proxy does.
//!
//! Only that program can: any other one that answers to `tedge` becomes it.

use std::os::unix::process::CommandExt;
use std::process::Command as Process;

use super::command_line::{Command, CommandLine, Exit, Word, usage, utf8};
use super::print::{print, warn};
use crate::error::Error;
use crate::settings::{Program, Settings, find};

/// The subcommand.
pub const COMMAND: Command = Command {
    name: "c8y",
    summary: "check how this device authenticates to Cumulocity",
    verbs: &[Word::new("token", "fetch a token, and say whom it is for")],
    options: &[
        Word::new("--source SOURCE", "mqtt, https or auto (default: c8y.proxy.token_source)"),
        Word::new("--print", "print the token itself, which is a secret"),
    ],
    notes: "Settings used: c8y.url, c8y.proxy.token_*, mqtt.client.*, device.cert_path and\n\
            device.key_path, which perhaps only root can read.\n\n\
            Example: tedge c8y token --source https\n",
    run,
};

/// A token, and what a person may know about it.
#[derive(Debug)]
pub struct Token {
    /// The token itself.
    pub secret: String,
    /// Whom it is for, where it came from, until when it is good: a line each.
    pub description: String,
}

/// How a program fetches a token by these settings.
#[derive(Clone, Copy)]
pub struct TokenFetcher(pub fn(&Settings) -> Result<Token, Error>);

const SOURCE: &str = "c8y.proxy.token_source";

fn run(line: &CommandLine) -> Result<(), Exit> {
    let source = line.value("--source").map(utf8).transpose()?;
    let setting = find(SOURCE).filter(|_| source.is_some());
    if let Some((setting, source)) = setting.zip(source) {
        if !(setting.kind.is_valid)(source) {
            return Err(usage(format!("unknown source '{source}': {}", setting.kind.expected)));
        }
    }
    let is_printed = line.value("--print").is_some();
    let Some(TokenFetcher(fetch)) = line.fetch_token else {
        let source = source.map(|source| format!("--source={source}"));
        let printed = is_printed.then(|| "--print".to_owned());
        return Err(become_the_proxy(line, source.into_iter().chain(printed)).into());
    };
    let arguments = source.map(|source| (SOURCE, source.to_owned()));
    let arguments = arguments.as_slice();
    let loaded = Settings::load(&line.config_dir(), std::env::vars_os(), arguments)?;
    warn(&loaded.warnings);
    let token = fetch(&loaded.settings)?;
    print(&if is_printed { token.secret + "\n" } else { token.description })?;
    Ok(())
}

/// Returns only where that program is not there.
fn become_the_proxy(line: &CommandLine, options: impl Iterator<Item = String>) -> Error {
    let program = Program::C8yProxy.name();
    let mut process = Process::new(program);
    process.args(["tedge", "c8y", "token", "--config-dir"]).arg(line.config_dir()).args(options);
    let error = process.exec();
    Error::Failed(format!("cannot run {program}: {error}: install the package {program}"))
}
