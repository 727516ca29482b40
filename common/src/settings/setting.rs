//! What is known about a setting apart from its value.

use super::column::{Column, Kind};
use crate::error::Error;

/// One setting, as the table states it.
#[derive(Debug)]
pub struct Setting {
    /// Its place in the table.
    pub(super) place: usize,
    /// The name in files and on the command line.
    pub key: &'static str,
    /// What it means, in a sentence or two.
    pub meaning: &'static str,
    /// Which values it takes.
    pub kind: Kind,
    /// What holds where nobody says anything.
    pub fallback: Fallback,
    /// Who reads it.
    pub used_by: &'static [Program],
    /// A value that somebody may want.
    pub example: &'static str,
    /// Whether thin-edge.io lacks it, so that it lives in `tedge-http.toml`.
    pub own: bool,
}

/// What holds where a setting is not set.
#[derive(Debug)]
pub enum Fallback {
    /// Nothing.
    Unset,
    /// A constant.
    Const(&'static str),
    /// A path below the configuration directory.
    Below(&'static str),
    /// The value of the first of these keys that is set, else a constant where there is one.
    Like(&'static [&'static str], Option<&'static str>),
}

/// Who reads a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The File Transfer Service.
    FileTransfer,
    /// The Cumulocity Proxy.
    C8yProxy,
    /// The `tedge` command.
    Tedge,
}

impl Program {
    /// The name of the program, which for a service is that of its unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::FileTransfer => "tedge-file-transfer",
            Self::C8yProxy => "tedge-c8y-proxy",
            Self::Tedge => "tedge",
        }
    }
}

/// The variable that a setting has in the environment: `TEDGE_HTTP_BIND_PORT`.
pub fn variable(key: &str) -> String {
    format!("TEDGE_{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Where the typed values of the table are taken from.
pub(super) trait Typed {
    /// The value of this setting, which is of this type.
    fn typed<T: Column>(&self, setting: &Setting) -> Result<T::Value, Error>;
}
