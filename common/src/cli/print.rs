//! Standard output and standard error of a command.

use std::io::{self, IsTerminal, Write};

use crate::error::Error;
use crate::escape::Escaped;

/// Prints to standard output. A closed pipe is not an error.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a line to standard error. Control characters are escaped, because values, names and
/// answers in it may be from another user. A failure cannot be reported and is ignored.
pub(super) fn report(line: &str) {
    let _ = writeln!(io::stderr(), "{}", Escaped(line));
}

/// Prints a value to standard output: escaped at a terminal, else unchanged.
pub(super) fn print_value(value: &str) -> Result<(), Error> {
    match io::stdout().is_terminal() {
        true => print(&format!("{}\n", Escaped(value))),
        false => print(&format!("{value}\n")),
    }
}

pub(super) fn warn(warnings: &[String]) {
    for warning in warnings {
        report(&format!("Warning: {warning}"));
    }
}
