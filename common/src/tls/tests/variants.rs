//! Common variants of certificates, lists and keys: each is read, or reported with its line, and
//! never skipped silently. openssl, curl and nginx are the reference.

use std::sync::Arc;

use super::{refusal, why};
use crate::testing::{Dir, EC_KEY, client, client_files, files, shake};
use crate::tls::ReloadingServer;

/// What becomes of a file.
enum Verdict {
    Read,
    /// Not, and this is said.
    Fails(&'static str),
}

use Verdict::{Fails, Read};

/// A second section behind the first, written in many ways; `label` is the usual one.
fn variants(first: &[u8], second: &[u8], der: &[u8], label: &str) -> Vec<(&'static str, Vec<u8>)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (first, second) = (text(first), text(second));
    let renamed = |new: &str| first.clone() + &second.replace(label, new);
    let utf16 = |text: &str| {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [0xff, 0xfe].into_iter().chain(units).collect::<Vec<_>>()
    };
    let indented: String = second.lines().map(|line| format!("    {line}\n")).collect();
    let one_line = second.replace('\n', "");
    vec![
        ("plain", (first.clone() + &second).into()),
        ("glued", (first.trim_end().to_owned() + &second).into()),
        ("indented", (first.clone() + &indented).into()),
        ("after a mark", (first.clone() + "\u{feff}" + &second).into()),
        ("carriage returns", (first.clone() + &second).replace('\n', "\r\n").into()),
        ("on one line", (first.clone() + &one_line).into()),
        ("with text", format!("Issuer: x\n{first}\n# second: BEGIN here\n{second}bye\n").into()),
        ("with fields", (first.clone() + &second.replacen('\n', "\nComment: x\n\n", 1)).into()),
        ("old label", renamed(if label == "X509 CRL" { "CRL" } else { "X509 CERTIFICATE" }).into()),
        ("foreign label", renamed("FOO").into()),
        ("PKCS #7", renamed("PKCS7").into()),
        ("utf-16", utf16(&(first.clone() + &second))),
        ("no end", (first.clone() + &second[..second.len() - 30]).into()),
        ("no begin", (first.clone() + second.split_once('\n').unwrap().1).into()),
        ("four hyphens", (first.clone() + &second.replace("-----", "----")).into()),
        ("dashes", (first.clone() + &second.replace("-----", "\u{2014}")).into()),
        ("no base64", (first.clone() + &second.replacen('\n', "\n!", 1)).into()),
        ("cut", (first.clone() + &second[..second.len() / 2]).into()),
        ("binary after text", [first.as_bytes(), der].concat()),
    ]
}

/// What becomes of a file with that variant: of a list the start stops where a CA's is a warning.
fn verdict(variant: &str) -> Verdict {
    match variant {
        "foreign label" => Fails("holds unknown data: FOO (line"),
        "PKCS #7" => Fails("holds PKCS7, which cannot be used: convert it with `openssl pkcs7"),
        "utf-16" => Fails("is UTF-16: save it as UTF-8 (line 1)"),
        "no end" | "cut" => Fails("is cut off: no line END"),
        "no begin" | "four hyphens" | "dashes" => Fails("has a damaged BEGIN or END line (line"),
        "no base64" => Fails("is damaged: not base64 between BEGIN and END (line"),
        "binary after text" => Fails("holds bytes that are not text (line"),
        _ => Read,
    }
}

/// Two CAs with a list each, on which `bad-…` is.
pub(super) fn two_authorities() -> Dir {
    let dir = Dir::new();
    for ca in ["ca", "second"] {
        dir.ca(ca);
        let (good, bad) = (format!("good-{ca}"), format!("bad-{ca}"));
        for name in [&good, &bad] {
            dir.issue(ca, name, EC_KEY, "100");
        }
        dir.revoke(ca, &[&bad], "");
        dir.openssl(&format!("crl -in {ca}.crl -outform DER -out {ca}.crl.der"));
        dir.openssl(&format!("x509 -in {ca}.crt -outform DER -out {ca}.crt.der"));
    }
    dir.issue("ca", "server", EC_KEY, "100");
    dir.write("cas.pem", [dir.read("ca.crt"), dir.read("second.crt")].concat());
    dir
}

#[test]
fn a_second_list_counts_however_it_is_written_or_stops_the_start() {
    let dir = two_authorities();
    let (first, second) = (dir.read("ca.crl"), dir.read("second.crl"));
    let mut all = variants(&first, &second, &dir.read("second.crl.der"), "X509 CRL");
    all.push(("both in DER", [dir.read("ca.crl.der"), dir.read("second.crl.der")].concat()));
    for (variant, content) in all {
        // As a file, and beside another in a directory.
        let _ = std::fs::remove_dir_all(dir.path("lists"));
        dir.write("lists/0.crl", dir.read("ca.crl.der"));
        dir.write("lists/list.pem", &content);
        for named in ["lists/list.pem", "lists"] {
            let named = files(&dir, ["server.crt", "server.key", "cas.pem", named]);
            match verdict(variant) {
                Fails(what) => {
                    let message = refusal(&named);
                    assert!(message.contains("/lists/list.pem "), "{variant}: {message}");
                    assert!(message.contains(what), "{variant}: {message}");
                }
                _ => {
                    let loaded = named.load().unwrap().unwrap();
                    assert_eq!(loaded.warnings, [""; 0], "{variant}");
                    for ca in ["ca", "second"] {
                        let ask = |name: String| why(&loaded.config, client(&dir, Some(&name)));
                        assert_eq!(ask(format!("good-{ca}")), "was let in", "{variant}");
                        let bad = ask(format!("bad-{ca}"));
                        assert_eq!(bad, "its certificate is revoked", "{variant}");
                    }
                }
            }
        }
    }
}

#[test]
fn whatever_lies_among_lists_is_understood_or_stops_the_start() {
    let dir = two_authorities();
    dir.openssl("crl2pkcs7 -in ca.crl -certfile ca.crt -outform DER -out ca.p7b");
    let found = |name: &str| dir.read(name);
    let second = String::from_utf8(found("second.crl")).unwrap();
    let bare = second.lines().filter(|line| !line.contains("-----")).collect::<Vec<_>>().join("\n");
    let bare = bare.into_bytes();
    let lying = [
        ("empty", Vec::new(), Some("holds no revocation list; PEM is expected")),
        ("README", b"lists of our CA\n".to_vec(), Some("holds no revocation list; PEM is")),
        ("ca.p7b", found("ca.p7b"), Some("holds PKCS #7 in DER, which cannot be used")),
        ("half.der", found("ca.crl.der")[..99].to_vec(), Some("holds no revocation list; PEM")),
        ("lie.crl", found("ca.crt"), None),
        ("ca.key", found("ca.key"), None),
        ("other.csr", found("server.csr"), None),
        ("bare.crl", bare, Some("has a damaged BEGIN or END line (line 1)")),
        ("sub/list.pem", found("second.crl"), Some("/lists/sub is a directory, and lists in it")),
        ("..data/list.pem", found("second.crl"), None),
    ];
    for (name, content, stops) in lying {
        let _ = std::fs::remove_dir_all(dir.path("lists"));
        dir.write("lists/good.pem", dir.read("ca.crl"));
        dir.write(&format!("lists/{name}"), content);
        let named = files(&dir, ["server.crt", "server.key", "cas.pem", "lists"]);
        match stops {
            Some(what) => assert!(refusal(&named).contains(what), "{name}: {}", refusal(&named)),
            None => assert_eq!(named.load().unwrap().unwrap().warnings, [""; 0], "{name}"),
        }
    }
    let label = String::from_utf8(dir.read("ca.crt")).unwrap().replace("CERTIFICATE", "X509 CRL");
    dir.write("lie.crl", format!("\n\n{label}"));
    let message = refusal(&files(&dir, ["server.crt", "server.key", "cas.pem", "lie.crl"]));
    assert!(message.contains("holds a list that is not well-formed"), "{message}");
    assert!(message.ends_with("(line 3)"), "{message}");
}

#[test]
fn a_list_counts_under_whatever_label_it_stands() {
    let dir = two_authorities();
    let second = String::from_utf8(dir.read("second.crl")).unwrap();
    for label in
        ["CERTIFICATE", "TRUSTED CERTIFICATE", "PRIVATE KEY", "PUBLIC KEY", "EC PARAMETERS"]
    {
        dir.write(
            "all.pem",
            [dir.read("ca.crl"), second.replace("X509 CRL", label).into()].concat(),
        );
        let named = files(&dir, ["server.crt", "server.key", "cas.pem", "all.pem"]);
        let server = ReloadingServer::new(named.clone(), &named.load().unwrap().unwrap());
        let bad = why(&server.current(), client(&dir, Some("bad-second")));
        assert_eq!(bad, "its certificate is revoked", "{label}");
    }
}

#[test]
fn a_list_that_is_not_understood_keeps_the_old_ones_on_a_reload() {
    let dir = two_authorities();
    dir.write("lists/1.pem", dir.read("ca.crl"));
    let named = files(&dir, ["server.crt", "server.key", "cas.pem", "lists"]);
    let server = ReloadingServer::new(named.clone(), &named.load().unwrap().unwrap());
    dir.write("lists/2.pem", "what is this\n");
    assert!(server.reload().unwrap_err().to_string().contains("/lists/2.pem holds no revocation"));
    let bad = why(&server.current(), client(&dir, Some("bad-ca")));
    assert_eq!(bad, "its certificate is revoked");
}

#[test]
fn a_second_ca_counts_however_it_is_written_or_is_warned_of() {
    let dir = two_authorities();
    let (first, second) = (dir.read("ca.crt"), dir.read("second.crt"));
    let mut all = variants(&first, &second, &dir.read("second.crt.der"), "CERTIFICATE");
    dir.openssl("x509 -in second.crt -trustout -addtrust clientAuth -out trusted.crt");
    all.push(("trusted", [first, dir.read("trusted.crt")].concat()));
    all.push(("both in DER", [dir.read("ca.crt.der"), dir.read("second.crt.der")].concat()));
    for (variant, content) in all {
        let _ = std::fs::remove_dir_all(dir.path("cas"));
        dir.write("cas/0.crt", dir.read("ca.crt"));
        dir.write("cas/ca.pem", &content);
        for name in ["cas/ca.pem", "cas"] {
            let named = files(&dir, ["server.crt", "server.key", name, ""]);
            let is_read = matches!(verdict(variant), Read);
            let is_fatal = name != "cas" && !matches!(variant, "foreign label" | "PKCS #7");
            match verdict(variant) {
                Fails(what) if is_fatal => {
                    let message = refusal(&named);
                    assert!(message.contains(what), "{variant}: {message}");
                }
                Fails(what) => {
                    let loaded = named.load().unwrap().unwrap();
                    assert_eq!(loaded.authorities, 1, "{variant}");
                    let message = loaded.warnings.join("\n");
                    assert!(message.contains("/cas/ca.pem "), "{variant}: {message}");
                    assert!(message.contains(what), "{variant}: {message}");
                }
                Read => {
                    let loaded = named.load().unwrap().unwrap();
                    assert_eq!(loaded.warnings, [""; 0], "{variant}");
                    assert_eq!(loaded.authorities, 2, "{variant}");
                    let second = why(&loaded.config, client(&dir, Some("good-second")));
                    assert_eq!(second, "was let in", "{variant}");
                }
            }
            // The same file as what servers are checked against.
            let roots = client_files(&dir, name);
            let loaded = roots.load();
            assert_eq!(
                loaded.as_ref().is_ok_and(|read| read.authorities == 2),
                is_read,
                "{variant}"
            );
            assert_eq!(loaded.is_err(), !is_read && is_fatal, "{variant}");
        }
    }
}

#[test]
fn a_chain_is_sent_whole_however_it_is_written_or_is_warned_of() {
    let dir = two_authorities();
    let (first, second) = (dir.read("server.crt"), dir.read("ca.crt"));
    for (variant, content) in variants(&first, &second, &dir.read("ca.crt.der"), "CERTIFICATE") {
        dir.write("chain.pem", content);
        let named = files(&dir, ["chain.pem", "server.key", "", ""]);
        match verdict(variant) {
            Fails(what) if matches!(variant, "foreign label" | "PKCS #7") => {
                let warnings = named.load().unwrap().unwrap().warnings;
                assert!(warnings[0].contains(what), "{variant}: {warnings:?}");
            }
            Fails(what) => {
                let message = refusal(&named);
                assert!(message.contains(what), "{variant}: {message}");
            }
            Read => {
                let loaded = named.load().unwrap().unwrap();
                assert_eq!(loaded.warnings, [""; 0], "{variant}");
                let (_, client) = shake(&loaded.config, &Arc::new(client(&dir, None))).unwrap();
                assert_eq!(client.peer_certificates().unwrap().len(), 2, "{variant}");
            }
        }
    }
}

/// The certificate of a CA with the same key, and its name in other strings.
fn rename(dir: &Dir, subject: &str, mask: &str) {
    dir.write(
        "names.cnf",
        format!("[req]\nstring_mask = {mask}\nutf8 = yes\ndistinguished_name = dn\n[dn]\n"),
    );
    dir.run(
        "openssl",
        &[
            &["req", "-new", "-x509", "-config", "names.cnf", "-utf8", "-subj", subject][..],
            &["-key", "ca.key", "-out", "renamed.crt"],
        ]
        .concat(),
    );
    dir.run("cp", &["ca.key", "renamed.key"]);
    dir.revoke("renamed", &["bad"], "");
}

#[test]
fn a_list_counts_in_whatever_strings_and_case_it_names_the_ca() {
    let dir = Dir::new();
    dir.ca("ca");
    for name in ["server", "good", "bad"] {
        dir.issue("ca", name, EC_KEY, "100");
    }
    for (subject, mask) in [
        ("/O=thin-edge/OU=device/CN=ca", "pkix"),
        ("/O=thin-edge/OU=device/CN=ca", "MASK:0x4"),
        ("/O=thin-edge/OU=device/CN=ca", "MASK:0x800"),
        ("/O=Thin-Edge/OU=DEVICE/CN=CA", "utf8only"),
        ("/O=  thin-edge /OU=device/CN=ca", "utf8only"),
        ("/O=THIN-EDGE/OU=device/CN=  ca", "nombstr"),
        // By the key alone.
        ("/CN=another name", "utf8only"),
    ] {
        rename(&dir, subject, mask);
        assert_ne!(dir.read("renamed.crl"), dir.read("ca.crt"));
        let named = files(&dir, ["server.crt", "server.key", "ca.crt", "renamed.crl"]);
        let loaded = named.load().unwrap().unwrap();
        assert_eq!(loaded.warnings, [""; 0], "{subject} {mask}");
        for (name, outcome) in [("good", "was let in"), ("bad", "its certificate is revoked")] {
            let said = why(&loaded.config, client(&dir, Some(name)));
            assert_eq!(said, outcome, "{subject} {mask}");
        }
    }
}

#[test]
fn lists_of_other_cas_alone_stop_the_start_and_keep_the_old_ones_on_a_reload() {
    let dir = two_authorities();
    dir.write("lists/a.pem", dir.read("ca.crl"));
    dir.write("lists/b.pem", dir.read("second.crl"));
    let named = files(&dir, ["server.crt", "server.key", "ca.crt", "lists"]);
    let loaded = named.load().unwrap().unwrap();
    let warning = "b.pem holds a list of a CA that is not in ca_path: it is used";
    assert!(loaded.warnings[0].contains(warning), "{:?}", loaded.warnings);
    let server = ReloadingServer::new(named.clone(), &loaded);
    std::fs::remove_file(dir.path("lists/a.pem")).unwrap();
    let said = "/lists holds no list of a CA in ca_path, so revoked clients would be admitted";
    assert!(refusal(&named).contains(said), "{}", refusal(&named));
    assert!(server.reload().is_err());
    let bad = why(&server.current(), client(&dir, Some("bad-ca")));
    assert_eq!(bad, "its certificate is revoked");
}
