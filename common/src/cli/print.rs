//! Standard output and standard error of a command.

use std::io::{self, Write};

use crate::error::Error;

/// Prints to standard output. A reader that has gone is not an error.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a line to standard error. If that fails, there is nobody to tell.
pub(super) fn report(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints warnings.
pub(super) fn warn(warnings: &[String]) {
    for warning in warnings {
        report(&format!("Warning: {warning}"));
    }
}
