//! The same line on the main device and on a child, at each level of security.

use std::fs;
use std::process::Command;

use crate::support::certificates::{Authority, Key};
use crate::support::machine::{MAIN, Machine};
use crate::support::service::Service;
use crate::support::tedge::{Device, Done, run};

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
        self.set(0, "http.upload.min_free", "0");
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
            .failed(1, &["it requires a certificate", "http.client.auth.cert_file"]);
    }
    drop(service);
}

const PYTHON: &str = "import ssl,sys,urllib.request
ca, cert, key, url = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.verify_flags |= ssl.VERIFY_X509_STRICT
context.load_cert_chain(cert, key)
print(urllib.request.urlopen(url, context=context).read().decode(), end='')
";

#[test]
fn what_tedge_certs_makes_is_enough_for_both_devices_curl_python_and_openssl() {
    let Some(network) = Network::new() else { return };
    let certs = |place: usize, words: &str| {
        let words: Vec<_> = ["certs"].into_iter().chain(words.split(' ')).collect();
        let done = network.tedge(place, &words);
        assert_eq!(done.code, Some(0), "{done:?}");
    };
    let file = |place: usize, name: &str| {
        network.devices[place].path("device-local-certs").join(name).to_str().unwrap().to_owned()
    };
    certs(0, "ca");
    certs(0, &format!("server main-agent --host {MAIN} --host 192.0.2.1"));
    certs(0, "client main-client");
    // The child's key stays there; its request travels, and the certificate comes back.
    certs(1, "client tedge-client");
    certs(0, &format!("client tedge-client --csr {}", file(1, "tedge-client.csr")));
    for name in ["tedge-client.crt", "tedge-local-ca.crt"] {
        fs::copy(file(0, name), file(1, name)).unwrap();
    }
    network.set(0, "http.cert_path", &file(0, "main-agent.crt"));
    network.set(0, "http.key_path", &file(0, "main-agent.key"));
    network.set(0, "http.ca_path", &file(0, "tedge-local-ca.crt"));
    for (place, name) in [(0, "main-client"), (1, "tedge-client")] {
        network.set(place, "c8y.root_cert_path", &file(place, "tedge-local-ca.crt"));
        network.set(place, "http.client.auth.cert_file", &file(place, &format!("{name}.crt")));
        network.set(place, "http.client.auth.key_file", &file(place, &format!("{name}.key")));
    }
    let _service = network.serve();
    network.every_line_works();

    let there = |command: &mut Command| run(&mut network.machines[1].command(command));
    let [ca, cert, key] =
        ["tedge-local-ca.crt", "tedge-client.crt", "tedge-client.key"].map(|name| file(1, name));
    let put = network.tedge(0, &["http", "put", "/te/v1/files/foo.txt", "Hello thin-edge.io"]);
    put.silent_success();
    for host in [MAIN, "192.0.2.1"] {
        let url = format!("https://{host}:8000/tedge/file-transfer/foo.txt");
        let mut curl = Command::new("curl");
        curl.args(["-fsS", "--cacert", &ca, "--cert", &cert, "--key", &key, &url]);
        assert_eq!(there(&mut curl).silent_success(), "Hello thin-edge.io");
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", PYTHON, &ca, &cert, &key, &url]);
        assert_eq!(there(&mut python).silent_success(), "Hello thin-edge.io");
    }
    let mut openssl = Command::new("openssl");
    openssl.args([
        "s_client",
        "-connect",
        &format!("{MAIN}:8000"),
        "-verify_return_error",
        "-brief",
    ]);
    openssl.args(["-x509_strict", "-verify_hostname", MAIN, "-CAfile", &ca, "-cert", &cert]);
    openssl.args(["-key", &key]);
    let said = there(&mut openssl).err;
    assert!(said.contains("Verification: OK"), "{said}");
}
