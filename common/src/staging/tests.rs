//! What is copied for which setting, and what never is.

mod attacks;

use std::collections::BTreeMap;
use std::path::Path;

use super::directory::StagingDirectory;
use super::find::Copy;
use super::hand_over::hand_over;
use super::walk::PathWalk;
use crate::settings::PathTo;
use crate::testing::{Dir, EC_KEY};
use crate::x509::pem::{self, Contents, SectionKind};

/// A configuration directory with certificates, below which everything is that is named.
fn configured() -> Dir {
    let dir = Dir::new();
    std::fs::create_dir(dir.path("run")).unwrap();
    dir.ca("ca");
    for name in ["server", "other"] {
        dir.issue("ca", name, EC_KEY, "100");
    }
    dir.revoke("ca", &["other"], "");
    dir
}

fn stage(dir: &Dir, named: &[(&str, PathTo)]) {
    stage_below(dir, "", named);
}

/// With the settings in this directory.
fn stage_below(dir: &Dir, config_dir: &str, named: &[(&str, PathTo)]) {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for (name, path_to) in named {
        all.entry(dir.path(name)).or_default().push(*path_to);
    }
    let walk = PathWalk::new(&dir.path(""), &dir.path(config_dir));
    hand_over(&walk, &all, StagingDirectory::open(&dir.path("run")).unwrap()).unwrap();
}

fn copied(dir: &Dir, copy: Copy, name: &str) -> Option<Vec<u8>> {
    let path = Path::new("run").join(copy.name(&dir.path(name)));
    dir.path("").join(&path).exists().then(|| dir.read(path.to_str().unwrap()))
}

fn contents(dir: &Dir, name: &str) -> Contents {
    pem::read(&copied(dir, Copy::Content, name).unwrap())
}

fn reason(dir: &Dir, name: &str) -> String {
    assert!(copied(dir, Copy::Content, name).is_none());
    String::from_utf8(copied(dir, Copy::Reason, name).unwrap()).unwrap()
}

fn handed_over(contents: &Contents) -> Vec<SectionKind> {
    let full = contents.sections.iter().filter(|section| !section.der.is_empty());
    full.map(|section| section.kind).collect()
}

#[test]
fn of_each_file_comes_what_its_setting_means_and_nothing_beside_it() {
    let dir = configured();
    let mixed = ["server.crt", "ca.crl", "server.key", "other.key", "other.csr"];
    let mixed = mixed.map(|name| String::from_utf8(dir.read(name)).unwrap()).join("s3cret\n");
    for (path_to, kinds) in [
        (PathTo::Certificate, &[SectionKind::Certificate][..]),
        (PathTo::Authorities, &[SectionKind::Certificate]),
        (PathTo::RevocationLists, &[SectionKind::RevocationList]),
        (PathTo::PrivateKey, &[SectionKind::PrivateKey]),
    ] {
        dir.write("mixed.pem", &mixed);
        stage(&dir, &[("mixed.pem", path_to), ("server.crt", PathTo::Certificate)]);
        let copy = contents(&dir, "mixed.pem");
        assert_eq!(handed_over(&copy), kinds, "{path_to:?}");
        assert_eq!(copy.sections.len(), 5);
        let text = copied(&dir, Copy::Content, "mixed.pem").unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("s3cret"));
        let original = pem::read(mixed.as_bytes());
        let lines = |contents: &Contents| {
            contents.sections.iter().map(|section| section.line).collect::<Vec<_>>()
        };
        assert_eq!(lines(&copy), lines(&original));
    }
    // A certificate and its key in one file, for both settings.
    stage(&dir, &[("mixed.pem", PathTo::Certificate), ("mixed.pem", PathTo::PrivateKey)]);
    assert_eq!(
        handed_over(&contents(&dir, "mixed.pem")),
        [SectionKind::Certificate, SectionKind::PrivateKey]
    );
}

#[test]
fn what_is_no_certificate_key_or_list_stays_where_it_is() {
    let dir = configured();
    dir.write("shadow", "root:$y$secret:1:::\n");
    dir.write("lie.pem", pem::encode("CERTIFICATE", b"secret"));
    dir.write("lie.crl", pem::encode("X509 CRL", b"secret"));
    dir.write("lie.key", pem::encode("PRIVATE KEY", b"secret"));
    for name in ["shadow", "lie.pem", "lie.crl", "lie.key"] {
        for path_to in
            [PathTo::Certificate, PathTo::Authorities, PathTo::RevocationLists, PathTo::PrivateKey]
        {
            stage(&dir, &[(name, path_to), ("server.crt", PathTo::Certificate)]);
            assert_eq!(handed_over(&contents(&dir, name)), [], "{name} {path_to:?}");
            let copy = copied(&dir, Copy::Content, name).unwrap();
            let copy = String::from_utf8(copy).unwrap();
            assert!(!copy.contains("secret") && !copy.contains("c2VjcmV0"), "{copy}");
        }
    }
}

