//! `tedge c8y`: fetches the device's token for Cumulocity, as the Cumulocity Proxy does.
//!
//! Only the program of the Cumulocity Proxy can do this. Other programs that are called as `tedge`
//! report that.

use super::command_line::{Command, CommandLine, Exit, PROFILE, Word, usage, utf8};
use super::print::{print, warn};
use super::token::TokenFetcher;
use crate::error::Error;
use crate::escape::Escaped;
use crate::settings::{Program, Settings, find};
use crate::staging;

/// The subcommand.
pub const COMMAND: Command = Command {
    name: "c8y",
    summary: "check how this device authenticates to Cumulocity",
    verbs: &[Word::new("token", "request a token, and print its user, source and expiry")],
    options: &[
        Word::new("--source SOURCE", "mqtt, https or auto (default: c8y.proxy.token_source)"),
        Word::new("--print", "print the token itself, which is a secret"),
        PROFILE,
    ],
    notes: "Settings used: c8y.url, c8y.proxy.token_*, mqtt.client.*, device.cert_path and\n\
            device.key_path. If only root can read these files, use sudo.\n\n\
            Example: tedge c8y token --source https\n",
    run,
};

const SOURCE: &str = "c8y.proxy.token_source";

fn run(line: &CommandLine) -> Result<(), Exit> {
    let source = line.value("--source").map(utf8).transpose()?;
    let setting = find(SOURCE).filter(|_| source.is_some());
    if let Some((setting, source)) = setting.zip(source) {
        if !(setting.kind.is_valid)(source) {
            return Err(usage(format!("unknown source '{source}': {}", setting.kind.expected)));
        }
    }
    let Some(TokenFetcher(fetch)) = line.fetch_token else {
        let program = Program::C8yProxy.name();
        return Err(Exit::from(Error::Failed(format!(
            "only {program} has this command: type `{program} tedge c8y token`, or install the \
             package {program}"
        ))));
    };
    let arguments = source.map(|source| (SOURCE, source.to_owned()));
    let arguments = arguments.as_slice();
    let config_dir = line.config_dir();
    // Before the settings are read, since users other than root may be able to change them.
    staging::guard(&config_dir);
    let loaded = Settings::load(&config_dir, line.environment()?, arguments)?;
    warn(&loaded.warnings);
    let token = fetch(&loaded.settings)?;
    if line.value("--print").is_some() {
        return Ok(print(&(token.secret + "\n"))?);
    }
    // Whoever made the token or can publish at the broker has chosen these values.
    let [user, tenant, source] = [&token.user, &token.tenant, &token.source].map(|it| Escaped(it));
    let until = token.until;
    print(&format!("for    {user}, tenant {tenant}\nfrom   {source}\nuntil  {until}\n"))?;
    Ok(())
}
