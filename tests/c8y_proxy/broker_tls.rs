//! The broker behind TLS, with certificates and passwords, as `mqtt.client.auth.*` says.

use std::process::Command;

use crate::support::broker::Broker;
use crate::support::certificates::{Authority, Key, Pair};
use crate::support::cloud::Cloud;
use crate::support::device::{Device, Outside, SOON};
use crate::support::directory::Directory;

/// A broker with a plain listener for the bridge and another, as given, for the proxy.
struct Guarded {
    directory: Directory,
    authority: Authority,
    server: Pair,
}

impl Guarded {
    fn new() -> Self {
        let directory = Directory::new();
        let authority = Authority::new(directory.path(), "broker-ca");
        let server = authority.server("broker", Key::P256);
        Self { directory, authority, server }
    }

    /// The broker, what is around it, and the port for the proxy.
    fn start(&self, lines: &str) -> (Outside, u16) {
        let cloud = Cloud::start(crate::support::device::options()).unwrap();
        let mut last = None;
        for _ in 0..10 {
            // mosquitto cannot bind port 0.
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let lines = format!(
                "allow_anonymous true\nlistener {port} 127.0.0.1\n\
                 cafile {}\ncertfile {}\nkeyfile {}\n{lines}",
                self.authority.cert.display(),
                self.server.cert.display(),
                self.server.key.display()
            );
            match Broker::with(&lines) {
                Ok(broker) => {
                    return (Outside::around(cloud, broker), port);
                }
                Err(error) => last = Some(error),
            }
        }
        panic!("{last:?}");
    }
}

#[test]
fn the_broker_itself_is_behind_tls() {
    let guarded = Guarded::new();
    let (outside, port) = guarded.start("allow_anonymous true\n");
    let mut real = Command::new("mosquitto_rr");
    real.args(["-h", "localhost", "-p", &port.to_string(), "--cafile"]);
    real.arg(&guarded.authority.cert);
    real.args(["-t", "c8y/s/uat", "-e", "c8y/s/dat", "-n", "-W", "10"]);
    let output = real.output().unwrap();
    assert!(output.stdout.starts_with(b"71,"), "{output:?}");
    assert_eq!(outside.bridge.asked(), 1);
}

#[test]
fn a_ca_file_is_enough_for_tls() {
    let guarded = Guarded::new();
    let (outside, port) = guarded.start("allow_anonymous true\n");
    let device = Device::among(outside, |setup| {
        setup.set_raw("mqtt.client.port", port);
        setup.set("mqtt.client.host", "localhost");
        setup.set("mqtt.client.auth.ca_file", &guarded.authority.cert);
    });
    device.warm();
    // The socket between the MQTT client and TLS is removed as soon as it is connected.
    let names = std::fs::read_dir(device.proxy.directory().path()).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name());
    assert!(names.all(|name| !name.to_string_lossy().starts_with("c8y-proxy-")));
}

#[test]
fn a_ca_directory_is_as_good() {
    let guarded = Guarded::new();
    let (outside, port) = guarded.start("allow_anonymous true\n");
    let roots = guarded.directory.path().join("roots");
    std::fs::create_dir(&roots).unwrap();
    std::fs::copy(&guarded.authority.cert, roots.join("broker.crt")).unwrap();
    let device = Device::among(outside, |setup| {
        setup.set_raw("mqtt.client.port", port);
        setup.set("mqtt.client.auth.ca_dir", &roots);
    });
    device.warm();
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_client_certificate_is_shown_where_it_is_demanded() {
    let guarded = Guarded::new();
    let client = guarded.authority.client("proxy", Key::P256);
    let demand = "require_certificate true\nallow_anonymous true\n";
    let (outside, port) = guarded.start(demand);
    let device = Device::among(outside, |setup| {
        setup.set_raw("mqtt.client.port", port);
        setup.set("mqtt.client.auth.ca_file", &guarded.authority.cert);
        setup.set("mqtt.client.auth.cert_file", &client.cert);
        setup.set("mqtt.client.auth.key_file", &client.key);
    });
    device.warm();
    let (outside, port) = guarded.start(demand);
    let device = Device::among(outside, |setup| {
        setup.set_raw("mqtt.client.port", port);
        setup.set("mqtt.client.auth.ca_file", &guarded.authority.cert);
    });
    let answer = device.get("/c8y/tenant/currentTenant");
    assert_eq!(answer.status, 502);
    let text = answer.text();
    assert!(text.contains("it requires a certificate, and we sent none"), "{text}");
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn name_and_password_are_given() {
    let guarded = Guarded::new();
    let passwords = guarded.directory.path().join("passwords");
    let status = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&passwords)
        .args(["proxy", "pass word"])
        .status()
        .unwrap();
    assert!(status.success());
    let lines = format!("allow_anonymous false\npassword_file {}\n", passwords.display());
    for (password, status) in [("pass word\n", 200), ("wrong\n", 502)] {
        let (outside, port) = guarded.start(&lines);
        let device = Device::among(outside, |setup| {
            let file = setup.directory().join("password");
            std::fs::write(&file, password).unwrap();
            setup.set_raw("mqtt.client.port", port);
            setup.set("mqtt.client.auth.ca_file", &guarded.authority.cert);
            setup.set("mqtt.client.auth.username", "proxy");
            setup.set("mqtt.client.auth.password_file", &file);
        });
        let answer = device.get("/c8y/tenant/currentTenant");
        let text = answer.text();
        assert_eq!(answer.status, status, "{password}: {text}");
        assert!(status == 200 || text.to_lowercase().contains("not authorized"), "{text}");
        assert!(!device.proxy.log().contains(password.trim()), "{}", device.proxy.log());
    }
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_broker_of_another_ca_is_not_trusted() {
    let guarded = Guarded::new();
    let (outside, port) = guarded.start("allow_anonymous true\n");
    let directory = Directory::new();
    let other = Authority::new(directory.path(), "other-ca");
    let device = Device::among(outside, |setup| {
        setup.set_raw("mqtt.client.port", port);
        setup.set("mqtt.client.auth.ca_file", &other.cert);
    });
    let answer = device.get("/c8y/tenant/currentTenant");
    assert_eq!(answer.status, 502);
    let text = answer.text();
    assert!(
        text.contains("TLS failed: its certificate is signed by an unknown authority"),
        "{text}"
    );
    assert_eq!(device.bridge().asked(), 0);
    assert!(device.proxy.log().to_lowercase().contains("certificate"), "{}", device.proxy.log());
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_broker_that_restarts_is_found_again_over_tls() {
    let guarded = Guarded::new();
    let (outside, port) = guarded.start("allow_anonymous true\n");
    let mut device = Device::among(outside, |setup| {
        setup.set_raw("mqtt.client.port", port);
        setup.set("mqtt.client.auth.ca_file", &guarded.authority.cert);
    });
    device.warm();
    device.outside.stop_broker();
    device.cloud().tokens().revoke_all();
    device.get("/c8y/tenant/currentTenant");
    device.outside.restart_broker();
    let start = std::time::Instant::now();
    while device.get("/c8y/tenant/currentTenant").status != 200 {
        assert!(start.elapsed() < SOON * 3);
        std::thread::sleep(SOON / 100);
    }
}