#[test]
fn no_key_of_a_ca_is_handed_over_under_any_name() {
    let dir = configured();
    dir.run("cp", &["ca.key", "renamed.key"]);
    let combined = [dir.read("ca.crt"), dir.read("ca.key")].concat();
    dir.write("combined.pem", combined);
    dir.openssl("ec -in ca.key -no_public -out bare.key");
    for (name, named) in [
        // Its certificate is beside it, in the same file, and in ca_path.
        ("ca.key", &[("ca.key", PathTo::PrivateKey)][..]),
        ("combined.pem", &[("combined.pem", PathTo::PrivateKey)]),
        ("renamed.key", &[("renamed.key", PathTo::PrivateKey), ("ca.crt", PathTo::Authorities)]),
        ("bare.key", &[("bare.key", PathTo::PrivateKey), ("ca.crt", PathTo::Authorities)]),
    ] {
        stage(&dir, named);
        let reason = reason(&dir, name);
        assert!(reason.starts_with("is not copied for the service by root: it holds"), "{reason}");
    }
    // All certificates in one directory, the server's own among them.
    for name in ["ca.crt", "server.crt", "server.key"] {
        dir.write(&format!("all/{name}"), dir.read(name));
    }
    let named = [
        ("all/server.key", PathTo::PrivateKey),
        ("all/server.crt", PathTo::Certificate),
        ("all", PathTo::Authorities),
    ];
    stage(&dir, &named);
    assert_eq!(handed_over(&contents(&dir, "all/server.key")), [SectionKind::PrivateKey]);
}

#[test]
fn the_devices_key_may_have_signed_its_own_certificate_where_root_alone_can_have_named_it() {
    let dir = configured();
    let [own, named] = [("ca.crt", PathTo::Certificate), ("ca.key", PathTo::DeviceKey)];
    stage(&dir, &[own, named]);
    assert_eq!(handed_over(&contents(&dir, "ca.key")), [SectionKind::PrivateKey]);
    // It is neither the key of a service nor the key of an authority that the service trusts.
    for other in [("ca.key", PathTo::PrivateKey), ("ca.crt", PathTo::Authorities)] {
        stage(&dir, &[own, named, other]);
        assert!(reason(&dir, "ca.key").contains("the private key of a CA"));
    }
    dir.run("chmod", &["777", "."]);
    stage(&dir, &[own, named]);
    assert!(reason(&dir, "ca.key").contains("users other than root can change"));
}

#[test]
fn of_a_closed_directory_come_its_names_and_of_its_files_what_they_may_give() {
    let dir = configured();
    dir.write("cas/ca.crt", dir.read("ca.crt"));
    dir.write("cas/ca.key", dir.read("ca.key"));
    dir.write("cas/README", "s3cret\n");
    dir.write("cas/java/ignored", "");
    dir.run("mkfifo", &["cas/pipe"]);
    std::os::unix::fs::symlink("gone", dir.path("cas/dangling")).unwrap();
    dir.run("chmod", &["600", "cas/README"]);
    stage(&dir, &[("cas", PathTo::Authorities)]);
    let listing = copied(&dir, Copy::Listing, "cas").unwrap();
    assert_eq!(listing, b"README\0ca.crt\0dangling\0pipe\0");
    assert_eq!(handed_over(&contents(&dir, "cas/ca.crt")), [SectionKind::Certificate]);
    assert!(copied(&dir, Copy::Content, "cas/ca.key").is_none());
    assert_eq!(contents(&dir, "cas/README"), Contents::default());
    assert_eq!(reason(&dir, "cas/dangling"), "does not exist");
    assert_eq!(reason(&dir, "cas/pipe"), "is not a regular file");
}

#[test]
fn what_the_service_can_read_or_miss_by_itself_is_not_copied() {
    let dir = configured();
    let public = ("/etc/ssl/certs", PathTo::Authorities);
    stage(&dir, &[public, ("/etc/none", PathTo::PrivateKey)]);
    assert_eq!(std::fs::read_dir(dir.path("run")).unwrap().count(), 0);
    let named = BTreeMap::from([(public.0.into(), vec![public.1])]);
    let directory = StagingDirectory::open(&dir.path("run")).unwrap();
    hand_over(&PathWalk::new(Path::new("/"), Path::new("/etc")), &named, directory).unwrap();
    assert_eq!(std::fs::read_dir(dir.path("run")).unwrap().count(), 0);
}
