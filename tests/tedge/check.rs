//! `--check`: what would be served, without serving it.

use std::process::Command;

use crate::support::certificates::{Authority, Key, Validity};
use crate::support::tedge::{Device, Done, run};

fn check(device: &Device) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tedge-file-transfer"));
    command.env_clear().env("TEDGE_CONFIG_DIR", device.config_dir()).arg("--check");
    run(&mut command)
}

fn set(device: &Device, key: &str, value: &str) {
    let done = device.tedge(&["config", "set", key, value]);
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[test]
fn says_what_would_be_served_at_each_level() {
    let device = Device::new();
    assert_eq!(check(&device).silent_success(), "Serving http://127.0.0.1:8000");
    let authority = Authority::new(&device.directory, "ca");
    let pair = authority.server("main-agent", Key::P256);
    set(&device, "http.bind.address", "::");
    set(&device, "http.bind.port", "8443");
    set(&device, "http.cert_path", pair.cert.to_str().unwrap());
    set(&device, "http.key_path", pair.key.to_str().unwrap());
    let said = check(&device).silent_success();
    assert!(said.starts_with("Serving https://[::]:8443, certificate CN=main-agent"), "{said}");
    assert!(said.contains("valid until "), "{said}");
    set(&device, "http.ca_path", authority.cert.to_str().unwrap());
    let said = check(&device).silent_success();
    assert!(said.ends_with("clients need a certificate from 1 CA"), "{said}");
}

#[test]
fn warns_of_what_will_be_wrong_and_lists_what_is_not_ours() {
    let device = Device::new();
    let pair = Authority::new(&device.directory, "ca").server_until("soon", Validity::Days(3));
    set(&device, "http.cert_path", pair.cert.to_str().unwrap());
    set(&device, "http.key_path", pair.key.to_str().unwrap());
    let text = device.text("tedge.toml") + "\n[device]\ntype = \"thin-edge.io\"\n";
    let device = device.with("tedge.toml", text);
    let said = check(&device).silent_success();
    let lines: Vec<_> = said.lines().skip(1).collect();
    let [warning, unknown] = lines[..] else { panic!("{said}") };
    assert!(warning.starts_with("warning: ") && warning.contains("http.cert_path"), "{said}");
    assert!(unknown.starts_with("not a setting of these services: device.type in "), "{said}");
}

#[test]
fn what_would_stop_the_start_is_exit_78_and_named() {
    let device = Device::new();
    let pair = Authority::new(&device.directory, "ca").server("a", Key::P256);
    set(&device, "http.cert_path", pair.cert.to_str().unwrap());
    check(&device).failed(78, &["http.key_path"]);
    set(&device, "http.key_path", "/nowhere.key");
    check(&device).failed(78, &["http.key_path", "/nowhere.key does not exist"]);
    let device = device.with("tedge.toml", "http.bind.port = 99999\n");
    check(&device).failed(78, &["http.bind.port is '99999'", "tedge.toml, line 1"]);
    let device = device.with("tedge.toml", "http\n");
    check(&device).failed(78, &["tedge.toml, line 1, column "]);
}

#[test]
fn version_is_a_line_and_an_unknown_option_is_exit_2() {
    let service =
        |argument| run(Command::new(env!("CARGO_BIN_EXE_tedge-file-transfer")).arg(argument));
    for argument in ["--version", "-V"] {
        let version = concat!("tedge-file-transfer ", env!("CARGO_PKG_VERSION"));
        assert_eq!(service(argument).silent_success(), version);
    }
    assert_eq!(service("-h").silent_success(), service("--help").silent_success());
    service("--chek").failed(2, &["tedge-file-transfer: ", "--chek", "--help"]);
    service("serve").failed(2, &["serve", "--help"]);
}
