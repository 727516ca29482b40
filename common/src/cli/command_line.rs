//! Parses the command line of a subcommand and makes its help, both from the tables. Handles the
//! options that are allowed everywhere, and prints nothing.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;

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
    /// The verbs of which one comes next, each with its arguments.
    pub verbs: &'static [Word],
    /// Its own options.
    pub options: &'static [Word],
    /// The end of its help: the settings that matter, and an example.
    pub notes: &'static str,
    /// Runs it.
    pub run: fn(&mut CommandLine) -> Result<(), Exit>,
}

/// A verb or an option.
#[derive(Debug)]
pub struct Word {
    /// The word and its arguments: `get KEY`, `--output FILE`.
    pub typed: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// The verbs that take an option; none means all.
    pub verbs: &'static [&'static str],
}

impl Word {
    /// A verb, or an option that every verb takes.
    pub const fn new(typed: &'static str, meaning: &'static str) -> Self {
        Self { typed, meaning, verbs: &[] }
    }

    /// An option that these verbs take.
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

    /// Its arguments, as the help calls them.
    pub fn arguments(&self) -> &'static str {
        self.typed.split_once(' ').map_or("", |(_, arguments)| arguments)
    }

    fn stands_with(&self, verb: &str) -> bool {
        self.verbs.is_empty() || self.verbs.contains(&verb)
    }
}

/// The options that stand everywhere.
pub const OPTIONS: &[Word] = &[
    Word::new("--config-dir DIR", "directory of tedge.toml (default: /etc/tedge)"),
    Word::new("--help", "print this help"),
    Word::new("--version", "print the version"),
];

/// Why a command ends early.
#[derive(Debug)]
pub enum Exit {
    /// Help was asked for.
    Help,
    /// The version was asked for.
    Version,
    /// It failed.
    Failed(Error),
    /// It failed, and has said why.
    Reported(u8),
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<lexopt::Error> for Exit {
    fn from(error: lexopt::Error) -> Self {
        usage(error.to_string())
    }
}

/// The failure of a command that was typed wrongly.
pub(super) fn usage(message: String) -> Exit {
    Exit::Failed(Error::Usage(message))
}

/// An element of a command line.
#[derive(Debug)]
pub enum Argument {
    /// An option with its dashes. Its value, if it takes one, is [`CommandLine::value`].
    Option(&'static str),
    /// Anything else.
    Word(OsString),
}

impl Argument {
    /// The failure of a command that does not expect this.
    pub fn unexpected(self) -> Exit {
        usage(match self {
            Self::Option(option) => format!("unknown option '{option}'"),
            Self::Word(word) => format!("unexpected argument '{}'", word.to_string_lossy()),
        })
    }
}

/// A command line, read from left to right.
pub struct CommandLine {
    parser: Parser,
    config_dir: Option<PathBuf>,
    command: Option<&'static Command>,
    verb: &'static str,
}

impl CommandLine {
    /// What stands after the name of the program.
    pub(super) fn new(arguments: impl Iterator<Item = OsString>) -> Self {
        let parser = Parser::from_args(arguments.collect::<Vec<_>>());
        Self { parser, config_dir: None, command: None, verb: "" }
    }

    /// Reads the name of the subcommand.
    pub(super) fn command(
        &mut self,
        commands: &'static [Command],
    ) -> Result<&'static Command, Exit> {
        let name = self.word()?.ok_or_else(|| usage("missing command".to_owned()))?;
        let command = commands.iter().find(|command| command.name == name).ok_or_else(|| {
            let names: Vec<_> = commands.iter().map(|command| command.name).collect();
            usage(format!("unknown command '{name}': expected {}", names.join(", ")))
        })?;
        self.command = Some(command);
        Ok(command)
    }

    /// The subcommand, once it is read.
    pub(super) fn subcommand(&self) -> Option<&'static Command> {
        self.command
    }

