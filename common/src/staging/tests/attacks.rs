//! Attacks by a user who can write the settings, or a directory below them, on root's files.

use std::fs::{Permissions, create_dir, hard_link, set_permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// `etc`, a configuration directory with `local`, where the page makes the certificates.
fn with_mode(mode: u32) -> Dir {
    let dir = configured();
    create_dir(dir.path("etc")).unwrap();
    for name in ["ca.crt", "ca.key", "server.crt", "server.key"] {
        dir.write(&format!("etc/local/{name}"), dir.read(name));
    }
    chmod(&dir, "etc/local", 0o750);
    chmod(&dir, "etc", mode);
    dir
}

fn chmod(dir: &Dir, name: &str, mode: u32) {
    set_permissions(dir.path(name), Permissions::from_mode(mode)).unwrap();
}

/// Makes a file, or a directory, another user's; false where only root can.
fn give_away(dir: &Dir, name: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        dir.run("chown", &["daemon", name]);
    } else {
        eprintln!("skipped: nobody but root can give a file away");
    }
    is_root
}

/// The settings of a service that identifies itself.
const OWN: [(&str, PathTo); 2] =
    [("etc/local/server.crt", PathTo::Certificate), ("etc/local/server.key", PathTo::PrivateKey)];

fn stage_etc(dir: &Dir, named: &[(&str, PathTo)]) {
    stage_below(dir, "etc", named);
}

fn is_refused(dir: &Dir, name: &str, words: &[&str]) {
    let reason = reason(dir, name).replace(dir.path("").to_str().unwrap(), "DIR/");
    assert!(reason.starts_with("is not copied for the service by root: "), "{reason}");
    for words in words {
        assert!(reason.contains(words), "{words}: {reason}");
    }
}

#[test]
fn the_pages_key_is_handed_over_in_every_layout() {
    for mode in [0o755, 0o775] {
        let dir = with_mode(mode);
        stage_etc(&dir, &OWN);
        assert_eq!(handed_over(&contents(&dir, "etc/local/server.key")), [SectionKind::PrivateKey]);
    }
}

#[test]
fn only_roots_files_are_handed_over_where_others_write_the_settings() {
    for (mode, is_others) in [(0o775, true), (0o755, false)] {
        let dir = with_mode(mode);
        if !give_away(&dir, "etc/local/server.key") {
            return;
        }
        stage_etc(&dir, &OWN);
        if is_others {
            let words = ["belongs to user daemon,", "type `chown root: DIR/etc/local/server.key`"];
            is_refused(&dir, "etc/local/server.key", &words);
        } else {
            assert_eq!(
                handed_over(&contents(&dir, "etc/local/server.key")),
                [SectionKind::PrivateKey]
            );
        }
    }
}

#[test]
fn nothing_is_handed_over_from_a_directory_that_others_can_change() {
    for mode in [0o755, 0o775] {
        let dir = with_mode(mode);
        let named =
            [("etc/local/server.key", PathTo::PrivateKey), ("etc/local", PathTo::Authorities)];
        let words = ["DIR/etc/local is a directory that users other", "`chown root DIR/etc/local"];
        chmod(&dir, "etc/local", 0o770);
        stage_etc(&dir, &named);
        is_refused(&dir, "etc/local/server.key", &words);
        is_refused(&dir, "etc/local", &words);
        chmod(&dir, "etc/local", 0o750);
        if give_away(&dir, "etc/local") {
            stage_etc(&dir, &named);
            is_refused(&dir, "etc/local/server.key", &words);
        }
    }
}

#[test]
fn a_key_that_others_can_have_moved_stays_where_it_is() {
    let dir = with_mode(0o775);
    std::fs::rename(dir.path("etc/local/ca.key"), dir.path("etc/moved.key")).unwrap();
    stage_etc(&dir, &[("etc/moved.key", PathTo::PrivateKey)]);
    is_refused(&dir, "etc/moved.key", &["a private key", "DIR/etc is", "`mv DIR/etc/moved.key "]);
    // A certificate and a password, which are no key, may lie there.
    dir.write("etc/server.crt", dir.read("server.crt"));
    dir.write("etc/password", "a word\n");
    hard_link(dir.path("etc/password"), dir.path("etc/hard")).unwrap();
    stage_etc(&dir, &[("etc/server.crt", PathTo::Certificate), ("etc/hard", PathTo::Password)]);
    assert_eq!(handed_over(&contents(&dir, "etc/server.crt")), [SectionKind::Certificate]);
    is_refused(&dir, "etc/hard", &["a hard link"]);
}

