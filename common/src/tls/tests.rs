//! The levels of security, each seen in a handshake between our configuration and a client.

mod keys;
mod paths;
mod trackers;
mod variants;

use std::sync::Arc;

use rustls::{AlertDescription, ClientConfig, ServerConfig, version};

use super::{ServerFiles, explain};
use crate::error::Error;
use crate::testing::{Dir, EC_KEY, P256, alert, client, client_of, files, shake, show};

fn refusal(files: &ServerFiles) -> String {
    match files.load() {
        Err(Error::Configuration(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn why(server: &Arc<ServerConfig>, client: ClientConfig) -> String {
    match shake(server, &Arc::new(client)) {
        Ok(_) => "was let in".to_owned(),
        Err(error) => explain(&error),
    }
}

#[test]
fn no_file_means_plain_http() {
    assert!(files(&Dir::new(), [""; 4]).load().unwrap().is_none());
}

#[test]
fn says_what_is_wrong_with_a_file() {
    let dir = Dir::new();
    dir.ca("ca");
    for name in ["server", "other"] {
        dir.issue("ca", name, EC_KEY, "100");
    }
    dir.write("empty", "");
    dir.write("cut.crt", &dir.read("server.crt")[..300]);
    dir.write("bom.crt", [b"\xef\xbb\xbf", &dir.read("server.crt")[..]].concat());
    files(&dir, ["bom.crt", "server.key", "", ""]).load().unwrap();
    dir.openssl("x509 -req -in server.csr -signkey server.key -out first.crt");
    dir.openssl("ec -in server.key -aes128 -passout pass:x -out old.key");
    dir.openssl("pkcs8 -topk8 -in server.key -passout pass:x -out secret.key");
    for (cert, key, part) in [
        ("nowhere", "server.key", "http.cert_path: DIR/nowhere does not exist"),
        ("", "server.key", "http.cert_path: DIR/ is a directory, not a file"),
        ("empty", "server.key", "http.cert_path: DIR/empty holds no certificate; PEM is expected"),
        ("server.key", "server.key", "DIR/server.key holds no certificate; it holds a private key"),
        ("server.csr", "server.key", "holds a certificate signing request"),
        (
            "cut.crt",
            "server.key",
            "http.cert_path: DIR/cut.crt is cut off: no line END CERTIFICATE",
        ),
        (
            "server.crt",
            "server.crt",
            "http.key_path: DIR/server.crt holds no private key; it holds",
        ),
        (
            "server.crt",
            "secret.key",
            "http.key_path: DIR/secret.key holds no private key; it holds \
                                      a key with a passphrase",
        ),
        (
            "server.crt",
            "old.key",
            "http.key_path: DIR/old.key holds no private key; it holds a key \
                                   with a passphrase",
        ),
        (
            "server.crt",
            "other.key",
            "http.key_path: DIR/other.key does not belong to the first \
                                     certificate in DIR/server.crt (http.cert_path): CN=localhost",
        ),
    ] {
        let mut named = files(&dir, ["x", "x", "", ""]);
        named.cert_path = Some(dir.path(cert));
        named.key_path = Some(dir.path(key));
        let expected = part.replace("DIR", dir.path("").to_str().unwrap().trim_end_matches('/'));
        let message = refusal(&named);
        assert!(message.contains(&expected), "{message}\nin place of\n{expected}");
    }
}

#[test]
fn demands_a_certificate_by_a_trusted_authority() {
    let dir = Dir::new();
    for ca in ["ca", "stranger"] {
        dir.ca(ca);
    }
    for name in ["server", "child"] {
        dir.issue("ca", name, EC_KEY, "100");
    }
    dir.issue("stranger", "intruder", EC_KEY, "100");
    dir.issue_expired("ca", "old");
    let loaded = files(&dir, ["server.crt", "server.key", "ca.crt", ""]).load().unwrap().unwrap();
    assert_eq!(loaded.authorities, 1);

    assert_eq!(why(&loaded.config, client(&dir, Some("child"))), "was let in");
    assert_eq!(
        why(&loaded.config, client(&dir, None)),
        "sent no certificate, and ca_path requires one"
    );
    assert_eq!(
        why(&loaded.config, client(&dir, Some("intruder"))),
        "its certificate is signed by an unknown authority"
    );
    let old = why(&loaded.config, client(&dir, Some("old")));
    assert!(old.starts_with("its certificate has expired on 2020-02-01T00:00:00Z, "), "{old}");
    assert!(old.ends_with("(check the clock)"), "{old}");
}

#[test]
fn a_refused_client_hears_why() {
    let dir = Dir::new();
    for ca in ["ca", "stranger"] {
        dir.ca(ca);
    }
    for name in ["server", "revoked"] {
        dir.issue("ca", name, EC_KEY, "100");
    }
    dir.issue("stranger", "intruder", EC_KEY, "100");
    dir.issue_expired("ca", "old");
    dir.revoke("ca", &["revoked"], "");
    let named = files(&dir, ["server.crt", "server.key", "ca.crt", "ca.crl"]);
    let server = named.load().unwrap().unwrap().config;
    for version in [&version::TLS12, &version::TLS13] {
        for (name, expected) in [
            (None, AlertDescription::CertificateRequired),
            (Some("intruder"), AlertDescription::UnknownCA),
            (Some("old"), AlertDescription::CertificateExpired),
            (Some("revoked"), AlertDescription::CertificateRevoked),
        ] {
            let client = show(client_of(&dir, version), &dir, name);
            assert_eq!(alert(&server, &Arc::new(client)), Some(expected), "{version:?}");
        }
    }
}

#[test]
fn counts_each_authority_of_a_directory_once_and_passes_over_bad_files() {
    let dir = Dir::new();
    for ca in ["ca", "second"] {
        dir.ca(ca);
    }
    for name in ["server", "child"] {
        dir.issue("ca", name, EC_KEY, "100");
    }
    dir.write("cas/one.pem", dir.read("ca.crt"));
    dir.write("cas/bundle.crt", [dir.read("ca.crt"), dir.read("second.crt")].concat());
    std::os::unix::fs::symlink("one.pem", dir.path("cas/1234abcd.0")).unwrap();
    std::os::unix::fs::symlink("gone.pem", dir.path("cas/dangling.0")).unwrap();
    dir.write("cas/child.crt", dir.read("child.crt"));
    dir.write("cas/child.key", dir.read("child.key"));
    dir.write("cas/bad.pem", "nothing of use\n");
    dir.write("cas/java/ignored", "");
    dir.run("mkfifo", &["cas/pipe"]);

    let loaded = files(&dir, ["server.crt", "server.key", "cas", ""]).load().unwrap().unwrap();
    assert_eq!(loaded.authorities, 2);
    assert_eq!(loaded.warnings.len(), 3, "{:?}", loaded.warnings);
    for part in ["bad.pem holds no certificate", "dangling.0 does not exist", "pipe is not a"] {
        assert!(loaded.warnings.iter().any(|warning| warning.contains(part)), "{part}");
    }
    assert_eq!(why(&loaded.config, client(&dir, Some("child"))), "was let in");

    dir.write("none/bad.pem", "nothing of use\n");
    let message = refusal(&files(&dir, ["server.crt", "server.key", "none", ""]));
    assert!(message.starts_with("http.ca_path: "), "{message}");
    assert!(message.contains("none holds no usable CA certificate (http.ca_path: "), "{message}");
}

#[test]
fn takes_no_certificate_of_a_server_for_an_authority() {
    let dir = Dir::new();
    dir.ca("ca");
    for name in ["server", "leaf"] {
        dir.issue("ca", name, EC_KEY, "100");
    }
    let message = refusal(&files(&dir, ["server.crt", "server.key", "leaf.crt", ""]));
    assert!(message.contains("holds a certificate that is not a CA's"), "{message}");
}

#[test]
fn refuses_the_revoked_whatever_other_lists_lie_there() {
    let dir = Dir::new();
    // Two CAs of one name, as a renewal leaves them.
    for ca in ["ca", "renewed", "quiet"] {
        dir.ca(ca);
    }
    dir.openssl(&format!(
        "req -new -x509 -days 100 -extensions v3_ca -nodes {P256} \
         -subj /O=thin-edge/OU=device/CN=ca -keyout renewed.key -out renewed.crt"
    ));
    for name in ["server", "good", "bad", "worse"] {
        dir.issue("ca", name, EC_KEY, "100");
    }
    dir.issue("renewed", "young", EC_KEY, "100");
    dir.issue("quiet", "unlisted", EC_KEY, "100");
    // For RFC 5280, an issuer is its name: a list also covers what another key of it has signed.
    dir.issue("ca", "elder", EC_KEY, "100");
    let cas = ["ca.crt", "renewed.crt", "quiet.crt"].map(|name| dir.read(name)).concat();
    dir.write("cas.pem", cas);
    dir.revoke("ca", &["bad"], "");
    dir.write("lists/1.pem", dir.read("ca.crl"));
    dir.revoke("ca", &["worse"], "");
    dir.write("lists/2.pem", dir.read("ca.crl"));
    dir.revoke("renewed", &["elder"], "-crldays 1");
    dir.write("lists/0.pem", dir.read("renewed.crl"));

    let named = ["server.crt", "server.key", "cas.pem", "lists"];
    let loaded = files(&dir, named).load().unwrap().unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    for (name, outcome) in [
        ("good", "was let in"),
        ("bad", "its certificate is revoked"),
        ("worse", "its certificate is revoked"),
        ("young", "was let in"),
        ("elder", "its certificate is revoked"),
        ("unlisted", "was let in"),
    ] {
        assert_eq!(why(&loaded.config, client(&dir, Some(name))), outcome, "{name}");
    }
}

#[test]
fn stops_at_a_list_that_cannot_be_relied_on() {
    let dir = Dir::new();
    dir.ca("ca");
    dir.issue("ca", "server", EC_KEY, "100");
    dir.write("first.crt", dir.read("ca.crt"));
    let list =
        dir.revoke("ca", &[], "-crl_lastupdate 20200101000000Z -crl_nextupdate 20200201000000Z");
    let named = ["server.crt", "server.key", "ca.crt", "ca.crl"];
    let loaded = files(&dir, named).load().unwrap().unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].contains("expired on 2020-02-01T00:00:00Z"));

    let whole = crate::testing::read(&list);
    dir.write("ca.crl", &whole[..whole.len() / 2]);
    assert!(refusal(&files(&dir, named)).contains("ca.crl is cut off"));
    dir.write("ca.crl", "");
    assert!(refusal(&files(&dir, named)).contains("ca.crl holds no revocation list"));

    dir.write("ca.crl", whole);
    dir.ca("ca");
    dir.write("both.crt", dir.read("ca.crt"));
    let message = refusal(&files(&dir, ["server.crt", "server.key", "both.crt", "ca.crl"]));
    assert!(message.contains("not signed by the trusted CA of this name"), "{message}");
}
