//! Files and certificates on which other programs failed, each with the place of the report. What
//! is expected is what openssl and nginx do, or a message that says what to do instead.

use rustls_pki_types::UnixTime;
use rustls_pki_types::pem::PemObject;

use super::{refusal, why};
use crate::testing::{Dir, EC_KEY, P256, client, files};
use crate::tls::{ReloadingServer, explain};

fn made() -> Dir {
    let dir = Dir::new();
    dir.ca("ca");
    for name in ["server", "child"] {
        dir.issue("ca", name, EC_KEY, "100");
    }
    dir
}

/// The warnings or the error about these files.
fn said(dir: &Dir, names: [&str; 4]) -> String {
    match files(dir, names).load() {
        Ok(loaded) => loaded.unwrap().warnings.join("\n"),
        Err(_) => refusal(&files(dir, names)),
    }
}

#[test]
fn files_as_tools_write_them_are_read() {
    let dir = made();
    dir.openssl("pkcs12 -export -in server.crt -inkey server.key -certfile ca.crt -passout pass:x -out server.p12");
    dir.openssl("pkcs12 -in server.p12 -nodes -passin pass:x -out bags.pem");
    dir.openssl("pkcs12 -in server.p12 -nokeys -cacerts -passin pass:x -out bag.pem");
    let text = |name: &str| String::from_utf8(dir.read(name)).unwrap();
    for name in ["server.crt", "server.key"] {
        dir.write(&format!("gaps-{name}"), text(name).replace('\n', "\n\n"));
        dir.write(&format!("blanks-{name}"), text(name).replace('\n', " \t\r\n"));
        let [begin, body @ .., end] =
            &text(name).lines().map(str::to_owned).collect::<Vec<_>>()[..]
        else {
            panic!("no PEM")
        };
        dir.write(&format!("long-{name}"), [begin, &body.concat(), end].map(|s| &s[..]).join("\n"));
    }
    dir.write("latin.pem", [b"# Autorit\xe9 racine\n", &dir.read("ca.crt")[..]].concat());
    dir.write("all.pem", [dir.read("server.key"), dir.read("server.crt")].concat());
    for (named, source) in [
        (["bags.pem", "bags.pem", "bag.pem", ""], "rusticata/x509-parser#21"),
        (["gaps-server.crt", "gaps-server.key", "", ""], "jcreekmore/pem-rs#61"),
        (["blanks-server.crt", "blanks-server.key", "", ""], "rustls/pemfile#40"),
        (["long-server.crt", "long-server.key", "", ""], "RustCrypto/RSA#168"),
        (["server.crt", "server.key", "latin.pem", ""], "rustls/rustls-native-certs#48"),
        (["all.pem", "all.pem", "", ""], "Yannik/qnap-letsencrypt#1"),
    ] {
        assert_eq!(said(&dir, named), "", "{source}");
    }
}