#[test]
fn the_key_of_a_ca_is_known_by_any_certificate_in_its_directory() {
    let dir = with_mode(0o775);
    let key = |name: &str| dir.write(&format!("etc/local/{name}"), dir.read("ca.key"));
    key("renamed.pem");
    symlink(dir.path("ca.crt"), dir.path("away.crt")).unwrap();
    for certificate in ["etc/local/ca-cert.pem", "etc/local/link"] {
        let _ = std::fs::remove_file(dir.path("etc/local/ca.crt"));
        match certificate {
            "etc/local/link" => symlink(dir.path("away.crt"), dir.path(certificate)).unwrap(),
            _ => drop(dir.write(certificate, dir.read("ca.crt"))),
        }
        stage_etc(&dir, &[("etc/local/renamed.pem", PathTo::PrivateKey)]);
        is_refused(&dir, "etc/local/renamed.pem", &["the private key of a CA (line 1)"]);
        std::fs::remove_file(dir.path(certificate)).unwrap();
    }
}

#[test]
fn the_key_of_a_ca_that_ring_cannot_read_stays_too() {
    let dir = with_mode(0o755);
    let request = "req -new -x509 -extensions v3_ca -nodes -subj /CN=large -newkey ec -pkeyopt \
                   ec_paramgen_curve:P-521 -out etc/local/large-cert.pem -keyout etc/local/large-key.pem";
    dir.openssl(request);
    dir.openssl("ec -in etc/local/large-key.pem -no_public -out etc/local/bare.key");
    dir.openssl("ec -in server.key -no_public -out etc/local/server-bare.key");
    for name in ["large-key.pem", "bare.key"] {
        let name = format!("etc/local/{name}");
        stage_etc(&dir, &[(&name, PathTo::PrivateKey)]);
        is_refused(&dir, &name, &["the private key of a CA"]);
    }
    stage_etc(&dir, &[OWN[0], ("etc/local/server-bare.key", PathTo::PrivateKey)]);
    assert_eq!(
        handed_over(&contents(&dir, "etc/local/server-bare.key")),
        [SectionKind::PrivateKey]
    );
}

#[test]
fn a_key_goes_nowhere_but_to_the_service_whose_certificate_it_is_for() {
    for mode in [0o755, 0o775] {
        let dir = with_mode(mode);
        // A CA's key, whose certificate is nowhere.
        dir.run("mv", &["etc/local/ca.key", "etc/local/far.key"]);
        dir.run("rm", &["etc/local/ca.crt"]);
        let far = ("etc/local/far.key", PathTo::PrivateKey);
        stage_etc(&dir, &[far]);
        is_refused(&dir, far.0, &["the settings name no certificate for it"]);
        // The service finds out that it is not the key of its certificate, but does not get it.
        stage_etc(&dir, &[OWN[0], far]);
        let [given] = &contents(&dir, far.0).sections[..] else { panic!("not one section") };
        let [original] = &pem::read(&dir.read(far.0)).sections[..] else { panic!() };
        assert!(given.kind == SectionKind::PrivateKey && given.der != original.der);
        // Nor does it where the certificate of the CA is named.
        dir.write("etc/chain.crt", [dir.read("server.crt"), dir.read("ca.crt")].concat());
        dir.write("etc/named.crt", dir.read("ca.crt"));
        for name in ["etc/chain.crt", "etc/named.crt"] {
            stage_etc(&dir, &[(name, PathTo::Certificate), far]);
            is_refused(&dir, far.0, &["the private key of a CA (line 1)"]);
        }
        // A certificate of his own making, for any key of which he knows the public half.
        dir.openssl("pkey -in etc/local/far.key -pubout -out far.pub");
        dir.openssl(
            "x509 -new -force_pubkey far.pub -key other.key -subj /CN=mine -days 9 \
             -extfile v3.ext -extensions default -out etc/mine.crt",
        );
        let mine = ("etc/mine.crt", PathTo::Certificate);
        if mode == 0o775 && give_away(&dir, mine.0) {
            stage_etc(&dir, &[mine, far]);
            is_refused(&dir, far.0, &["that root can read and that others cannot change"]);
        }
    }
}

#[test]
fn a_key_among_too_many_files_to_look_at_stays() {
    let dir = with_mode(0o755);
    for number in 0..1001 {
        dir.write(&format!("etc/local/{number}"), "");
    }
    stage_etc(&dir, &[("etc/local/server.key", PathTo::PrivateKey)]);
    is_refused(&dir, "etc/local/server.key", &["more than 1000 files"]);
}

