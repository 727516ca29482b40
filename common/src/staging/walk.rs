//! What root reads for a service, and what it refuses to: see [`stage`](super).

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use crate::tls::source::{self, SectionKind};
use crate::x509::{RevocationList, certificate::Certificate, issue};

/// No certificate, key, list or password is larger.
const MAX_SIZE: u64 = 4 * 1024 * 1024;

/// Where root will go for a service.
pub(super) struct PathWalk {
    config_dir: PathBuf,
    is_roots_alone: bool,
}

impl PathWalk {
    pub(super) fn new(config_dir: &Path) -> Self {
        let config_dir = config_dir.canonicalize().unwrap_or_else(|_| config_dir.to_owned());
        let names = ["", "tedge.toml", "tedge-http.toml", "mappers", "mappers/c8y"];
        let written = names.into_iter().chain(["mappers/c8y/mapper.toml"]);
        let is_roots_alone = written.map(|name| config_dir.join(name)).all(|path| is_roots(&path));
        Self { config_dir, is_roots_alone }
    }

    /// The certificates, keys and lists in this file, and nothing else that is in it.
    pub(super) fn pem(&self, path: &Path) -> Result<String, String> {
        let file = if self.is_roots_alone { open(path)? } else { self.open_below(path)? };
        let sections = source::sections(BufReader::new(file.take(MAX_SIZE)))?;
        let text: String = sections.iter().filter_map(|(kind, der)| section(*kind, der)).collect();
        if text.is_empty() {
            return Err("holds no certificate, key or list in PEM, and only those are handed to \
                        the service"
                .to_owned());
        }
        Ok(text)
    }

    /// This file as it is.
    pub(super) fn secret(&self, path: &Path) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        let file = self.open_below(path)?;
        file.take(MAX_SIZE)
            .read_to_end(&mut content)
            .map_err(|e| format!("cannot be read: {e}"))?;
        Ok(content)
    }

    fn open_below(&self, path: &Path) -> Result<File, String> {
        let refusal = || {
            format!(
                "is not handed to the service by root: for that it has to be a regular file below \
                 {}, without links",
                self.config_dir.display()
            )
        };
        // A link to the directory itself was there before anybody wrote into it.
        let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
        let canonical = parent.zip(path.file_name()).map(|(parent, name)| parent.join(name));
        let canonical = canonical.ok_or_else(refusal)?;
        let below = canonical.strip_prefix(&self.config_dir).map_err(|_| refusal())?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let directory = openat(CWD, &self.config_dir, OFlags::DIRECTORY | flags, Mode::empty())
            .map_err(|error| format!("cannot be read: {error}"))?;
        let rules = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = openat2(directory, below, flags, Mode::empty(), rules).map_err(|_| refusal())?;
        let file = regular(File::from(file))?;
        // Another name of the file may be anywhere.
        let links = file.metadata().map_or(0, |file| file.nlink());
        if links == 1 { Ok(file) } else { Err(refusal()) }
    }
}

/// Whether everybody can read it, and a sandboxed service too.
pub(super) fn is_open_to_all(path: &Path) -> bool {
    /// What ProtectHome= and PrivateTmp= hide.
    const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
    let Ok(path) = path.canonicalize() else { return false };
    let allows =
        |path: &Path, bits: u32| fs::metadata(path).is_ok_and(|found| found.mode() & bits == bits);
    let bits = if path.is_dir() { 0o005 } else { 0o004 };
    allows(&path, bits)
        && path.ancestors().skip(1).all(|directory| allows(directory, 0o001))
        && !HIDDEN.iter().any(|hidden| path.starts_with(hidden))
}

pub(super) fn exists(path: &Path) -> bool {
    fs::metadata(path).is_ok()
}

/// Whether nobody but root can have written it, or it is not there.
fn is_roots(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(found) => found.uid() == 0 && found.mode() & 0o022 == 0,
        Err(_) => true,
    }
}

fn open(path: &Path) -> Result<File, String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = openat(CWD, path, flags, Mode::empty());
    regular(file.map_err(|error| format!("cannot be read: {error}"))?.into())
}