    /// Reads an option or a word.
    pub fn argument(&mut self) -> Result<Option<Argument>, Exit> {
        loop {
            let option = match self.parser.next()? {
                None => return Ok(None),
                Some(Arg::Value(word)) => return Ok(Some(Argument::Word(word))),
                Some(Arg::Long(name)) => format!("--{name}"),
                Some(Arg::Short(letter)) => format!("-{letter}"),
            };
            match option.as_str() {
                "--config-dir" => self.config_dir = Some(self.parser.value()?.into()),
                "--help" | "-h" => return Err(Exit::Help),
                "--version" | "-V" => return Err(Exit::Version),
                _ => {
                    let options = self.command.map_or(&[][..], |command| command.options);
                    let known = options.iter().find(|known| known.name() == option);
                    let known = known
                        .filter(|known| !self.verb.is_empty() && known.stands_with(self.verb))
                        .ok_or_else(|| usage(format!("unknown option '{option}'")))?;
                    return Ok(Some(Argument::Option(known.name())));
                }
            }
        }
    }

    /// The value of the option that [`Self::argument`] returned last.
    pub fn value(&mut self) -> Result<OsString, Exit> {
        Ok(self.parser.value()?)
    }

    /// Reads a word, where no option but those that stand everywhere is expected.
    pub fn word(&mut self) -> Result<Option<String>, Exit> {
        match self.argument()? {
            None => Ok(None),
            Some(Argument::Word(word)) => word
                .into_string()
                .map(Some)
                .map_err(|word| usage(format!("'{}' is not UTF-8", word.to_string_lossy()))),
            Some(other) => Err(other.unexpected()),
        }
    }

    /// Reads one of the subcommand's verbs.
    pub fn verb(&mut self) -> Result<&'static str, Exit> {
        let verbs = self.command.map_or(&[][..], |command| command.verbs);
        let word = self.word()?;
        if let Some(verb) = verbs.iter().find(|verb| Some(verb.name()) == word.as_deref()) {
            self.verb = verb.name();
            return Ok(self.verb);
        }
        let names: Vec<_> = verbs.iter().map(Word::name).collect();
        let names = names.join(", ");
        Err(usage(match word {
            Some(word) => format!("unknown command '{word}': expected {names}"),
            None => format!("missing command: expected {names}"),
        }))
    }

    /// Reads the argument that the help calls this.
    pub fn expect(&mut self, name: &str) -> Result<String, Exit> {
        self.word()?.ok_or_else(|| usage(format!("missing {name}")))
    }

    /// Nothing may follow.
    pub fn end(&mut self) -> Result<(), Exit> {
        self.argument()?.map_or(Ok(()), |argument| Err(argument.unexpected()))
    }

    /// The configuration directory, once all is read.
    pub fn config_dir(&self) -> PathBuf {
        settings::config_dir(self.config_dir.clone())
    }
}

/// The help of `tedge`.
pub(super) fn help_of_all(commands: &[Command]) -> String {
    let mut text =
        "tedge: settings, transfers and certificates of this device.\n\nCommands:\n".to_owned();
    for command in commands {
        let _ = writeln!(text, "  tedge {:<8}{}", command.name, command.summary);
    }
    text.push_str("\nOptions:\n");
    columns(&mut text, "", &[OPTIONS]);
    text.push_str(
        "\n`tedge COMMAND --help` describes a command, `tedge config list --doc` settings.\n\n\
         Example: tedge config set http.bind.address 192.168.1.6\n",
    );
    text
}

/// The help of a subcommand.
pub(super) fn help_of(command: &Command) -> String {
    let Command { name, summary, verbs, options, notes, .. } = command;
    let mut text = format!("tedge {name}: {summary}.\n\nUsage:\n");
    columns(&mut text, &format!("tedge {name} "), &[verbs]);
    text.push_str("\nOptions:\n");
    columns(&mut text, "", &[options, OPTIONS]);
    text.push('\n');
    text.push_str(notes);
    text
}

/// Rows of what to type and what it means.
pub(crate) fn columns(text: &mut String, start: &str, tables: &[&[Word]]) {
    let rows = || tables.iter().copied().flatten();
    let width = rows().map(|word| word.typed.chars().count()).max().unwrap_or_default();
    for word in rows() {
        let _ = writeln!(text, "  {start}{:<width$}  {}", word.typed, word.meaning);
    }
}
