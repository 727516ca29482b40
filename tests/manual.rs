//! Makes the man pages, the bash completion and the files about settings, from the tables of the
//! command line and of the settings. The tests fail if a file in the repository is stale; with
//! UPDATE=1 in the environment, they write it again. The programs contain nothing of this.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "manual"]
mod made {
    pub(crate) mod bash;
    pub(crate) mod details;
    pub(crate) mod mdoc;
    pub(crate) mod pages;
    pub(crate) mod rules;
    pub(crate) mod settings;
}

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::settings::{Layer, Program, SETTINGS, Settings};
use made::{bash, mdoc, pages, settings};

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
        ("packaging/tedge.toml", settings::template(false)),
        ("packaging/tedge-http.toml", settings::template(true)),
        ("README.md", readme()),
    ]
}

/// README.md with the table of settings as it should be.
fn readme() -> String {
    const BEGIN: &str = "<!-- settings -->\n";
    const END: &str = "<!-- /settings -->";
    let old = fs::read_to_string(in_repository("README.md")).unwrap();
    let (before, rest) = old.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    format!("{before}{BEGIN}{}{END}{after}", settings::markdown())
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

#[test]
fn an_installed_file_sets_nothing_and_all_of_it_can_be_uncommented() {
    let directory = std::env::temp_dir().join(format!("template-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let uncommented = |text: String| -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    };
    for (own, name) in [(false, "tedge.toml"), (true, "tedge-http.toml")] {
        #[expect(clippy::disallowed_methods, reason = "a test blocks nobody")]
        fs::write(directory.join(name), uncommented(settings::template(own))).unwrap();
    }
    let loaded = Settings::load(&directory, [], &[]).unwrap();
    assert_eq!((loaded.warnings, loaded.unknown), (Vec::new(), Vec::new()));
    let defaults = SETTINGS
        .iter()
        .filter(|setting| matches!(loaded.settings.layer(setting.key), Layer::Default));
    assert_eq!(defaults.count(), 0);
    fs::remove_dir_all(directory).unwrap();
}
