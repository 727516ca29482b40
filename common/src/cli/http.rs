//! `tedge http`: sends a request to one of the two local services, on this device or on the device
//! that the settings name, over TLS if it is on.

mod destination;
mod download;
mod exchange;
mod output;
mod progress;
mod upload;

use std::ffi::OsString;
use std::sync::Arc;

use ::http::{HeaderValue, Method};
use async_executor::Executor;

use self::destination::Destination;
use self::exchange::exchange;
use self::upload::Upload;
use super::command_line::{Argument, Command, CommandLine, Exit, Word, usage};
use super::print::warn;
use crate::settings::Settings;

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
        Word::with(SENDING, "--content-type TYPE", "media type (default: by file name, or JSON)"),
        Word::new("--accept-type TYPE", "media type to request"),
    ],
    notes: "URI is /c8y/… for Cumulocity, /te/… for files, or /health.\n\
            Settings used: http.client.*, c8y.proxy.client.*, c8y.root_cert_path.\n\n\
            Example: tedge http put /te/v1/files/main/log.txt --file log.txt\n",
    run,
};

const SENDING: &[&str] = &["put", "post", "patch"];

fn run(line: &mut CommandLine) -> Result<(), Exit> {
    let invocation = Invocation::parse(line)?;
    let loaded = Settings::load(&line.config_dir(), std::env::vars_os(), &[])?;
    warn(&loaded.warnings);
    let destination = Destination::of(&invocation.path, &loaded.settings)?;
    let executor = Arc::new(Executor::new());
    let exchange = exchange(invocation, destination, &loaded.settings, &executor);
    async_io::block_on(executor.run(exchange))
}

/// What is typed after `tedge http`.
struct Invocation {
    method: Method,
    path: String,
    content: Upload,
    content_type: Option<HeaderValue>,
    accept_type: Option<HeaderValue>,
    output: Option<String>,
}

impl Invocation {
    fn parse(line: &mut CommandLine) -> Result<Self, Exit> {
        let method = match line.verb()? {
            "get" => Method::GET,
            "delete" => Method::DELETE,
            "put" => Method::PUT,
            "post" => Method::POST,
            _ => Method::PATCH,
        };
        let sends = !matches!(method, Method::GET | Method::DELETE);
        let (mut path, mut content, mut output) = (None, None, None);
        let (mut content_type, mut accept_type) = (None, None);
        while let Some(argument) = line.argument()? {
            match argument {
                Argument::Option("--data") if content.is_none() => {
                    content = Some(Upload::data(text(line.value()?)?));
                }
                Argument::Option("--file") if content.is_none() => {
                    content = Some(Upload::file(&text(line.value()?)?)?);
                }
                Argument::Option("--data" | "--file") => {
                    return Err(usage("the content is given twice".to_owned()));
                }
                Argument::Option("--content-type") => content_type = Some(field(line.value()?)?),
                Argument::Option("--accept-type") => accept_type = Some(field(line.value()?)?),
                Argument::Option("--output") => output = Some(text(line.value()?)?),
                Argument::Word(word) if path.is_none() => path = Some(text(word)?),
                Argument::Word(word) if sends && content.is_none() => {
                    content = Some(Upload::data(text(word)?));
                }
                other => return Err(other.unexpected()),
            }
        }
        let path = path.ok_or_else(|| usage("missing URI".to_owned()))?;
        let content = content.unwrap_or_default();
        Ok(Self { method, path, content, content_type, accept_type, output })
    }
}

fn text(word: OsString) -> Result<String, Exit> {
    word.into_string().map_err(|word| usage(format!("'{}' is not UTF-8", word.to_string_lossy())))
}

fn field(word: OsString) -> Result<HeaderValue, Exit> {
    let text = text(word)?;
    HeaderValue::from_str(&text).map_err(|_| usage(format!("'{text}' is no media type")))
}
