//! Parses the command line of a subcommand and makes its help, both from the tables. Handles the
//! options that are allowed everywhere, and prints nothing.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use super::cached::CacheFiles;
use super::token::TokenFetcher;
use crate::error::Error;
use crate::settings::{self, Profile};

/// A subcommand: the source of its parser, help, man page and completion.
#[derive(Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Its purpose, without a full stop.
    pub summary: &'static str,
    /// Its verbs, each with its arguments: `NAME` is required, `[NAME]` is optional, and more may
    /// follow `NAME…`.
    pub verbs: &'static [Word],
    /// Its own options.
    pub options: &'static [Word],
    /// The end of its help: the settings that matter, and an example.
    pub notes: &'static str,
    /// Runs it.
    pub run: fn(&CommandLine) -> Result<(), Exit>,
}

/// A verb or an option.
#[derive(Clone, Debug)]
pub struct Word {
    /// The word and its arguments: `get KEY`, `--output FILE`.
    pub typed: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// The verbs that take this option; none means all.
    pub verbs: &'static [&'static str],
}

impl Word {
    /// A verb, or an option of every verb.
    pub const fn new(typed: &'static str, meaning: &'static str) -> Self {
        Self { typed, meaning, verbs: &[] }
    }

    /// An option of these verbs.
    pub const fn with(
        verbs: &'static [&'static str],
        typed: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self { typed, meaning, verbs }
    }

    /// The word without its arguments.
    pub fn name(&self) -> &'static str {
        self.typed.split_once(' ').map_or(self.typed, |(name, _)| name)
    }

    /// Its arguments, as the help calls them.
    pub fn arguments(&self) -> &'static str {
        self.typed.split_once(' ').map_or("", |(_, arguments)| arguments)
    }

    fn is_for(&self, verb: &str) -> bool {
        self.verbs.is_empty() || self.verbs.contains(&verb)
    }
}

/// The options of every subcommand.
pub const OPTIONS: &[Word] = &[
    Word::new("--config-dir DIR", "directory of tedge.toml (default: /etc/tedge)"),
    Word::new("--help", "print this help"),
    Word::new("--version", "print the version"),
];

/// The option of those subcommands that read settings of a tenant.
pub(super) const PROFILE: Word =
    Word::new("--profile PROFILE", "cloud profile, for c8y.* (default: TEDGE_CLOUD_PROFILE)");

/// Why a command ends early.
#[derive(Debug)]
pub enum Exit {
    /// Help was requested.
    Help,
    /// The version was requested.
    Version,
    /// It failed.
    Failed(Error),
    /// It failed, and has printed the reason.
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

/// A word of the command line as text.
pub(super) fn utf8(word: &OsStr) -> Result<&str, Exit> {
    word.to_str().ok_or_else(|| usage(format!("'{}' is not UTF-8", word.to_string_lossy())))
}

/// A parsed command line: a subcommand, a verb, its arguments and its options.
#[derive(Default)]
pub struct CommandLine {
    pub(super) command: Option<&'static Command>,
    pub(super) verb: &'static str,
    /// The arguments of the verb, as many as the table allows.
    pub(super) arguments: Vec<OsString>,
    options: Vec<(&'static str, OsString)>,
    config_dir: Option<PathBuf>,
    /// How this program fetches a token, if it can.
    pub(super) fetch_token: Option<TokenFetcher>,
    /// How this program looks into its cache, if it has one.
    pub(super) cache: Option<CacheFiles>,
}

impl CommandLine {
    /// Parses the words that follow the name of the program. `command` is set as soon as it is
    /// known, for the help and for error messages.
    pub(super) fn parse(
        &mut self,
        words: Vec<OsString>,
        commands: &'static [Command],
    ) -> Result<&'static Command, Exit> {
        let mut parser = Parser::from_args(words);
        let name = self.next(&mut parser)?.ok_or_else(|| usage("missing command".to_owned()))?;
        let command = commands.iter().find(|command| command.name == name).ok_or_else(|| {
            let names: Vec<_> = commands.iter().map(|command| command.name).collect();
            let name = name.to_string_lossy();
            usage(format!("unknown command '{name}': expected {}", names.join(", ")))
        })?;
        self.command = Some(command);

