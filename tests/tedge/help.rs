//! Help and parser are made from the same tables.

use std::process::{Command, Stdio};

use common::cli::{COMMANDS, OPTIONS, Word};
use common::run;

use crate::support::tedge::{Device, run};

/// A help fits a terminal of 80 columns and 24 lines.
#[track_caller]
fn fits_a_screen(help: &str) {
    assert!(help.lines().count() <= 24, "{} lines: {help}", help.lines().count());
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
    assert!(help.contains("\nExample: tedge"), "{help}");
}

#[test]
fn every_help_fits_a_screen_and_says_each_word_of_the_table() {
    let device = Device::new();
    let all = device.tedge(&["--help"]).silent_success();
    fits_a_screen(&all);
    for command in COMMANDS {
        assert!(all.contains(&format!("  tedge {} ", command.name)), "{all}");
        let help = device.tedge(&[command.name, "--help"]).silent_success();
        fits_a_screen(&help);
        for verb in command.verbs {
            assert!(help.contains(&format!("  tedge {} {}  ", command.name, verb.typed)));
            let same = device.tedge(&[command.name, verb.name(), "--help"]).silent_success();
            assert_eq!(same, help);
        }
        for option in command.options.iter().chain(OPTIONS) {
            assert!(help.contains(&format!("\n  {} ", option.typed)), "{option:?} in {help}");
        }
    }
}

#[test]
fn the_help_of_a_service_fits_a_screen() {
    let mut service = Command::new(env!("CARGO_BIN_EXE_tedge-file-transfer"));
    let help = run(service.arg("--help")).silent_success();
    fits_a_screen(&help);
    for option in run::OPTIONS {
        assert!(help.contains(&format!("\n  {} ", option.typed)), "{option:?} in {help}");
    }
}

#[test]
fn every_option_of_the_table_is_taken_where_the_table_says_and_nowhere_else() {
    let device = Device::new();
    for command in COMMANDS {
        for verb in command.verbs {
            for option in command.options {
                let belongs = option.verbs.is_empty() || option.verbs.contains(&verb.name());
                let mut line = vec![command.name, verb.name(), option.name()];
                // The first of these makes it fail, by a word that nothing takes, before it acts.
                line.extend(value(option));
                line.extend(["--no-such-option"]);
                let done = device.tedge(&line);
                let unknown = if belongs { "--no-such-option" } else { option.name() };
                done.failed(2, &[&format!("unknown option '{unknown}'")]);
            }
        }
    }
    for option in
        run::OPTIONS.iter().filter(|option| !["--help", "--version"].contains(&option.name()))
    {
        let mut service = Command::new(env!("CARGO_BIN_EXE_tedge-file-transfer"));
        let done = run(service.arg(option.name()).args(value(option)).arg("--no-such-option"));
        done.failed(2, &["--no-such-option"]);
    }
}

/// Something that an option can have as its value.
fn value(option: &Word) -> Option<&'static str> {
    match option.arguments() {
        "" => None,
        "N" => Some("1"),
        "FILE" => Some("/dev/null"),
        "LEVEL" => Some("info"),
        "SOURCE" => Some("auto"),
        _ => Some("a/b").filter(|_| option.name() != "--host").or(Some("host")),
    }
}

/// What bash prints when this is typed, with the completion sourced; `\t` is the tabulator key.
fn typed(device: &Device, keys: &str) -> String {
    let completion = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/completion");
    let lines = format!(
        "PATH={}:$PATH\nsource {completion}/tedge\nsource {completion}/tedge-file-transfer\n\
         {keys}\nexit\n",
        device.directory.display()
    );
    let input = device.directory.join("keys");
    #[expect(clippy::disallowed_methods, reason = "a test blocks nobody")]
    std::fs::write(&input, lines).unwrap();
    // bash completes only in a terminal; `script` provides one.
    let mut script = Command::new("script");
    script.env("SHELL", "/bin/sh");
    script
        .args(["-qec", "bash --norc --noprofile -i", "/dev/null"])
        .env("TEDGE_CONFIG_DIR", device.config_dir())
        .env("TERM", "dumb")
        .env("INPUTRC", "/dev/null")
        .current_dir(&device.directory)
        .stdin(std::fs::File::open(input).unwrap())
        .stderr(Stdio::null());
    run(&mut script).out
}

#[test]
fn what_only_the_proxy_can_do_is_left_to_it() {
    let device = Device::new();
    let said = device.tedge(&["c8y", "token"]);
    said.failed(1, &["type `tedge-c8y-proxy tedge c8y token`", "package tedge-c8y-proxy"]);
    device.tedge(&["c8y", "token", "--source", "ftp"]).failed(2, &["unknown source 'ftp'"]);
}

#[test]
fn bash_completes_commands_verbs_keys_options_and_values() {
    let device = Device::new();
    for (keys, expected) in [
        ("tedge con\tge\thttp.bind.p\t", "8000"),
        ("tedge config get c8y.proxy.client.p\t", "8001"),
        ("tedge config --config-dir etc get http.connections.\t", "128"),
        ("tedge config list --a\thttp.connections", "http.connections.max=128"),
        ("tedge config set c8y.auth_method ba\t && tedge config get c8y.auth_method", "\nbasic"),
        ("tedge config set http.cert_path ./et\t && tedge config get http.cert_path", "/etc"),
        ("tedge http get /hea\t", "/health: "),
        ("tedge http put --fi\tx", "--file"),
        ("tedge c8y token --source htt\tx", "--source https x"),
        ("tedge-file-transfer --vers\t", "--version"),
    ] {
        assert!(!keys.contains(expected), "it would be seen in any case");
        let shown = typed(&device, keys).replace('\r', "");
        assert!(shown.contains(expected), "{keys:?}: {expected:?} in {shown}");
    }
}
