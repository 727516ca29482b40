//! The command line of a service.

use std::ffi::OsString;
use std::path::PathBuf;

use log::LevelFilter;

use crate::cli::{Word, columns};
use crate::error::Error;
use crate::settings::Profile;

/// The options of a service.
pub const OPTIONS: &[Word] = &[
    Word::new("--config-dir DIR", "directory of tedge.toml (default: /etc/tedge)"),
    Word::new("--log-level LEVEL", "error, warn, info, debug, trace (default: RUST_LOG or info)"),
    Word::new("--check", "check settings and certificates, print the address and exit"),
    Word::new("--help", "print this help"),
    Word::new("--version", "print the version"),
];

/// The option of a service that has cloud profiles.
pub const PROFILE: &[Word] =
    &[Word::new("--profile PROFILE", "cloud profile, for c8y.* (default: TEDGE_CLOUD_PROFILE)")];

#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) config_dir: Option<PathBuf>,
    pub(super) log_level: Option<LevelFilter>,
    pub(super) check: bool,
    pub(super) profile: Option<OsString>,
    /// Used by the unit only, and therefore not in the help.
    pub(super) stage: bool,
}

pub(super) enum Action {
    Help,
    Version,
    Run(Arguments),
}

impl Arguments {
    pub(super) fn parse(arguments: Vec<OsString>, has_profiles: bool) -> Result<Action, Error> {
        use lexopt::prelude::{Long, Short, ValueExt};

        let usage = |error: lexopt::Error| Error::Usage(format!("{error}; see --help"));
        let mut parser = lexopt::Parser::from_iter(arguments);
        let mut parsed = Self::default();
        while let Some(argument) = parser.next().map_err(usage)? {
            match argument {
                Long("config-dir") => {
                    parsed.config_dir = Some(parser.value().map_err(usage)?.into());
                }
                Long("log-level") => {
                    let level = parser.value().and_then(|value| value.parse()).map_err(usage)?;
                    parsed.log_level = Some(level);
                }
                Long("profile") if has_profiles => {
                    parsed.profile = Some(parser.value().map_err(usage)?);
                }
                Long("check") => parsed.check = true,
                Long("stage") => parsed.stage = true,
                Long("help") | Short('h') => return Ok(Action::Help),
                Long("version") | Short('V') => return Ok(Action::Version),
                other => return Err(usage(other.unexpected())),
            }
        }
        Ok(Action::Run(parsed))
    }

    /// The variables of the environment, and those that stand for options.
    pub(super) fn environment(&self) -> impl Iterator<Item = (OsString, OsString)> {
        let profile = self.profile.iter().map(|name| (Profile::VARIABLE.into(), name.clone()));
        std::env::vars_os().chain(profile)
    }

    /// `--log-level`, else the first plain level in `RUST_LOG`, else `info`.
    pub(super) fn level(&self) -> LevelFilter {
        let environment = || {
            let directives = std::env::var("RUST_LOG").ok()?;
            directives.split(',').find_map(|directive| directive.trim().parse().ok())
        };
        self.log_level.or_else(environment).unwrap_or(LevelFilter::Info)
    }
}

pub(super) fn help(program: &str, summary: &str, has_profiles: bool) -> String {
    let mut text = format!(
        "{program}: {summary}

Usage: {program} [OPTION]…
       {program} tedge …

Options:
"
    );
    columns(&mut text, "", &[if has_profiles { PROFILE } else { &[] }, OPTIONS]);
    text.push_str(
        "
Signals: SIGHUP reloads certificates, keys, CAs, revocation lists and access
rules. SIGTERM and SIGINT stop the service when running requests are finished,
after 30 s at most. A second signal stops it immediately.

`tedge config set` changes settings, `tedge config list --doc` explains them.
",
    );
    text + "Example: " + program + " --config-dir /etc/tedge --log-level debug\n"
}