        let name = self.next(&mut parser)?;
        let verb = command.verbs.iter().find(|verb| name.as_deref() == Some(verb.name().as_ref()));
        let verb = verb.ok_or_else(|| {
            let names: Vec<_> = command.verbs.iter().map(Word::name).collect();
            let names = names.join(", ");
            usage(match &name {
                Some(name) => {
                    format!("unknown command '{}': expected {names}", name.to_string_lossy())
                }
                None => format!("missing command: expected {names}"),
            })
        })?;
        self.verb = verb.name();

        let expected: Vec<_> = verb.arguments().split_whitespace().collect();
        let is_open = verb.arguments().ends_with('…');
        while let Some(argument) = self.next(&mut parser)? {
            if self.arguments.len() == expected.len() && !is_open {
                let argument = argument.to_string_lossy();
                return Err(usage(format!("unexpected argument '{argument}'")));
            }
            self.arguments.push(argument);
        }
        match expected.get(self.arguments.len()).filter(|name| !name.starts_with('[')) {
            Some(missing) => Err(usage(format!("missing {}", missing.trim_end_matches('…')))),
            None => Ok(command),
        }
    }

    /// The next word that is not an option. Stores the options before it.
    fn next(&mut self, parser: &mut Parser) -> Result<Option<OsString>, Exit> {
        loop {
            let typed = match parser.next()? {
                None => return Ok(None),
                Some(Arg::Value(word)) => return Ok(Some(word)),
                Some(Arg::Long(name)) => format!("--{name}"),
                Some(Arg::Short(letter)) => format!("-{letter}"),
            };
            match typed.as_str() {
                "--config-dir" => self.config_dir = Some(parser.value()?.into()),
                "--help" | "-h" => return Err(Exit::Help),
                "--version" | "-V" => return Err(Exit::Version),
                _ => {
                    let options = self.command.map_or(&[][..], |command| command.options);
                    let is_known = |known: &&Word| {
                        known.name() == typed && !self.verb.is_empty() && known.is_for(self.verb)
                    };
                    let known = options.iter().find(is_known);
                    let known = known.ok_or_else(|| usage(format!("unknown option '{typed}'")))?;
                    let value = match known.arguments() {
                        "" => OsString::new(),
                        _ => parser.value()?,
                    };
                    self.options.push((known.name(), value));
                }
            }
        }
    }

    /// The argument with this index.
    pub(super) fn text(&self, index: usize) -> Result<Option<&str>, Exit> {
        self.arguments.get(index).map(|word| utf8(word)).transpose()
    }

    /// The values of an option, in order.
    pub(super) fn values(&self, option: &str) -> impl DoubleEndedIterator<Item = &OsStr> {
        let with_name = self.options.iter().filter(move |(name, _)| *name == option);
        with_name.map(|(_, value)| value.as_os_str())
    }

    /// The last value of an option.
    pub(super) fn value(&self, option: &str) -> Option<&OsStr> {
        self.values(option).next_back()
    }

    /// The cloud profile of `--profile`.
    pub(super) fn profile(&self) -> Result<Option<Profile>, Exit> {
        let name = self.value(PROFILE.name());
        let parse = |name: &OsStr| {
            let profile = name.to_str().and_then(Profile::parse);
            profile.ok_or_else(|| usage(Profile::flaw(PROFILE.name(), name)))
        };
        name.map(parse).transpose()
    }

    /// The variables of the environment, with those that options stand for.
    pub(super) fn environment(&self) -> Result<Vec<(OsString, OsString)>, Exit> {
        let profile = self.profile()?;
        let selected = profile.map(|profile| Profile::environment(Some(&profile)));
        Ok(std::env::vars_os().chain(selected).collect())
    }

    /// The configuration directory.
    pub(super) fn config_dir(&self) -> PathBuf {
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
        "\n`tedge COMMAND --help` describes a command.\n\
         `tedge config list --doc` describes the settings.\n\n\
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

/// Adds a row for each word and its meaning.
pub(crate) fn columns(text: &mut String, start: &str, tables: &[&[Word]]) {
    let rows = || tables.iter().copied().flatten();
    let width = rows().map(|word| word.typed.chars().count()).max().unwrap_or_default();
    for word in rows() {
        let _ = writeln!(text, "  {start}{:<width$}  {}", word.typed, word.meaning);
    }
}
