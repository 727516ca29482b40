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
    /// The words of which one comes next, each with what follows it.
    pub verbs: &'static [Word],
    /// Its own options.
    pub options: &'static [Word],
    /// What help says at its end: an example, and the settings that matter.
    pub notes: &'static str,
    /// Does it.
    pub run: fn(&mut Line) -> Result<(), Stop>,
}

/// A verb or an option.
#[derive(Debug)]
pub struct Word {
    /// It, and after a space what has to follow it: `get KEY`, `--output FILE`.
    pub typed: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// The verbs that an option stands with; none means all.
    pub verbs: &'static [&'static str],
}

impl Word {
    /// A verb, or an option that stands everywhere.
    pub const fn new(typed: &'static str, meaning: &'static str) -> Self {
        Self { typed, meaning, verbs: &[] }
    }

    /// An option that stands with these verbs.
    pub const fn with(
        verbs: &'static [&'static str],
        typed: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self { typed, meaning, verbs }
    }

    /// The word itself.
    pub fn name(&self) -> &'static str {
        self.typed.split_once(' ').map_or(self.typed, |(name, _)| name)
    }

    fn stands_with(&self, verb: &str) -> bool {
        self.verbs.is_empty() || self.verbs.contains(&verb)
    }

    /// What has to follow it, as the help calls it.
    pub fn follows(&self) -> &'static str {
        self.typed.split_once(' ').map_or("", |(_, follows)| follows)
    }
}

/// Every subcommand.
pub static COMMANDS: &[Command] = &[certs::COMMAND, config::COMMAND, http::COMMAND];

/// The options that stand everywhere.
pub const OPTIONS: &[Word] = &[
    Word::new("--config-dir DIR", "of the settings, else TEDGE_CONFIG_DIR, else /etc/tedge"),
    Word::new("--help", "print this"),
    Word::new("--version", "print the version"),
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
        verb: "",
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
    Option(&'static str),
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
    verb: &'static str,
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
                "--config-dir" => {
                    self.config_dir = Some(self.parser.value()?.into());
                    continue;
                }
                "--help" | "-h" => return Err(Stop::Shown(self.help())),
                "--version" | "-V" => {
                    return Err(Stop::Shown(format!("tedge {}\n", env!("CARGO_PKG_VERSION"))));
                }
                _ => {}
            }
            let known = self.options().iter().find(|known| known.name() == option);
            return match known.filter(|known| !self.verb.is_empty() && known.stands_with(self.verb))
            {
                Some(known) => Ok(Some(Token::Option(known.name()))),
                None => Err(Error::Usage(format!("'{option}' is no option here")).into()),
            };
        }
    }

    fn options(&self) -> &'static [Word] {
        self.command.map_or(&[], |command| command.options)
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

    /// The next word, which must be one of the subcommand's verbs.
    pub fn verb(&mut self) -> Result<&'static str, Stop> {
        let verbs = self.command.map_or(&[][..], |command| command.verbs);
        let word = self.word()?;
        if let Some(verb) = verbs.iter().find(|verb| Some(verb.name()) == word.as_deref()) {
            self.verb = verb.name();
            return Ok(self.verb);
        }
        let names: Vec<_> = verbs.iter().map(Word::name).collect();
        let names = names.join(", ");
        Err(Error::Usage(match word {
            Some(word) => format!("'{word}' is none of {names}"),
            None => format!("one of {names} is missing"),
        })
        .into())
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
        let Some(Command { name, summary, verbs, notes, .. }) = self.command else {
            let mut text = SUMMARY.to_owned();
            text.push_str("\n\nCommands:\n");
            for command in COMMANDS {
                let _ = writeln!(text, "  tedge {:<8}{}", command.name, command.summary);
            }
            text.push_str("\nOptions:\n");
            columns(&mut text, "", &[OPTIONS]);
            text.push_str(NOTES);
            return text;
        };
        let mut text = format!("tedge {name}: {summary}.\n\nUsage:\n");
        columns(&mut text, &format!("tedge {name} "), &[verbs]);
        text.push_str("\nOptions:\n");
        columns(&mut text, "", &[self.options(), OPTIONS]);
        text.push('\n');
        text.push_str(notes);
        text
    }
}

const SUMMARY: &str = "tedge: settings, transfers and certificates of this device.";
const NOTES: &str = "\n`tedge COMMAND --help` says more, `tedge config list --doc` explains settings.\n\n\
     Example: tedge config set http.bind.address 192.168.1.6\n";

/// Rows of what to type and what it means.
pub(crate) fn columns(text: &mut String, start: &str, tables: &[&[Word]]) {
    let rows = || tables.iter().copied().flatten();
    let width = rows().map(|word| word.typed.chars().count()).max().unwrap_or_default();
    for word in rows() {
        let _ = writeln!(text, "  {start}{:<width$}  {}", word.typed, word.meaning);
    }
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
