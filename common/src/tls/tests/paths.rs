//! The path from a client's certificate to a CA: which one counts, and that other certificates
//! which the client sends do not.

use std::sync::Arc;

use rustls::version;

use super::variants::two_authorities;
use super::{refusal, why};
use crate::testing::{Dir, client, client_of, files, shake, show};
use crate::tls::explain;

/// `OUT.crt`, which a CA has signed for the key and name of the CA `name`.
fn resign(dir: &Dir, name: &str, by: &str, out: &str) {
    request(dir, name, out);
    dir.openssl(&format!(
        "x509 -req -in {out}.csr -CA {by}.crt -CAkey {by}.key -CAcreateserial -days 100 \
         -extfile ca.ext -out {out}.crt"
    ));
}

/// The same by the CA itself, valid in January 2020 only.
fn sign_in_the_past(dir: &Dir, name: &str, out: &str) {
    // Leaves the configuration that it needs.
    dir.issue_expired(name, "past");
    request(dir, name, out);
    dir.write("index.txt", "");
    dir.openssl(&format!(
        "ca -batch -config ca.cnf -cert {name}.crt -keyfile {name}.key -md sha256 -preserveDN \
         -startdate 20200101000000Z -enddate 20200201000000Z -notext -extfile ca.ext \
         -in {out}.csr -out {out}.crt -outdir . -policy any"
    ));
}

fn request(dir: &Dir, name: &str, out: &str) {
    dir.write("ca.ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\n");
    dir.openssl(&format!("x509 -x509toreq -in {name}.crt -signkey {name}.key -out {out}.csr"));
}

#[test]
fn the_path_that_holds_counts_and_nothing_else_that_was_sent() {
    let dir = two_authorities();
    sign_in_the_past(&dir, "ca", "old-ca");
    resign(&dir, "ca", "second", "cross");
    dir.write("old.pem", dir.read("old-ca.crt"));
    for (chain, roots, outcome) in [
        (&["good-ca", "old-ca"][..], "ca.crt", "was let in"),
        (&["good-ca", "ca", "old-ca"], "ca.crt", "was let in"),
        (&["good-ca", "ca"], "ca.crt", "was let in"),
        (&["good-ca", "cross"], "ca.crt", "was let in"),
        (&["good-ca", "cross"], "second.crt", "was let in"),
        (&["good-ca", "old-ca", "cross"], "second.crt", "was let in"),
        (&["good-ca", "past"], "ca.crt", "was let in"),
        (&["good-ca"], "second.crt", "its certificate is signed by an unknown authority"),
        // An expired CA that is trusted: the same answer whether the client sends it or not.
        (&["good-ca"], "old.pem", "was let in"),
        (&["good-ca", "old-ca"], "old.pem", "was let in"),
    ] {
        let text: Vec<u8> =
            chain.iter().flat_map(|name| dir.read(&format!("{name}.crt"))).collect();
        dir.write("chain.crt", text);
        dir.run("cp", &["good-ca.key", "chain.key"]);
        let server = files(&dir, ["server.crt", "server.key", roots, ""]).load().unwrap().unwrap();
        for version in [&version::TLS12, &version::TLS13] {
            let client = Arc::new(show(client_of(&dir, version), &dir, Some("chain")));
            // The second time the session is resumed.
            for _ in 0..2 {
                let said = match shake(&server.config, &client) {
                    Ok(_) => "was let in".to_owned(),
                    Err(error) => explain(&error),
                };
                assert_eq!(said, outcome, "{chain:?} {roots}");
            }
        }
    }
}

#[test]
fn a_ca_that_a_list_names_is_no_anchor_whether_it_is_sent_or_not() {
    let dir = two_authorities();
    resign(&dir, "second", "ca", "lower");
    dir.run("cp", &["second.key", "lower.key"]);
    dir.revoke("ca", &["lower"], "");
    dir.write("with-lower.pem", [dir.read("ca.crt"), dir.read("lower.crt")].concat());
    let leaf = dir.read("good-second.crt");
    dir.write("short.crt", &leaf);
    dir.write("long.crt", [leaf, dir.read("lower.crt")].concat());
    for name in ["short.key", "long.key"] {
        dir.run("cp", &["good-second.key", name]);
    }
    let ask = |roots: &str, lists: &str, name: &str| {
        let named = files(&dir, ["server.crt", "server.key", roots, lists]);
        let loaded = named.load().unwrap().unwrap();
        (why(&loaded.config, client(&dir, Some(name))), loaded.authorities, loaded.warnings)
    };
    for name in ["short", "long"] {
        assert_eq!(ask("with-lower.pem", "", name).0, "was let in", "{name}");
        let (said, count, warnings) = ask("with-lower.pem", "ca.crl", name);
        assert_ne!(said, "was let in", "{name}");
        assert_eq!(count, 1);
        let expected = "holds a revoked CA, which is ignored: CN=second";
        assert!(warnings.iter().any(|warning| warning.contains(expected)), "{warnings:?}");
        // The same CA with a certificate of its own is another anchor, which no list names.
        assert_eq!(ask("cas.pem", "ca.crl", "short").0, "was let in", "{name}");
    }
    // A list that nobody here can verify, of a CA that is not trusted, counts for this as well.
    let message = refusal(&files(&dir, ["server.crt", "server.key", "lower.crt", "ca.crl"]));
    assert!(message.ends_with("lower.crt holds only revoked CAs"), "{message}");
}
