//! file_transfer

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().peekable();
    let name = arguments.next().unwrap_or_default();
    let is_tedge = Path::new(&name).file_name() == Some(OsStr::new("tedge"));
    if is_tedge || arguments.next_if(|argument| argument == "tedge").is_some() {
        return common::cli::main(arguments);
    }
    ExitCode::SUCCESS
}
