//! The same line on the main device and on a child, at each level of security.

use std::fs;
use std::process::Command;

use crate::certificates::{Authority, Key};
use crate::machine::{MAIN, Machine};
use crate::service::Service;
use crate::support::{Device, Done, run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tedge-file-transfer");

/// Two machines, each with a configuration of its own; the service is on the first.
struct Network {
    machines: [Machine; 2],
    devices: [Device; 2],
}

impl Network {
    fn new() -> Option<Self> {
        let Some(machines) = Machine::pair() else {
            eprintln!("skipped: no namespace can be made here");
            return None;
        };
        let network = Self { machines, devices: [Device::new(), Device::new()] };
        // All that a child has to know.
        network.devices[1].tedge(&["config", "set", "http.client.host", MAIN]).silent_success();
        Some(network)
    }

    fn set(&self, place: usize, key: &str, value: &str) {
        let done = self.devices[place].tedge(&["config", "set", key, value]);
        assert_eq!(done.code, Some(0), "{done:?}");
    }

    fn serve(&self) -> Service {
        let config_dir = self.devices[0].config_dir();
        self.set(0, "http.bind.address", "::");
        self.set(0, "data.path", self.devices[0].directory.join("data").to_str().unwrap());
        fs::create_dir_all(self.devices[0].directory.join("data")).unwrap();
        Service::start(PROGRAM, |setup| {
            let enter = self.machines[0].enter();
            setup.wrap(&enter.iter().map(String::as_str).collect::<Vec<_>>());
            // The last of two counts.
            setup.argument("--config-dir");
            setup.argument(config_dir.to_str().unwrap());
        })
    }

    fn command(&self, place: usize, arguments: &[&str]) -> Command {
        self.machines[place].command(&self.devices[place].command(arguments))
    }

    fn tedge(&self, place: usize, arguments: &[&str]) -> Done {
        run(&mut self.command(place, arguments))
    }

    /// Every verb, from both machines, with each way of giving the content.
    fn every_line_works(&self) {
        let big = self.devices[0].directory.join("big");
        fs::write(
            &big,
            (0..3_000_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect::<Vec<_>>(),
        )
        .unwrap();
        for place in [0, 1] {
            let uri = "/te/v1/files/main/log.txt";
            let http = |words: &[&str]| self.tedge(place, &[&["http"], words].concat());
            http(&["put", uri, "{\"text\": \"ü\"}"]).silent_success();
            assert_eq!(http(&["get", uri]).silent_success(), "{\"text\": \"ü\"}");
            http(&["put", uri, "--data", "more"]).silent_success();
            assert_eq!(
                http(&["get", "/tedge/file-transfer/main/log.txt"]).silent_success(),
                "more"
            );
            http(&["put", uri, ""]).silent_success();
            assert_eq!(http(&["get", uri]).silent_success(), "");

            http(&["put", uri, "--file", big.to_str().unwrap()]).silent_success();
            let copy = self.devices[place].directory.join("copy");
            http(&["get", uri, "--output", copy.to_str().unwrap()]).silent_success();
            assert!(fs::read(&copy).unwrap() == fs::read(&big).unwrap());

            // What cannot be read twice has to wait for the redirect.
            let mut piped = self.command(place, &["http", "put", uri, "--file", "-"]);
            run(piped.stdin(fs::File::open(&big).unwrap())).silent_success();
            let stored = self.devices[0].directory.join("data/file-transfer/main/log.txt");
            assert!(fs::read(stored).unwrap() == fs::read(&big).unwrap());

            http(&["delete", uri]).silent_success();
            let gone = http(&["get", uri]);
            gone.failed(1, &["Error: failed to GET http", "HTTP client error: 404 Not Found\n"]);
            assert!(gone.err.ends_with("File not found: \"main/log.txt\"\n"), "{gone:?}");
            assert_eq!(http(&["get", "/health"]).silent_success(), "{\"status\":\"up\"}");
        }
    }
}

#[test]
fn the_same_line_works_on_main_device_and_child_at_every_level() {
    let Some(network) = Network::new() else { return };
    let service = network.serve();
    assert_eq!(service.scheme, "http");
    network.every_line_works();
    drop(service);

    let authority = Authority::new(&network.devices[0].directory, "tedge-local-ca");
    let names = format!("DNS:{MAIN},DNS:localhost,IP:127.0.0.1");
    let server = authority.server_for("main-agent", &names);
    network.set(0, "http.cert_path", server.cert.to_str().unwrap());
    network.set(0, "http.key_path", server.key.to_str().unwrap());
    for place in [0, 1] {
        network.set(place, "c8y.root_cert_path", authority.cert.to_str().unwrap());
    }
    let service = network.serve();
    assert_eq!(service.scheme, "https");
    network.every_line_works();
    drop(service);

    network.set(0, "http.ca_path", authority.cert.to_str().unwrap());
    for place in [0, 1] {
        let client = authority.client(&format!("client-{place}"), Key::P256);
        network.set(place, "http.client.auth.cert_file", client.cert.to_str().unwrap());
        network.set(place, "http.client.auth.key_file", client.key.to_str().unwrap());
    }
    let service = network.serve();
    network.every_line_works();
    for place in [0, 1] {
        let unset =
            network.devices[place].tedge(&["config", "unset", "http.client.auth.cert_file"]);
        assert_eq!(unset.code, Some(0), "{unset:?}");
        let unset = network.devices[place].tedge(&["config", "unset", "http.client.auth.key_file"]);
        assert_eq!(unset.code, Some(0), "{unset:?}");
        network
            .tedge(place, &["http", "get", "/health"])
            .failed(1, &["it demands a certificate", "http.client.auth.cert_file"]);
    }
    drop(service);
}
