//! Where a value comes from.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from, as messages say it after "in" or "from".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Layer {
    /// No layer has a value.
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

impl fmt::Display for Layer {
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