#[test]
fn what_cannot_be_used_is_named_with_the_way_out() {
    let dir = made();
    dir.openssl("pkcs12 -export -in server.crt -inkey server.key -passout pass:x -out server.p12");
    dir.openssl("crl2pkcs7 -nocrl -certfile ca.crt -outform DER -out ca.p7b");
    dir.run("ssh-keygen", &["-q", "-t", "ecdsa", "-N", "", "-f", "ssh.key"]);
    dir.openssl("pkey -in server.key -pubout -out public.pem");
    dir.write("reversed.pem", [dir.read("ca.crt"), dir.read("server.crt")].concat());
    dir.openssl("genpkey -algorithm RSA-PSS -out pss.key");
    dir.openssl("ecparam -name prime256v1 -param_enc explicit -genkey -noout -out explicit.key");
    dir.openssl("req -x509 -key explicit.key -subj /CN=explicit -out explicit.crt");
    dir.openssl(&format!("req -x509 -nodes {P256} -subj /CN=x -keyout bare.key -out bare.crt"));
    let extensions = [&dir.read("v3.ext")[..], b"1.2.3.4=critical,DER:0500\n"].concat();
    dir.write("critical.ext", extensions);
    dir.openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -extfile critical.ext -out critical.crt",
    );
    dir.write("page.pem", "<html>404</html>\n");
    for (named, expected, source) in [
        (
            ["server.p12", "server.key", "", ""],
            "http.cert_path: DIR/server.p12 holds PKCS #12, which cannot be used: convert it with \
             `openssl pkcs12 -nodes -in FILE -out NEW` (line 1)",
            "hickory-dns/hickory-dns#1838, rustls/pemfile#17",
        ),
        (
            ["server.crt", "server.p12", "", ""],
            "http.key_path: DIR/server.p12 holds PKCS #12, which cannot be used: convert it with",
            "hickory-dns/hickory-dns#1838, rustls/pemfile#17",
        ),
        (
            ["server.crt", "server.key", "ca.p7b", ""],
            "DIR/ca.p7b holds PKCS #7 in DER, which cannot be used: convert it with `openssl pkcs7 \
             -inform DER -print_certs",
            "lethek/FluentCertificates#97",
        ),
        (
            ["server.crt", "ssh.key", "", ""],
            "DIR/ssh.key holds OPENSSH PRIVATE KEY, which cannot be used: convert it with `ssh-keygen \
             -p -m PKCS8 -f FILE`",
            "openssl/openssl#11653",
        ),
        (
            ["server.crt", "public.pem", "", ""],
            "DIR/public.pem holds no private key; it holds a public key or parameters",
            "programatik29/axum-server#168",
        ),
        (
            ["reversed.pem", "server.key", "", ""],
            "does not belong to the first certificate in DIR/reversed.pem (http.cert_path): CN=ca, \
             OU=device, O=thin-edge, but to another certificate in it: move that to the start of the file",
            "dehydrated-io/dehydrated#26, kubernetes/ingress-nginx#7799",
        ),
        (
            ["server.crt", "pss.key", "", ""],
            "holds a key of a kind that cannot be used (RSA-PSS); RSA of",
            "briansmith/ring#1353",
        ),
        (
            ["explicit.crt", "explicit.key", "", ""],
            "holds a key of a kind that cannot be used (elliptic curve with explicit parameters)",
            "openssl/openssl#12600",
        ),
        (
            ["server.crt", "server.key", "explicit.crt", ""],
            "its key (elliptic curve with explicit parameters) is not supported: CN=explicit",
            "openssl/openssl#12600",
        ),
        (
            ["critical.crt", "server.key", "", ""],
            "DIR/critical.crt cannot be used: it has a critical extension that is unknown to clients",
            "briansmith/webpki#116",
        ),
        (
            ["bare.crt", "bare.key", "", ""],
            "DIR/bare.crt names no host in subjectAltName, so most clients refuse it",
            "linkerd/linkerd2#4945",
        ),
        (
            ["page.pem", "server.key", "", ""],
            "DIR/page.pem holds no certificate; PEM is expected",
            "our own: a download that was an error",
        ),
    ] {
        let said = said(&dir, named).replace(dir.path("").to_str().unwrap(), "DIR/");
        assert!(said.contains(expected), "{source}: {said}\nin place of\n{expected}");
    }
}

/// Signs a client's certificate with these extensions in place of the usual ones.
fn sign(dir: &Dir, ca: &str, name: &str, extensions: &str, options: &str) {
    dir.write("own.ext", extensions);
    dir.openssl(&format!(
        "x509 -req -in child.csr -CA {ca}.crt -CAkey {ca}.key -CAcreateserial -days 9 \
         -extfile own.ext -out {name}.crt {options}"
    ));
    dir.run("cp", &["child.key", &format!("{name}.key")]);
}

