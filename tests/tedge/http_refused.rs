//! What `tedge http` reports if it cannot do what was requested: each message says what to do.

use std::net::TcpListener;
use std::process::Command;

use crate::support::certificates::{Authority, Key, Pair, Validity};
use crate::support::directory::Directory;
use crate::support::service::{Service, Setup};
use crate::support::tedge::{Device, run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tedge-file-transfer");

fn serve(configure: impl FnOnce(&mut Setup)) -> Service {
    Service::start(PROGRAM, |setup| {
        setup.set("data.path", setup.directory().join("data"));
        std::fs::create_dir_all(setup.directory().join("data")).unwrap();
        setup.set_raw("http.bind.port", 0);
        setup.set_own("http.upload.min_free", 0);
        configure(setup);
    })
}

/// A child of this service, which believes this authority.
fn child(service: &Service, authority: &Authority) -> Device {
    let device = Device::new();
    let port = service.address.port().to_string();
    device.tedge(&["config", "set", "http.client.port", &port]).silent_success();
    trust(&device, authority);
    device
}

fn trust(device: &Device, authority: &Authority) {
    let done =
        device.tedge(&["config", "set", "c8y.root_cert_path", authority.cert.to_str().unwrap()]);
    assert_eq!(done.code, Some(0));
}

fn show(device: &Device, pair: &Pair) {
    for (key, path) in [("cert_file", &pair.cert), ("key_file", &pair.key)] {
        let key = format!("http.client.auth.{key}");
        let done = device.tedge(&["config", "set", &key, path.to_str().unwrap()]);
        assert_eq!(done.code, Some(0));
    }
}

#[test]
fn a_server_that_cannot_be_believed_is_said_why_and_what_to_do() {
    let directory = Directory::new();
    let [ours, other] = ["ours", "other"].map(|name| Authority::new(directory.path(), name));
    let refused = |pair: &Pair, said: &[&str]| {
        let service = serve(|setup| {
            setup.set("http.cert_path", &pair.cert);
            setup.set("http.key_path", &pair.key);
        });
        let device = child(&service, &ours);
        let url =
            format!("failed to PUT https://127.0.0.1:{}/te/v1/files/a", service.address.port());
        let done = device.tedge(&["http", "put", "/te/v1/files/a", "secret"]);
        done.failed(1, said);
        done.failed(1, &[&url]);
    };
    refused(
        &other.server("a", Key::P256),
        &["signed by an unknown authority", "c8y.root_cert_path"],
    );
    refused(
        &ours.server_until("b", Validity::Expired),
        &["has expired on 2020-02-01", "check the clock", "tedge certs server"],
    );
    refused(
        &ours.server_for("c", "DNS:gateway"),
        &["is not for 127.0.0.1, but for ", "gateway", "http.client.host"],
    );
}

#[test]
fn a_client_that_is_refused_hears_which_setting_to_look_at() {
    let directory = Directory::new();
    let [ours, other] = ["ours", "other"].map(|name| Authority::new(directory.path(), name));
    let server = ours.server("main-agent", Key::P256);
    let service = serve(|setup| {
        setup.set("http.cert_path", &server.cert);
        setup.set("http.key_path", &server.key);
        setup.set("http.ca_path", &ours.cert);
    });
    let device = child(&service, &ours);
    let get = || device.tedge(&["http", "get", "/health"]);
    get().failed(1, &["it requires a certificate, and we sent none", "http.client.auth.cert_file"]);
    show(&device, &other.client("foreign", Key::P256));
    get().failed(1, &["does not trust the CA of our certificate", "http.client.auth.cert_file"]);
    show(&device, &ours.client_until("late", Validity::Expired));
    get().failed(1, &["our certificate has expired", "http.client.auth.cert_file"]);
    show(&device, &ours.client("kid", Key::P256));
    get().silent_success();

    let done = device.tedge(&["config", "unset", "http.client.auth.key_file"]);
    assert_eq!(done.code, Some(0));
    get().failed(78, &["http.client.auth.key_file"]);
    let done = device.tedge(&["config", "set", "http.client.auth.key_file", "/nowhere.key"]);
    assert_eq!(done.code, Some(0));
    get().failed(78, &["http.client.auth.key_file", "/nowhere.key does not exist"]);
}

#[test]
fn the_cas_of_the_system_are_trusted_beside_that_of_the_cloud() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can give the system other CAs");
    }
    let directory = Directory::new();
    let [ours, other] = ["ours", "other"].map(|name| Authority::new(directory.path(), name));
    let server = ours.server("main-agent", Key::P256);
    let service = serve(|setup| {
        setup.set("http.cert_path", &server.cert);
        setup.set("http.key_path", &server.key);
    });
    let device = child(&service, &other);
    let system = device.directory.join("system");
    std::fs::create_dir(&system).unwrap();
    let get = || {
        let script = "mount --bind system /etc/ssl/certs && exec ./tedge http get /health";
        let mut shell = Command::new("unshare");
        shell.args(["-m", "sh", "-c", script]).current_dir(&device.directory);
        run(shell.env("TEDGE_CONFIG_DIR", device.config_dir()))
    };
    get().failed(1, &["signed by an unknown authority"]);
    std::fs::copy(&ours.cert, system.join("ours.pem")).unwrap();
    get().silent_success();
}

#[test]
fn where_nobody_answers_the_settings_are_named() {
    let device = Device::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let variable = ("TEDGE_HTTP_CLIENT_PORT", free.to_string());
    let done = device.tedge_with(variable, &["http", "get", "/health"]);
    done.failed(1, &["Connection refused", "see http.client.host and http.client.port"]);
    let variable = ("TEDGE_C8Y_PROXY_CLIENT_PORT", free.to_string());
    let done = device.tedge_with(variable, &["http", "get", "/c8y/inventory"]);
    done.failed(1, &["see c8y.proxy.client.host and c8y.proxy.client.port"]);
    let variable = ("TEDGE_HTTP_CLIENT_HOST", "no-such-host.invalid");
    let done = device.tedge_with(variable, &["http", "get", "/health"]);
    done.failed(1, &["no-such-host.invalid", "http.client.host"]);
}

#[test]
fn a_line_that_makes_no_sense_asks_nobody() {
    let device = Device::new();
    for (words, code, said) in [
        (&["get"][..], 2, "missing URI"),
        (
            &["fetch", "/health"],
            2,
            "unknown command 'fetch': expected get, delete, put, post, patch",
        ),
        (&["get", "/other"], 1, "Not a local HTTP uri: /other"),
        (&["get", "http://localhost/te"], 1, "Not a local HTTP uri: http://localhost/te"),
        (&["get", "/te", "x"], 2, "unexpected argument 'x'"),
        (&["put", "/te", "a", "--file", "b"], 2, "the content is given twice"),
        (&["put", "/te", "--file", "/nowhere/x"], 1, "cannot read /nowhere/x"),
        (&["put", "/te", "--file", "/"], 1, "cannot send /: it is a directory"),
        (&["put", "/te", "a", "--content-type", "a\nb"], 2, "is not a media type"),
        (&["get", "/te", "--output", "/"], 1, "it is a directory"),
        (&["get", "/te", "--output", "/nowhere/x"], 1, "cannot write to /nowhere/x"),
    ] {
        device.tedge(&[&["http"], words].concat()).failed(code, &[said]);
    }
}