fn regular(file: File) -> Result<File, String> {
    let metadata = file.metadata().map_err(|error| format!("cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if metadata.len() > MAX_SIZE {
        return Err("is too large to be handed to the service".to_owned());
    }
    Ok(file)
}

/// The section, encoded anew, if it is what it says.
fn section(kind: SectionKind, der: &[u8]) -> Option<String> {
    let key = |label| {
        let key = rustls_pki_types::pem::PemObject::from_pem(kind, der.to_vec())?;
        crate::crypto::provider().key_provider.load_private_key(key).ok().map(|_| label)
    };
    let label = match kind {
        SectionKind::Certificate => Certificate::parse(der).ok().map(|_| "CERTIFICATE"),
        SectionKind::Crl => RevocationList::parse(der).ok().map(|_| "X509 CRL"),
        SectionKind::PrivateKey => key("PRIVATE KEY"),
        SectionKind::RsaPrivateKey => key("RSA PRIVATE KEY"),
        SectionKind::EcPrivateKey => key("EC PRIVATE KEY"),
        _ => None,
    };
    label.map(|label| issue::pem(label, der))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::testing::{Dir, EC_KEY};

    /// A configuration directory that root alone writes, or everybody; beside it a key.
    fn configured(mode: u32) -> (Dir, PathWalk) {
        let dir = Dir::new();
        dir.ca("ca");
        dir.issue("ca", "server", EC_KEY, "100");
        fs::create_dir(dir.path("etc")).unwrap();
        fs::set_permissions(dir.path("etc"), fs::Permissions::from_mode(mode)).unwrap();
        let mut walk = PathWalk::new(&dir.path("etc"));
        // Tests may run as somebody else than root.
        walk.is_roots_alone = mode & 0o022 == 0;
        (dir, walk)
    }

    #[test]
    fn copies_what_is_pem_and_nothing_beside_it() {
        let (dir, walk) = configured(0o755);
        let key = String::from_utf8_lossy(&fs_read(&dir.path("server.key"))).into_owned();
        dir.write("mixed.pem", format!("root:$y$secret:1:::\n{key}\nmore secrets\n"));
        let copied = walk.pem(&dir.path("mixed.pem")).unwrap();
        assert!(copied.contains("PRIVATE KEY-----"), "{copied}");
        assert!(!copied.contains("secret"), "{copied}");
    }

    #[test]
    fn copies_no_file_that_is_something_else() {
        let (dir, walk) = configured(0o755);
        dir.write("shadow", "root:$y$secret:1:::\n");
        dir.write("lie.pem", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
        for name in ["shadow", "lie.pem"] {
            assert!(walk.pem(&dir.path(name)).unwrap_err().contains("holds no certificate"));
        }
        assert!(walk.pem(Path::new("/dev/zero")).unwrap_err().contains("not a regular file"));
    }

    #[test]
    fn goes_nowhere_for_settings_that_others_can_write() {
        let (dir, walk) = configured(0o777);
        assert!(walk.pem(&dir.path("server.key")).is_err(), "outside");
        symlink(dir.path("server.key"), dir.path("etc/link.key")).unwrap();
        assert!(walk.pem(&dir.path("etc/link.key")).is_err(), "by a link");
        symlink(dir.path(""), dir.path("etc/out")).unwrap();
        assert!(walk.pem(&dir.path("etc/out/server.key")).is_err(), "through a link");
        fs::hard_link(dir.path("server.key"), dir.path("etc/hard.key")).unwrap();
        assert!(walk.pem(&dir.path("etc/hard.key")).is_err(), "by another name");
        dir.write("etc/own.key", fs_read(&dir.path("server.key")));
        assert!(walk.pem(&dir.path("etc/own.key")).is_ok());
    }

    #[test]
    fn passwords_come_from_the_configuration_alone() {
        let (dir, walk) = configured(0o755);
        dir.write("shadow", "secret");
        symlink(dir.path("shadow"), dir.path("etc/password")).unwrap();
        for path in ["shadow", "etc/password", "etc/../shadow"] {
            let refused = walk.secret(&dir.path(path)).unwrap_err();
            assert!(refused.contains("regular file below"), "{refused}");
        }
        dir.write("etc/credentials.toml", "mine");
        assert_eq!(walk.secret(&dir.path("etc/credentials.toml")).unwrap(), b"mine");
    }

    #[expect(clippy::disallowed_methods, reason = "a test blocks nobody")]
    fn fs_read(path: &Path) -> Vec<u8> {
        fs::read(path).unwrap()
    }
}
