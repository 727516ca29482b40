//! The arguments of `tedge http`.

use std::ffi::OsString;

use http::{HeaderValue, Method};

use super::upload::Upload;
use crate::cli::command_line::{Argument, CommandLine, Exit, usage};

/// What is typed after `tedge http`.
pub(super) struct Invocation {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) content: Upload,
    pub(super) content_type: Option<HeaderValue>,
    pub(super) accept_type: Option<HeaderValue>,
    pub(super) output: Option<String>,
}

impl Invocation {
    pub(super) fn parse(line: &mut CommandLine) -> Result<Self, Exit> {
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
