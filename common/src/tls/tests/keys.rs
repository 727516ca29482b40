//! Keys as tools write them, and keys that cannot be used.

use std::sync::Arc;

use rustls_pki_types::UnixTime;
use rustls_pki_types::pem::PemObject;

use super::variants::two_authorities;
use super::{refusal, why};
use crate::testing::{Dir, EC_KEY, client, client_files, files, shake};
use crate::tls::explain;

#[test]
fn takes_keys_without_a_public_part_and_under_a_wrong_label() {
    let dir = two_authorities();
    dir.openssl("ec -in server.key -no_public -out sec1.key");
    dir.openssl("pkcs8 -topk8 -nocrypt -in sec1.key -out pkcs8.key");
    dir.openssl("ec -in server.key -out whole.key");
    dir.openssl("pkcs8 -topk8 -nocrypt -in server.key -outform DER -out server.der");
    let read = |name: &str| String::from_utf8(dir.read(name)).unwrap();
    dir.write("as-pkcs8.key", read("whole.key").replace("EC PRIVATE", "PRIVATE"));
    dir.write("as-sec1.key", read("server.key").replace("PRIVATE KEY", "EC PRIVATE KEY"));
    dir.write("as-rsa.key", read("server.key").replace("PRIVATE KEY", "RSA PRIVATE KEY"));
    for key in ["sec1.key", "pkcs8.key", "server.der", "as-pkcs8.key", "as-sec1.key", "as-rsa.key"]
    {
        let loaded = files(&dir, ["server.crt", key, "", ""]).load().unwrap().unwrap();
        shake(&loaded.config, &Arc::new(client(&dir, None))).unwrap();
    }
    dir.issue("ca", "p384", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", "10");
    dir.openssl("ec -in p384.key -no_public -out bare384.key");
    files(&dir, ["p384.crt", "bare384.key", "", ""]).load().unwrap();
    for key in ["bare384.key", "good-ca.key"] {
        let message = refusal(&files(&dir, ["server.crt", key, "", ""]));
        assert!(message.contains("does not belong to the first certificate"), "{message}");
    }
}

#[test]
fn says_which_keys_cannot_be_used_and_why() {
    let dir = Dir::new();
    dir.ca("ca");
    for (key, kind) in [
        ("genrsa 4104", "RSA 4104"),
        ("genrsa 1024", "RSA 1024"),
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521", "P-521"),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
            "elliptic curve 1.3.132.0.10",
        ),
        ("genpkey -algorithm ed448", "Ed448"),
    ] {
        dir.issue("ca", "server", key, "10");
        let message = refusal(&files(&dir, ["server.crt", "server.key", "", ""]));
        let expected = format!("server.key holds a key of a kind that cannot be used ({kind});");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn a_ca_whose_signatures_cannot_be_verified_is_no_ca() {
    let dir = Dir::new();
    dir.ca("ca");
    dir.issue("ca", "server", EC_KEY, "100");
    for (key, kind) in
        [("-newkey ec -pkeyopt ec_paramgen_curve:P-521", "P-521"), ("-newkey rsa:1024", "RSA 1024")]
    {
        dir.openssl(&format!(
            "req -new -x509 -days 100 -extensions v3_ca -nodes {key} -subj /CN=weak \
             -keyout weak.key -out weak.crt"
        ));
        let message = refusal(&files(&dir, ["server.crt", "server.key", "weak.crt", ""]));
        let expected = format!(
            "weak.crt holds a CA that is ignored, since its key ({kind}) is not supported: CN=weak"
        );
        assert!(message.contains(&expected), "{message}");
        dir.write("both.pem", [dir.read("ca.crt"), dir.read("weak.crt")].concat());
        let named = files(&dir, ["server.crt", "server.key", "both.pem", ""]);
        let loaded = named.load().unwrap().unwrap();
        assert_eq!(loaded.authorities, 1);
        assert!(loaded.warnings[0].contains(kind), "{:?}", loaded.warnings);
    }
}

#[test]
fn a_refusal_names_the_weak_key_or_the_unknown_signature() {
    let dir = Dir::new();
    dir.ca("ca");
    dir.issue("ca", "server", EC_KEY, "10");
    dir.issue("ca", "short", "genrsa 1024", "10");
    dir.issue("ca", "sha512", EC_KEY, "10");
    dir.openssl(
        "x509 -req -in sha512.csr -CA ca.crt -CAkey ca.key -extfile v3.ext -sha512 \
         -out sha512.crt -days 10",
    );
    let named = files(&dir, ["server.crt", "server.key", "ca.crt", ""]);
    let server = named.load().unwrap().unwrap().config;
    let said = why(&server, client(&dir, Some("sha512")));
    assert!(said.starts_with("its certificate is signed with ECDSA with SHA-512, which"), "{said}");
    // rustls does not sign with such a key, but others do.
    let short = PemObject::from_pem_slice(&dir.read("short.crt")).unwrap();
    let admission = named.load().unwrap().unwrap().admission.unwrap();
    let refused = admission.judge(&short, &[], UnixTime::now()).unwrap_err();
    let said = explain(&refused);
    assert!(said.contains("has a key that is not supported (RSA 1024)"), "{said}");
}

#[test]
fn a_servers_own_certificate_as_a_root_is_trusted_for_itself() {
    let dir = Dir::new();
    for ca in ["ca", "other"] {
        dir.ca(ca);
    }
    for name in ["server", "twin"] {
        dir.issue("ca", name, EC_KEY, "10");
    }
    let roots = |name: &str| client_files(&dir, name).load().unwrap().config;
    let server = files(&dir, ["server.crt", "server.key", "", ""]).load().unwrap().unwrap().config;
    shake(&server, &roots("server.crt")).unwrap();
    let refused = shake(&server, &roots("twin.crt")).unwrap_err();
    assert_eq!(explain(&refused), "its certificate is signed by an unknown authority");
}