#[test]
fn clients_are_let_in_or_told_what_is_wrong_with_their_certificate() {
    let dir = made();
    dir.openssl(
        "req -x509 -newkey rsa:2048 -nodes -sha1 -subj /CN=sha1 -keyout sha1.key -out sha1.crt",
    );
    dir.openssl("req -x509 -newkey ed25519 -nodes -subj /CN=ed -keyout ed.key -out ed.crt");
    dir.openssl(&format!(
        "req -x509 -nodes {P256} -subj /CN=nc -keyout nc.key -out nc.crt \
         -addext nameConstraints=critical,permitted;DNS:.example.com"
    ));
    dir.openssl("req -new -key ca.key -subj /CN=v1 -out v1.csr");
    dir.openssl("x509 -req -in v1.csr -signkey ca.key -days 9 -out v1.crt");
    dir.run("cp", &["ca.key", "v1.key"]);
    let purpose = "its certificate is made for another purpose (extendedKeyUsage)";
    for (ca, extensions, options, outcome, source) in [
        ("ca", "basicConstraints=CA:FALSE", "", "was let in", "golang/go#11087"),
        ("ca", "extendedKeyUsage=serverAuth", "", purpose, "Infisical/infisical#7717"),
        ("ca", "extendedKeyUsage=anyExtendedKeyUsage", "", purpose, "openssl/openssl#20090"),
        ("ca", "subjectAltName=DNS:x", "-set_serial 0", "was let in", "briansmith/webpki#17"),
        ("ca", "subjectAltName=DNS:x", "-set_serial -5", "was let in", "rustls/webpki#10"),
        (
            "ca",
            "subjectAltName=DNS:x",
            "-set_serial 0x11223344556677889900112233445566778899001122",
            "was let in",
            "rustls/rustls#1246",
        ),
        ("sha1", "subjectAltName=DNS:x", "-sha256", "was let in", "briansmith/webpki#62"),
        ("ed", "subjectAltName=DNS:x", "", "was let in", "lysine-dev/okhttp#9437"),
        (
            "sha1",
            "subjectAltName=DNS:x",
            "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1 -sha256",
            "was let in",
            "rustls/rustls#3015",
        ),
        ("v1", "subjectAltName=DNS:x", "", "was let in", "chromium/badssl.com#65"),
        ("nc", "subjectAltName=DNS:a.example.com", "", "was let in", "Infisical/infisical#7717"),
        (
            "nc",
            "subjectAltName=DNS:localhost",
            "",
            "its certificate has a name for which its CA may not sign certificates (nameConstraints)",
            "Infisical/infisical#7717",
        ),
    ] {
        sign(&dir, ca, "own", extensions, options);
        let named = files(&dir, ["server.crt", "server.key", &format!("{ca}.crt"), ""]);
        let loaded = named.load().unwrap().unwrap();
        assert_eq!(why(&loaded.config, client(&dir, Some("own"))), outcome, "{source}: {ca}");
        // Whoever is let in can be kept out, whatever the number of the certificate.
        if outcome == "was let in" {
            dir.revoke(ca, &["own"], "-batch");
            let named = files(
                &dir,
                ["server.crt", "server.key", &format!("{ca}.crt"), &format!("{ca}.crl")],
            );
            let loaded = named.load().unwrap().unwrap();
            let said = why(&loaded.config, client(&dir, Some("own")));
            assert_eq!(said, "its certificate is revoked", "{source}: {ca} {options}");
        }
    }
    // rustls does not show such a certificate, but others do: briansmith/webpki#116.
    sign(&dir, "ca", "own", "1.2.3.4=critical,DER:0500", "");
    let own = PemObject::from_pem_slice(&dir.read("own.crt")).unwrap();
    let loaded = files(&dir, ["server.crt", "server.key", "ca.crt", ""]).load().unwrap().unwrap();
    let refused = loaded.admission.unwrap().judge(&own, &[], UnixTime::now()).unwrap_err();
    assert!(explain(&refused).contains("has an unknown critical extension"));
}

#[test]
fn a_list_that_does_not_say_all_stops_the_start() {
    let dir = made();
    dir.revoke("ca", &[], "");
    for (extensions, expected, source) in [
        ("2.5.29.27=critical,DER:020101", "a delta or an indirect list", "openssl/openssl#31297"),
        (
            "issuingDistributionPoint=critical,@idp\n[idp]\nonlysomereasons=keyCompromise",
            "a list for only some revocation reasons; one for all reasons is needed: CN=ca",
            "openssl/openssl#25527",
        ),
        (
            "1.2.3.4=critical,DER:0500",
            "a list with an unknown critical extension: CN=ca",
            "bradh11/certmonitor#128, Mbed-TLS/mbedtls#6175",
        ),
    ] {
        let settings = String::from_utf8(dir.read("ca.cnf")).unwrap();
        dir.write("ext.cnf", format!("{settings}\n[list]\n{extensions}\n"));
        dir.openssl("ca -config ext.cnf -cert ca.crt -keyfile ca.key -md sha256 -gencrl -crlexts list -out odd.crl");
        let message = refusal(&files(&dir, ["server.crt", "server.key", "ca.crt", "odd.crl"]));
        assert!(message.contains(expected), "{source}: {message}");
    }
}

