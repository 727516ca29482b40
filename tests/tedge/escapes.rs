//! Control characters in names and texts of others are escaped before they reach a terminal.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use super::http_output::answer;
use crate::support::tedge::{Device, Done, run};

/// Clears the screen, then turns the direction of writing.
const EVIL: &str = "\u{1b}[2J\u{202e}x";
const SHOWN: &str = "\\u{1b}[2J\\u{202e}x";

#[track_caller]
fn is_escaped(done: &Done) {
    assert!(done.err.contains(SHOWN), "{done:?}");
    for text in [&done.err, &done.out] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{done:?}");
    }
}

#[test]
fn errors_and_warnings_escape_keys_values_names_and_answers() {
    let toml = format!("http.bind.port = \"\\u001b[2J\\u202ex\"\n\"a{EVIL}\" = 1\n");
    let toml = toml.replace('\u{1b}', "\\u001b");
    let device = Device::new().with("tedge.toml", toml);
    is_escaped(&device.tedge(&["config", "get", "http.bind.port"]));
    is_escaped(&device.tedge(&["config", "get", EVIL]));
    is_escaped(&device.tedge(&["config", "set", "http.bind.port", EVIL]));
    is_escaped(&device.tedge(&["http", "get", EVIL]));
    is_escaped(&device.tedge(&["certs", "show", EVIL]));
    fs::remove_file(device.path("tedge.toml")).unwrap();
    symlink("nowhere", device.directory.join(EVIL)).unwrap();
    is_escaped(&device.tedge(&["http", "get", "/te/v1/files/a", "--output", EVIL]));

    let (port, server) = answer(vec![Box::new(|stream, _| {
        let text = format!("one{EVIL}\ntwo");
        let head = format!("HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n", text.len());
        stream.write_all([head, text].concat().as_bytes()).unwrap();
    })]);
    let port = ("TEDGE_HTTP_CLIENT_PORT", &port);
    let done = device.tedge_with(port, &["http", "get", "/te/v1/files/a"]);
    server.join().unwrap();
    is_escaped(&done);
    assert!(done.err.ends_with(&format!("\none{SHOWN}\ntwo\n")), "{done:?}");
}

#[test]
fn a_value_is_raw_for_a_script_and_escaped_for_a_terminal_and_in_a_list() {
    let device = Device::new().with("tedge.toml", "device.id = \"\\u001b[2J\\u202ex\"\n");
    assert_eq!(device.get("device.id"), EVIL);
    let list = device.tedge(&["config", "list", "device.id"]).silent_success();
    assert_eq!(list, format!("device.id={SHOWN}"));
    let mut script = Command::new("script");
    script.env("SHELL", "/bin/sh");
    script.args(["-qefc", "./tedge config get device.id", "/dev/null"]);
    script.env("TEDGE_CONFIG_DIR", device.config_dir()).stdin(Stdio::null());
    let done = run(script.current_dir(&device.directory));
    assert_eq!((done.code, done.out), (Some(0), format!("{SHOWN}\r\n")));
}
