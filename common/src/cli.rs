//! The `tedge` command: which subcommands there are, and what they share: options that stand
//! everywhere, help, how an error is reported. Prints, as nothing but [`run`](crate::run) does
//! beside it; what a subcommand does is in the file of its name.

pub mod certs;
pub mod config;
pub mod http;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::{Arg, Parser};

use crate::error::Error;
use crate::settings;

/// A subcommand, as parser, help, man page and completion need it.
#[derive(Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// What it is for, without a full stop.
    pub summary: &'static str,
    /// The ways of calling it, each with what it does.
    pub forms: &'static [(&'static str, &'static str)],
    /// What help says at its end: an example, and the settings that matter.
    pub notes: &'static str,
    /// Does it.
    pub run: fn(&mut Line) -> Result<(), Stop>,
}

/// Every subcommand.
pub static COMMANDS: &[Command] = &[certs::COMMAND, config::COMMAND, http::COMMAND];

/// The options that stand everywhere.
pub const OPTIONS: &[(&str, &str)] = &[
    ("--config-dir DIR", "where the files are, else TEDGE_CONFIG_DIR, else /etc/tedge"),
    ("--help", "print this"),
    ("--version", "print the version"),
];

/// Why a command ends before its end.
#[derive(Debug)]
pub enum Stop {
    /// It was asked for help or for the version, which is this text.
    Shown(String),
    /// It failed.
    Error(Error),
    /// It failed, and said why.
    Reported(u8),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<lexopt::Error> for Stop {
    fn from(error: lexopt::Error) -> Self {
        Self::Error(Error::Usage(error.to_string()))
    }
}

/// Runs the `tedge` command with what stands after its name on the command line.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut line = Line {
        parser: Parser::from_args(arguments.collect::<Vec<_>>()),
        config_dir: None,
        command: None,
    };
    let stop = match dispatch(&mut line) {
        Err(Stop::Shown(text)) => print(&text),
        done => done,
    };
    match stop {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Reported(code)) => ExitCode::from(code),
        Err(Stop::Shown(_)) => ExitCode::SUCCESS,
        Err(Stop::Error(error)) => {
            report(&format!("Error: {error}"));
            if matches!(error, Error::Usage(_)) {
                report(&format!("Try `{} --help`.", line.name()));
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(line: &mut Line) -> Result<(), Stop> {
    let Some(name) = line.word()? else {
        return Err(Error::Usage("no command".to_owned()).into());
    };
    let command = COMMANDS.iter().find(|command| command.name == name).ok_or_else(|| {
        let names: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
        Error::Usage(format!("'{name}' is no command: there is {}", names.join(", ")))
    })?;
    line.command = Some(command);
    (command.run)(line)
}

/// An element of a command line.
#[derive(Debug)]
pub enum Token {
    /// An option with its dashes. Its value, if it takes one, is [`Line::value`].
    Option(String),
    /// Anything else.
    Word(OsString),
}

impl Token {
    /// The failure of a command that does not know what to do with this.
    pub fn unexpected(self) -> Stop {
        Error::Usage(match self {
            Self::Option(option) => format!("'{option}' is no option here"),
            Self::Word(word) => format!("'{}' is one word too many", word.to_string_lossy()),
        })
        .into()
    }
}

/// A command line, word by word. Takes care of the options that stand everywhere.
pub struct Line {
    parser: Parser,
    config_dir: Option<PathBuf>,
    command: Option<&'static Command>,
}

impl Line {
    /// The next option or word.
    pub fn token(&mut self) -> Result<Option<Token>, Stop> {
        loop {
            let option = match self.parser.next()? {
                None => return Ok(None),
                Some(Arg::Value(word)) => return Ok(Some(Token::Word(word))),
                Some(Arg::Long(name)) => format!("--{name}"),
                Some(Arg::Short(letter)) => format!("-{letter}"),
            };
            match option.as_str() {
                "--config-dir" => self.config_dir = Some(self.parser.value()?.into()),
                "--help" | "-h" => return Err(Stop::Shown(self.help())),
                "--version" | "-V" => {
                    return Err(Stop::Shown(format!("tedge {}\n", env!("CARGO_PKG_VERSION"))));
                }
                _ => return Ok(Some(Token::Option(option))),
            }
        }
    }

    /// The value of the option that [`Self::token`] returned last.
    pub fn value(&mut self) -> Result<OsString, Stop> {
        Ok(self.parser.value()?)
    }

    /// The next word, where no option but those that stand everywhere is expected.
    pub fn word(&mut self) -> Result<Option<String>, Stop> {
        match self.token()? {
            None => Ok(None),
            Some(Token::Word(word)) => word.into_string().map(Some).map_err(|word| {
                Error::Usage(format!("'{}' is not UTF-8", word.to_string_lossy())).into()
            }),
            Some(other) => Err(other.unexpected()),
        }
    }

    /// The next word, which must be there and is called this in the help.
    pub fn expect(&mut self, name: &str) -> Result<String, Stop> {
        let word = self.word()?;
        word.ok_or_else(|| Error::Usage(format!("{name} is missing")).into())
    }

    /// Nothing may follow.
    pub fn end(&mut self) -> Result<(), Stop> {
        self.token()?.map_or(Ok(()), |token| Err(token.unexpected()))
    }

    /// The configuration directory, once all is read.
    pub fn config_dir(&self) -> PathBuf {
        settings::config_dir(self.config_dir.clone())
    }

    fn name(&self) -> String {
        match self.command {
            Some(command) => format!("tedge {}", command.name),
            None => "tedge".to_owned(),
        }
    }

    fn help(&self) -> String {
        match self.command {
            Some(Command { name, summary, forms, notes, .. }) => format!(
                "tedge {name}: {summary}.\n\nUsage:\n{}\nOptions:\n{}\n{notes}",
                columns(&format!("tedge {name} "), forms),
                columns("", OPTIONS),
            ),
            None => {
                let commands: Vec<_> =
                    COMMANDS.iter().map(|command| (command.name, command.summary)).collect();
                format!(
                    "tedge: settings, transfers and certificates of this device.\n\n\
                     Commands:\n{}\nOptions:\n{}\n{NOTES}",
                    columns("tedge ", &commands),
                    columns("", OPTIONS),
                )
            }
        }
    }
}

const NOTES: &str = "`tedge COMMAND --help` says more, `tedge config list --doc` explains settings.\n\
                     \n\
                     Example: tedge config set http.bind.address 192.168.1.6\n";

/// Rows of what to type and what it means.
fn columns(start: &str, rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(what, _)| start.len() + what.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (what, meaning) in rows {
        let _ = writeln!(text, "  {:<width$}  {meaning}", format!("{start}{what}"));
    }
    text
}

/// Prints to standard output. That nobody reads on is no error.
pub fn print(text: &str) -> Result<(), Stop> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Failed(format!("cannot write to standard output: {error}")).into())
        }
        _ => Ok(()),
    }
}

/// Prints a line to standard error, where nothing can be done if nobody listens.
pub fn report(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
