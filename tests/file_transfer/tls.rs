//! HTTPS with every kind of key and clients of four other TLS stacks: curl and openssl
//! (OpenSSL 3), python's ssl, async-tls (a rustls of another generation).

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use async_io::{Async, block_on};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use crate::support::certificates::{Authority, Key};
use crate::support::curl::Curl;
use crate::support::directory::Directory;
use crate::support::service::SOON;
use crate::{FILES, Secured, bytes, start, stored};

fn every_client_reaches(key: Key) {
    let secured = Secured::start_with(key, |_, _| {});
    for version in ["1.2", "1.3"] {
        let curl = secured.curl("/health").args([format!("--tlsv{version}")]);
        assert_eq!(curl.args(["--tls-max", version]).answer().status, 200, "curl, {version}");
        let said = s_client(&secured, &[&format!("-tls{}", version.replace('.', "_"))]);
        assert!(said.contains("HTTP/1.1 200 OK"), "openssl, {version}: {said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "openssl, {version}: {said}");
        assert_eq!(python(&secured, version), format!("TLSv{version} 200"), "python");
        assert_eq!(async_tls(&secured, version), "HTTP/1.1 200 OK", "async-tls, {version}");
    }
}

/// What `openssl s_client` says of the connection and the answer to one request.
fn s_client(secured: &Secured, more: &[&str]) -> String {
    let address = secured.service.address.to_string();
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-servername", "localhost", "-ign_eof"])
        .arg("-CAfile")
        .arg(&secured.authority.cert)
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let _ = std::io::Write::write_all(&mut stdin, request);
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn python(secured: &Secured, version: &str) -> String {
    let script = "import ssl, sys, http.client\n\
        ca, port, version = sys.argv[1:]\n\
        context = ssl.create_default_context(cafile=ca)\n\
        # From 3.13 on it asks a CA for a key usage, which the documentation's has not.\n\
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT\n\
        v = ssl.TLSVersion.TLSv1_2 if version == '1.2' else ssl.TLSVersion.TLSv1_3\n\
        context.minimum_version = context.maximum_version = v\n\
        c = http.client.HTTPSConnection('localhost', int(port), timeout=15, context=context)\n\
        c.request('GET', '/health')\n\
        print(c.sock.version(), c.getresponse().status)\n";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(&secured.authority.cert)
        .args([&secured.service.address.port().to_string(), version])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "python: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The status line that async-tls gets.
fn async_tls(secured: &Secured, version: &str) -> String {
    let version = match version {
        "1.2" => &old_rustls::version::TLS12,
        _ => &old_rustls::version::TLS13,
    };
    let pem = std::fs::read(&secured.authority.cert).unwrap();
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(&pem).unwrap();
    let der: rustls::pki_types::CertificateDer<'_> = der;
    let mut roots = old_rustls::RootCertStore::empty();
    roots.add(&old_rustls::Certificate(der.to_vec())).unwrap();
    let config = old_rustls::ClientConfig::builder()
        .with_safe_default_cipher_suites()
        .with_safe_default_kx_groups()
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = async_tls::TlsConnector::from(Arc::new(config));
    let address = secured.service.address;
    block_on(async {
        let socket = Async::<TcpStream>::connect(address).await.unwrap();
        let mut stream = connector.connect("localhost", socket).await.unwrap();
        let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap().lines().next().unwrap().to_owned()
    })
}

#[test]
fn every_client_reaches_a_service_with_an_rsa_key() {
    every_client_reaches(Key::Rsa);
}

#[test]
fn every_client_reaches_a_service_with_an_rsa_key_in_pkcs1() {
    every_client_reaches(Key::RsaPkcs1);
}

#[test]
fn every_client_reaches_a_service_with_a_p256_key() {
    every_client_reaches(Key::P256);
}

#[test]
fn every_client_reaches_a_service_with_a_p256_key_in_sec1() {
    every_client_reaches(Key::P256Sec1);
}

#[test]
fn every_client_reaches_a_service_with_a_p384_key() {
    every_client_reaches(Key::P384);
}

#[test]
fn every_client_reaches_a_service_with_an_ed25519_key() {
    every_client_reaches(Key::Ed25519);
}

#[test]
fn tls_1_1_is_refused() {
    let secured = Secured::start_with(Key::Rsa, |_, _| {});
    for version in ["1.0", "1.1"] {
        let curl =
            secured.curl("/health").args([&format!("--tlsv{version}"), "--tls-max", version]);
        let got = curl.args(["--ciphers", "DEFAULT@SECLEVEL=0"]).run();
        assert_eq!(got.exit, 35, "{version}: {}", got.complaint);
        // The refusal is the service's and not that of curl itself.
        assert!(got.complaint.contains("alert"), "{}", got.complaint);
    }
    assert_eq!(secured.curl("/health").answer().status, 200);
}

#[test]
fn the_protocol_is_negotiated() {
    let secured = Secured::start(|_, _| {});
    let said = s_client(&secured, &["-alpn", "h2,http/1.1"]);
    assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
    let said = s_client(&secured, &[]);
    assert!(said.contains("HTTP/1.1 200 OK"), "without ALPN: {said}");
}

#[test]
fn a_chain_is_sent_whole() {
    let directory = Directory::new();
    let root = Authority::new(directory.path(), "root");
    let lower = root.intermediate("lower");
    let pair = lower.server("main-agent", Key::P256).with_chain(&[&lower.cert]);
    let service = start(|setup| {
        setup.set("http.cert_path", &pair.cert);
        setup.set("http.key_path", &pair.key);
    });
    let curl = Curl::new(&service.url("/health")).tls(&root.cert, None);
    assert_eq!(curl.answer().status, 200);
    let secured = Secured { service, authority: root };
    let said = s_client(&secured, &["-showcerts"]);
    assert_eq!(said.matches("BEGIN CERTIFICATE").count(), 2, "{said}");
}

#[test]
fn the_page_works_as_it_is_written() {
    let secured = Secured::start_with(Key::Rsa, |_, _| {});
    let file = secured.service.directory().write("foo.txt", "Hello thin-edge.io\n");
    let form = format!("file=@{}", file.display());
    let path = format!("{FILES}/foo.txt");
    assert_eq!(secured.curl(&path).args(["-X", "PUT", "-F", &form]).answer().status, 201);
    assert_eq!(secured.curl(&path).answer().text(), "Hello thin-edge.io\n");
}

#[test]
fn large_files_arrive_whole_in_both_directions() {
    let secured = Secured::start(|_, _| {});
    let content = bytes(30_000_000, 43);
    let file = secured.service.directory().write("content", &content);
    let path = format!("{FILES}/large");
    assert_eq!(secured.curl(&path).upload(&file).answer().status, 201);
    assert!(stored(&secured.service)["file-transfer/large"] == content);
    assert!(secured.curl(&path).answer().body == content);
}

#[test]
fn the_end_of_a_connection_is_told() {
    let secured = Secured::start(|_, _| {});
    let mut client = secured.client();
    client.set_patience(SOON);
    client.send("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(client.answer().status, 200);
    // Without `close_notify` this is an error: somebody may have cut the connection.
    assert_eq!(client.rest().unwrap(), b"");
}
