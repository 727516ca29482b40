//! Errors that end a service or a command, each with its exit code.

use std::fmt;

/// Why a service or a command failed; a person can act on it.
///
/// Each message names what failed, where it came from (key, file, address) and what to do.
#[derive(Debug)]
pub enum Error {
    /// Something outside the configuration failed: a busy port, a full disk. Exit 1.
    Failed(String),
    /// The command line cannot be understood. Exit 2.
    Usage(String),
    /// The configuration has to be changed first. Exit 78, as in sysexits(3), so that systemd
    /// does not try again.
    Configuration(String),
}

impl Error {
    /// The exit code of the process that ends by this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Configuration(_) => 78,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(message) | Self::Usage(message) | Self::Configuration(message) => {
                f.write_str(message)
            }
        }
    }
}

impl std::error::Error for Error {}

/// An error and its causes in one line: `cannot do this: because of that`.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !line.ends_with(&cause_text) {
            line.push_str(": ");
            line.push_str(&cause_text);
        }
        source = cause.source();
    }
    line
}
