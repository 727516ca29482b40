//! Which value of a setting holds: argument before environment before file before default.
//! Collects what a person should be warned of, and prints nothing.

use std::ffi::OsString;
use std::fmt;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::file::Written;
use super::sources::Sources;
use super::{Column, OLD_SPELLINGS, SETTINGS, Settings, Shape, find};
use crate::error::Error;
use crate::tls::source;
use crate::x509::certificate::Certificate;

/// Settings, and what reading them brought to light.
#[derive(Debug)]
pub struct Loaded {
    /// The settings in effect.
    pub settings: Settings,
    /// What the caller should log: slips, old spellings, ignored tables.
    pub warnings: Vec<String>,
    /// Keys and variables that are not ours, for `--check`.
    pub unknown: Vec<String>,
}

/// Where a value came from, as messages say it after "in" or "from".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    #[default]
    Default,
    /// A line of a file, perhaps under another key than the setting's own.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment(String),
    /// The command line.
    Argument,
    /// The subject of a certificate.
    Certificate(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::Argument => f.write_str("the command line"),
            Self::Certificate(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A value in effect, not yet of its type.
#[derive(Clone, Debug)]
pub struct Found {
    /// The value as text.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
    /// The key that it was found under, which is another one for a default taken from there.
    key: String,
    is_right_shape: bool,
}

/// What holds for each setting, before types.
#[derive(Debug)]
pub struct Values {
    found: Vec<Option<Found>>,
    /// See [`Loaded::warnings`].
    pub warnings: Vec<String>,
    /// See [`Loaded::unknown`].
    pub unknown: Vec<String>,
}

impl Values {
    /// Reads files and environment, and chooses. No value is checked yet.
    pub fn read(
        config_dir: &Path,
        environment: Vec<(OsString, OsString)>,
        arguments: &[(&'static str, String)],
    ) -> Result<Self, Error> {
        let mut sources = Sources::default();
        sources.add_arguments(arguments);
        sources.add_environment(environment)?;
        sources.add_files(config_dir)?;
        let mut values = Self {
            found: SETTINGS.iter().map(|setting| sources.choose(setting, config_dir)).collect(),
            warnings: sources.warnings,
            unknown: sources.unknown,
        };
        values.name_device();
        Ok(values)
    }

    /// The value of the setting at this place of the table, if it has one.
    pub fn found(&self, index: usize) -> Option<&Found> {
        self.found.get(index)?.as_ref()
    }

    /// What a file says of the setting at this place of the table, under its key or an old
    /// spelling.
    pub fn written(&self, index: usize) -> Option<&str> {
        let found = self.found(index)?;
        let setting = SETTINGS.get(index)?;
        let is_its_own =
            found.key == setting.key || OLD_SPELLINGS.contains(&(found.key.as_str(), setting.key));
        let is_in_file = matches!(found.origin, Origin::File { .. });
        (is_its_own && is_in_file).then_some(&found.text)
    }

    /// Fails where the value of the setting at this place of the table is none of its kind.
    pub fn check(&self, index: usize) -> Result<(), Error> {
        let (Some(setting), Some(found)) = (SETTINGS.get(index), self.found(index)) else {
            return Ok(());
        };
        let is_valid = found.is_right_shape && (setting.kind.is_valid)(&found.text);
        if is_valid { Ok(()) } else { Err(self.refusal(index)) }
    }

    pub(super) fn typed<T: Column>(&self, index: usize) -> Result<T::Value, Error> {
        let parsed = match self.found(index) {
            Some(found) if found.is_right_shape => T::parse(&found.text),
            Some(_) => None,
            None => T::unset(),
        };
        parsed.ok_or_else(|| self.refusal(index))
    }

    pub(super) fn origins(&self) -> Vec<Origin> {
        let origin = |found: &Option<Found>| match found {
            Some(found) => found.origin.clone(),
            None => Origin::Default,
        };
        self.found.iter().map(origin).collect()
    }

    fn refusal(&self, index: usize) -> Error {
        let (expected, is_secret) = SETTINGS
            .get(index)
            .map_or(("a setting", false), |found| (found.kind.expected, found.kind.is_secret));
        Error::Configuration(match self.found(index) {
            Some(Found { text, origin, key, .. }) => {
                // What is secret does not belong in a journal.
                let text = if is_secret { "…" } else { text };
                format!("{key} is '{text}' in {origin}: expected {expected}")
            }
            None => format!("setting {index} has neither value nor default: expected {expected}"),
        })
    }

    /// The subject of the device's certificate is the name of the device.
    fn name_device(&mut self) {
        let (Some((id, _)), Some((certificate, _))) = (find("device.id"), find("device.cert_path"))
        else {
            return;
        };
        let Some(path) = self.found(certificate).map(|found| PathBuf::from(&found.text)) else {
            return;
        };
        if matches!(path.try_exists(), Ok(false)) {
            return;
        }
        let named = source::open(&path).and_then(|pem| {
            common_name(pem).ok_or_else(|| "is no PEM certificate with a common name".to_owned())
        });
        match named {
            Ok(text) => {
                let origin = Origin::Certificate(path);
                self.found[id] =
                    Some(Found::new("device.id", Written::Text(text), origin, Shape::Text));
            }
            Err(what) => self.warnings.push(format!("device.id: {} {what}", path.display())),
        }
    }
}

/// The common name of the first certificate in this PEM text.
fn common_name(pem: impl BufRead) -> Option<String> {
    let der = CertificateDer::pem_reader_iter(pem).next()?.ok()?;
    let name = Certificate::parse(&der).ok()?.common_name()?.into_owned();
    (!name.is_empty()).then_some(name)
}

impl Found {
    pub(super) fn new(key: &str, written: Written, origin: Origin, shape: Shape) -> Self {
        let from_file = matches!(origin, Origin::File { .. });
        let (text, is_right_shape) = match written {
            Written::Text(text) => {
                (text, !from_file || !matches!(shape, Shape::Integer | Shape::Boolean))
            }
            Written::Integer(number) => {
                (number.to_string(), matches!(shape, Shape::Integer | Shape::Quantity))
            }
            Written::Boolean(truth) => (truth.to_string(), shape == Shape::Boolean),
            Written::List(items) => (items.join(","), shape == Shape::List),
            Written::Other(text) => (text, false),
        };
        Self { text, origin, key: key.to_owned(), is_right_shape }
    }
}