#[test]
fn a_list_of_an_intermediate_ca_alone_counts_once_that_is_in_ca_path() {
    let dir = made();
    // CESNET/libnetconf2#642. As in nginx, the root's list is missed otherwise.
    sign(&dir, "ca", "inter", "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash", "");
    sign(&dir, "inter", "below", "subjectAltName=DNS:x", "");
    dir.revoke("inter", &["below"], "");
    let message = refusal(&files(&dir, ["server.crt", "server.key", "ca.crt", "inter.crl"]));
    assert!(message.contains("/inter.crl holds no list of a CA in ca_path"), "{message}");
    dir.write("both.crt", [dir.read("ca.crt"), dir.read("inter.crt")].concat());
    let named = files(&dir, ["server.crt", "server.key", "both.crt", "inter.crl"]);
    let loaded = named.load().unwrap().unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    assert_eq!(why(&loaded.config, client(&dir, Some("below"))), "its certificate is revoked");
    assert_eq!(why(&loaded.config, client(&dir, Some("child"))), "was let in");
}

#[test]
fn a_renewed_ca_keeps_the_list_that_names_it_in_other_strings() {
    let dir = made();
    // vitessio/vitess#21054: the same key under two certificates, the list by the first.
    dir.write("pkix.cnf", "[req]\nstring_mask=pkix\ndistinguished_name=dn\n[dn]\n");
    dir.openssl(
        "req -x509 -config pkix.cnf -key ca.key -subj /O=thin-edge/OU=device/CN=ca \
         -addext basicConstraints=critical,CA:TRUE -out old.crt",
    );
    dir.run("cp", &["ca.key", "old.key"]);
    dir.revoke("old", &["child"], "");
    dir.write("both.crt", [dir.read("old.crt"), dir.read("ca.crt")].concat());
    for cas in ["both.crt", "ca.crt"] {
        let loaded = files(&dir, ["server.crt", "server.key", cas, "old.crl"]).load().unwrap();
        let loaded = loaded.unwrap();
        assert_eq!(loaded.warnings, [""; 0], "{cas}");
        let said = why(&loaded.config, client(&dir, Some("child")));
        assert_eq!(said, "its certificate is revoked", "{cas}");
    }
}

#[test]
fn a_directory_that_is_swapped_by_a_link_is_loaded_again() {
    let dir = made();
    dir.revoke("ca", &[], "");
    // minio/minio#14357, cloudflare/certinel#20: files are links through `..data`.
    for (version, name) in [("..1", "server"), ("..2", "child")] {
        for (from, to) in [
            (format!("{name}.crt"), "tls.crt"),
            (format!("{name}.key"), "tls.key"),
            ("ca.crl".to_owned(), "lists/list.pem"),
        ] {
            dir.write(&format!("mount/{version}/{to}"), dir.read(&from));
        }
    }
    let link = |target: &str, name: &str| {
        let _ = std::fs::remove_file(dir.path(name));
        std::os::unix::fs::symlink(target, dir.path(name)).unwrap();
    };
    link("..1", "mount/..data");
    link("..data/tls.crt", "mount/tls.crt");
    link("..data/tls.key", "mount/tls.key");
    link("..data/lists/list.pem", "mount/list.pem");
    dir.write("lists/..1/list.pem", dir.read("ca.crl"));
    for (target, name) in [("..1", "lists/..data"), ("..data/list.pem", "lists/list.pem")] {
        link(target, name);
    }
    let named = files(&dir, ["mount/tls.crt", "mount/tls.key", "ca.crt", "lists"]);
    let loaded = named.load().unwrap().unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    let server = ReloadingServer::new(named, &loaded);
    assert!(!server.changed());
    link("..2", "mount/..data");
    assert!(server.changed());
    assert!(server.reload().unwrap().subject.contains("SN=child"));
    // eclipse-mosquitto/mosquitto#2916: clients are let in after the reload too.
    assert_eq!(why(&server.current(), client(&dir, Some("child"))), "was let in");
}
