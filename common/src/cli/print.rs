//! Standard output and standard error of a command.

use std::io::{self, IsTerminal, Write};

use crate::error::Error;
use crate::escape::Escaped;

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

/// Prints a line to standard error, with what would do something to a terminal escaped: values, names
/// and answers in it may be another user's. If that fails, there is nobody to tell.
pub(super) fn report(line: &str) {
    let _ = writeln!(io::stderr(), "{}", Escaped(line));
}

/// Prints a value to standard output: as it is for a script, escaped for a terminal.
pub(super) fn print_value(value: &str) -> Result<(), Error> {
    match io::stdout().is_terminal() {
        true => print(&format!("{}\n", Escaped(value))),
        false => print(&format!("{value}\n")),
    }
}

/// Prints warnings.
pub(super) fn warn(warnings: &[String]) {
    for warning in warnings {
        report(&format!("Warning: {warning}"));
    }
}