#[test]
fn a_password_file_gives_one_line_and_no_other_secret() {
    let dir = configured();
    let long = "x".repeat(1024);
    for (text, password) in [
        ("pass wörd\n", Some("pass wörd")),
        ("password", Some("password")),
        ("password\r\n\n", Some("password")),
        (long.as_str(), Some(long.as_str())),
        ("", Some("")),
        ("pass\nword", None),
        ("pass\tword", None),
        ("pass\0word", None),
        (&format!("{long}x"), None),
    ] {
        dir.write("password", text);
        stage(&dir, &[("password", PathTo::Password)]);
        match password {
            Some(password) => {
                assert_eq!(copied(&dir, Copy::Content, "password").unwrap(), password.as_bytes());
            }
            None => assert!(reason(&dir, "password").contains("one line"), "{text}"),
        }
    }
    dir.write("password", [0xff, 0xfe]);
    for name in ["password", "ca.key"] {
        stage(&dir, &[(name, PathTo::Password)]);
        assert!(reason(&dir, name).contains("one line"), "{name}");
    }
}

#[test]
fn a_file_of_credentials_gives_user_name_and_password_alone() {
    let dir = configured();
    let text = "# s3cret\n[c8y]\nusername = \"me\"\npassword = 'p\"ä'\nother = \"s3cret\"\n[aws]\nkey = \"s3cret\"\n";
    dir.write("credentials", text);
    stage(&dir, &[("credentials", PathTo::Credentials)]);
    let copy = String::from_utf8(copied(&dir, Copy::Content, "credentials").unwrap()).unwrap();
    assert!(!copy.contains("s3cret") && copy.contains("me"), "{copy}");
    let read = |bytes: &[u8]| {
        let read = crate::staging::credentials(bytes).unwrap();
        (read.username, read.password)
    };
    assert_eq!(read(copy.as_bytes()), read(text.as_bytes()));
    for odd in
        ["root:$y$s3cret:1:::\n", "[c8y]\nusername = \"s3cret\"\n", "[aws]\nkey = \"s3cret\"\n"]
    {
        dir.write("credentials", odd);
        stage(&dir, &[("credentials", PathTo::Credentials)]);
        let said = crate::staging::credentials(odd.as_bytes()).err().unwrap().to_string();
        assert_eq!(reason(&dir, "credentials"), said);
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn of_other_files_than_rules_nothing_is_handed_over_as_rules() {
    let dir = configured();
    let rules = "# children\n[[rule]]\nwho = \"*\"\nmay = [\"read\"]\nbelow = \"/{who}/\"\n";
    dir.write("rules", rules);
    stage(&dir, &[("rules", PathTo::Rules)]);
    assert_eq!(copied(&dir, Copy::Content, "rules").unwrap(), rules.as_bytes());
    for (odd, line) in [
        ("", 1),
        ("# s3cret\n", 1),
        ("root:$y$s3cret:1:::\n", 1),
        ("\n[c8y]\npassword = \"s3cret\"\n", 2),
        (&format!("{rules}\n[s3cret]\n"), 7),
        (&format!("{rules}s3cret = \"s3cret\"\n"), 6),
        (&format!("{rules}from = \"s3cret\"\n"), 6),
    ] {
        dir.write("rules", odd);
        stage(&dir, &[("rules", PathTo::Rules)]);
        assert!(copied(&dir, Copy::Content, "rules").is_none(), "{odd}");
        let said = reason(&dir, "rules");
        assert!(said.starts_with(&format!("cannot be used: line {line}: ")), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn the_names_in_a_closed_directory_stay_but_for_those_that_the_service_names() {
    let dir = with_mode(0o755);
    dir.write("etc/local/ca.crt", dir.read("ca.crt"));
    dir.run("mkdir", &["etc/local/s3cret-directory"]);
    for odd in ["a", "b", "c", "s3cret-customers", "s3cret-keys"] {
        dir.write(&format!("etc/local/{odd}"), "");
    }
    let listing = |path_to| {
        stage_etc(&dir, &[("etc/local", path_to)]);
        String::from_utf8(copied(&dir, Copy::Listing, "etc/local").unwrap()).unwrap()
    };
    // The other two are counted in a warning, and so stand there under numbers.
    assert_eq!(
        listing(PathTo::Authorities),
        "a\0b\0c\0ca.crt\0odd file 4\0odd file 5\0server.crt\0"
    );
    // A setting that names a file names no directory.
    stage_etc(&dir, &[("etc/local", PathTo::PrivateKey)]);
    assert!(copied(&dir, Copy::Listing, "etc/local").is_none());
    assert_eq!(reason(&dir, "etc/local"), "is a directory, not a file");
}
