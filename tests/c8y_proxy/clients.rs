//! Real clients, as their registries have them, pointed at the proxy and otherwise unchanged.
//!
//! `make test-clients` installs them and runs these tests; `make test` does not, since that would
//! hang on two more registries. `TEDGE_CLIENTS` names the directory that `tests/clients/install`
//! was given; without it these tests say that they are skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::device::Device;

fn run(program: &str, script: &str) {
    let Some(directory) = std::env::var_os("TEDGE_CLIENTS").map(PathBuf::from) else {
        eprintln!("skipped: TEDGE_CLIENTS does not name what tests/clients/install has installed");
        return;
    };
    let device = Device::start();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients");
    let program =
        if program == "python" { directory.join("python/bin/python") } else { program.into() };
    let output = Command::new("timeout")
        .arg("60")
        .arg(program)
        .arg(scripts.join(script))
        .arg(format!("http://127.0.0.1:{}/c8y", device.proxy.address.port()))
        .arg(&directory)
        .output()
        .unwrap();
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.ends_with("done\n"), "{said}{complaint}");
    // None of them needed an Authorization of its own.
    let seen = device.cloud().seen().requests;
    assert!(!seen.is_empty() && seen.iter().all(|request| request.bearer().is_some()));
}

#[test]
fn python_requests() {
    run("python", "requests_client.py");
}

#[test]
fn python_websockets() {
    run("python", "websockets_client.py");
}

#[test]
fn c8y_api_of_pypi() {
    run("python", "c8y_api_client.py");
}

#[test]
fn fetch_of_node() {
    run("node", "fetch.mjs");
}

#[test]
fn c8y_client_of_npm() {
    run("node", "c8y_client.mjs");
}
