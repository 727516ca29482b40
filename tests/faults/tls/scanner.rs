//! What a scanner of TLS servers finds: the versions, cipher suites and groups that are meant to be
//! there, no others, and none of the faults that it knows.
use std::process::Command;

use super::scene::start;
use crate::support::certificates::{Authority, Key, Pair};
use crate::support::directory::Directory;
use crate::support::service::Service;

/// Of TLS 1.2 only those with forward secrecy and authenticated encryption, under either key.
const CIPHERS: [&str; 9] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

const GROUPS: [&str; 3] = ["x25519", "secp256r1 (NIST P-256)", "secp384r1 (NIST P-384)"];

/// All that the scanner has to say, as XML.
fn scan(service: &Service, client: Option<&Pair>) -> String {
    let mut command = Command::new("sslscan");
    command.args(["--no-colour", "--xml=-", "--ipv4"]);
    if let Some(pair) = client {
        command.arg(format!("--certs={}", pair.cert.display()));
        command.arg(format!("--pk={}", pair.key.display()));
    }
    let output = command.arg(format!("localhost:{}", service.address.port())).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The values of an attribute of these elements, where `needed` is in the element as well.
fn values<'a>(scan: &'a str, element: &str, needed: &str, attribute: &str) -> Vec<&'a str> {
    let (element, attribute) = (format!("<{element} "), format!(" {attribute}=\""));
    let lines = scan.lines().filter(|line| line.contains(&element) && line.contains(needed));
    lines
        .filter_map(|line| {
            let start = line.find(&attribute)? + attribute.len();
            line[start..].split('"').next()
        })
        .collect()
}

fn check(scan: &str, ours: &str) {
    assert_eq!(values(scan, "protocol", "enabled=\"1\"", "version"), ["1.2", "1.3"], "{scan}");
    assert_eq!(values(scan, "renegotiation", "", "supported"), ["0"], "{scan}");
    assert_eq!(values(scan, "heartbleed", "", "vulnerable"), ["0", "0"], "{scan}");
    assert!(values(scan, "compression", "supported=\"1\"", "supported").is_empty(), "{scan}");

    let mut expected: Vec<_> = CIPHERS.into_iter().collect();
    expected.retain(|cipher| cipher.starts_with("TLS_") || cipher.contains(&format!("-{ours}-")));
    let mut ciphers = values(scan, "cipher", "sslversion=\"TLSv1.", "cipher");
    ciphers.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ciphers, expected, "{scan}");
    for strength in values(scan, "cipher", "", "strength") {
        assert!(matches!(strength, "strong" | "acceptable"), "{scan}");
    }
    let groups = values(scan, "group", "", "name");
    assert!(!groups.is_empty() && groups.iter().all(|group| GROUPS.contains(group)), "{scan}");
}

fn check_server(key: Key, ours: &str) {
    let directory = Directory::new();
    let authority = Authority::new(directory.path(), "ca");
    let server = authority.server("server", key);
    check(&scan(&start(&server, None), None), ours);

    let client = authority.client("child", Key::P256);
    check(&scan(&start(&server, Some(&authority)), Some(&client)), ours);
}

#[test]
#[ignore = "needs sslscan: make test-faults"]
fn a_scanner_finds_what_is_meant_to_be_there_and_nothing_else_with_ecdsa() {
    check_server(Key::P256, "ECDSA");
}

#[test]
#[ignore = "needs sslscan: make test-faults"]
fn a_scanner_finds_what_is_meant_to_be_there_and_nothing_else_with_rsa() {
    check_server(Key::Rsa, "RSA");
}
