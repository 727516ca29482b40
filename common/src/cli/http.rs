//! `tedge http`: sends a request to one of the two local services, on this device or on the device
//! that the settings name, over TLS if it is on.

mod destination;
mod download;
mod exchange;
mod output;
mod progress;
mod request;
mod upload;

use std::sync::Arc;

use async_executor::Executor;

use self::destination::Destination;
use self::exchange::exchange;
use self::request::Invocation;
use super::command_line::{Command, CommandLine, Exit, PROFILE, Word};
use super::print::warn;
use crate::settings::Settings;
use crate::staging;

/// The subcommand.
pub const COMMAND: Command = Command {
    name: "http",
    summary: "send requests to the local services",
    verbs: &[
        Word::new("get URI", "print the response, or save it with --output"),
        Word::new("delete URI", "delete a resource"),
        Word::new("put URI [CONTENT]", "store CONTENT"),
        Word::new("post URI [CONTENT]", "send CONTENT"),
        Word::new("patch URI [CONTENT]", "change a resource"),
    ],
    options: &[
        Word::with(&["get"], "--output FILE", "save to FILE, and resume a partial download"),
        Word::with(SENDING, "--data DATA", "content to send; - is standard input"),
        Word::with(SENDING, "--file FILE", "file to send; - is standard input"),
        Word::with(
            SENDING,
            "--content-type TYPE",
            "media type (default: from FILE's name; JSON for DATA)",
        ),
        Word::new("--accept-type TYPE", "media type to request"),
        PROFILE,
    ],
    notes: "URI is /c8y/… for Cumulocity, /te/… for files, or /health.\n\
            Settings used: http.client.*, c8y.proxy.client.*, c8y.root_cert_path.\n\n\
            Example: tedge http put /te/v1/files/main/log.txt --file log.txt\n",
    run,
};

const SENDING: &[&str] = &["put", "post", "patch"];

fn run(line: &CommandLine) -> Result<(), Exit> {
    let invocation = Invocation::parse(line)?;
    let config_dir = line.config_dir();
    // Before the settings are read, since users other than root may be able to change them.
    staging::guard(&config_dir);
    let loaded = Settings::load(&config_dir, line.environment()?, &[])?;
    warn(&loaded.warnings);
    let destination = Destination::of(&invocation.path, &loaded.settings)?;
    let executor = Arc::new(Executor::new());
    let exchange = exchange(invocation, destination, &loaded.settings, &executor);
    crate::net::run(&executor, exchange)?
}
