//! The help of `tedge` and of each subcommand, made from the tables that the parser reads.

use std::fmt::Write;

use super::command_line::{Command, OPTIONS, Word};

/// The help of `tedge`.
pub(super) fn of_all(commands: &[Command]) -> String {
    let mut text =
        "tedge: settings, transfers and certificates of this device.\n\nCommands:\n".to_owned();
    for command in commands {
        let _ = writeln!(text, "  tedge {:<8}{}", command.name, command.summary);
    }
    text.push_str("\nOptions:\n");
    columns(&mut text, "", &[OPTIONS]);
    text.push_str(
        "\n`tedge COMMAND --help` describes a command, `tedge config list --doc` settings.\n\n\
         Example: tedge config set http.bind.address 192.168.1.6\n",
    );
    text
}

/// The help of a subcommand.
pub(super) fn of(command: &Command) -> String {
    let Command { name, summary, verbs, options, notes, .. } = command;
    let mut text = format!("tedge {name}: {summary}.\n\nUsage:\n");
    columns(&mut text, &format!("tedge {name} "), &[verbs]);
    text.push_str("\nOptions:\n");
    columns(&mut text, "", &[options, OPTIONS]);
    text.push('\n');
    text.push_str(notes);
    text
}

/// Rows of what to type and what it means.
pub(crate) fn columns(text: &mut String, start: &str, tables: &[&[Word]]) {
    let rows = || tables.iter().copied().flatten();
    let width = rows().map(|word| word.typed.chars().count()).max().unwrap_or_default();
    for word in rows() {
        let _ = writeln!(text, "  {start}{:<width$}  {}", word.typed, word.meaning);
    }
}
