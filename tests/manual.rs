//! Man pages and bash completion, made from the tables of the command line and of the settings.
//! What is in `packaging` fails the tests when it is stale; with UPDATE=1 in the environment they
//! write it anew. Nothing of this is in the programs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "manual"]
mod made {
    pub(crate) mod bash;
    pub(crate) mod mdoc;
    pub(crate) mod pages;
}

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::settings::Program;
use made::{bash, mdoc, pages};

/// Every file that is made here, and what has to be in it.
fn files() -> Vec<(&'static str, String)> {
    vec![
        ("packaging/man/tedge.1", pages::tedge()),
        ("packaging/man/tedge-file-transfer.8", pages::service(Program::FileTransfer)),
        ("packaging/man/tedge-c8y-proxy.8", pages::service(Program::C8yProxy)),
        ("packaging/man/tedge.toml.5", pages::tedge_toml()),
        ("packaging/completion/tedge", bash::tedge()),
        ("packaging/completion/tedge-file-transfer", bash::service(Program::FileTransfer)),
        ("packaging/completion/tedge-c8y-proxy", bash::service(Program::C8yProxy)),
    ]
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A page as a program shows it, `None` where that program is not here.
fn shown(program: &str, arguments: &[&str], page: &str) -> Option<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

#[test]
fn what_is_installed_says_what_the_tables_say() {
    for (path, fresh) in files() {
        let path = in_repository(path);
        if fs::read_to_string(&path).is_ok_and(|old| old == fresh) {
            continue;
        }
        let stale = "is stale: run the tests with UPDATE=1";
        assert!(std::env::var_os("UPDATE").is_some(), "{} {stale}", path.display());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test blocks nobody")]
        fs::write(path, fresh).unwrap();
    }
}

#[test]
fn man_pages_are_clean_to_mandoc() {
    for (path, page) in files().iter().filter(|(path, _)| path.starts_with("packaging/man/")) {
        let arguments = ["-T", "lint", "-W", "style"];
        let Some(lint) = shown("mandoc", &arguments, page) else {
            eprintln!("skipped: mandoc is not here");
            return;
        };
        // "referenced manual not found" is of a machine on which we are not installed.
        let complaints = String::from_utf8(lint.stdout).unwrap();
        let mut complaints = complaints.lines().filter(|line| !line.contains("Xr tedge"));
        assert_eq!(complaints.next(), None, "{path}");
    }
}

#[test]
fn a_man_page_shows_every_word_of_the_table() {
    let Some(page) = shown("mandoc", &["-T", "utf8"], &pages::tedge()) else {
        eprintln!("skipped: mandoc is not here");
        return;
    };
    // Bold and underlined are written over with a backspace.
    let text = String::from_utf8(page.stdout).unwrap();
    let mut plain = String::new();
    for letter in text.chars() {
        if letter == '\u{8}' {
            plain.pop();
        } else {
            plain.push(letter);
        }
    }
    let plain: Vec<_> = plain.split_whitespace().collect();
    let plain = plain.join(" ");
    for command in common::cli::COMMANDS {
        for word in command.verbs.iter().chain(command.options) {
            for part in [word.typed.replace('…', " ..."), mdoc::capital(word.meaning)] {
                assert!(plain.contains(&part), "{part:?} in {plain}");
            }
        }
    }
}
