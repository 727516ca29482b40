//! Limits what root reads for a command that works like a service, if users other than root can
//! write the settings: these users must not make root send a file that they cannot read.
//!
//! Root reads only what the owner of the settings can read, and what root would copy for the
//! service ([`super::hand_over`]).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::original::{self, Unreadable};
use super::walk::{self, PathWalk};
use crate::regular_file::FLAGS;
use crate::walk::{Policy, walk_by};
use crate::x509::pem::{self, SectionKind};

static GUARD: OnceLock<ReadLimit> = OnceLock::new();

struct ReadLimit {
    walk: PathWalk,
    readable: Readable,
}

/// What users other than root can read: all users, and the owner of the settings.
struct Readable {
    owner: Option<u32>,
}

/// If this process is root and other users can write the settings: from now on, it reads for these
/// settings only what their owner can read or what root would copy for a service.
pub(crate) fn guard(config_dir: &Path) {
    if geteuid().is_root() && walk::can_others_write(config_dir) {
        let owner = fs::metadata(config_dir).ok().map(|found| found.uid()).filter(|uid| *uid != 0);
        let walk = PathWalk::new(Path::new("/"), config_dir);
        let _ = GUARD.set(ReadLimit { walk, readable: Readable { owner } });
    }
}

/// Reads a file under the limits of the guard; `None` if there is no guard.
pub(super) fn read(path: &Path) -> Option<Result<Vec<u8>, Unreadable>> {
    GUARD.get().map(|guard| guard.read(path))
}

impl ReadLimit {
    fn read(&self, path: &Path) -> Result<Vec<u8>, Unreadable> {
        if let Ok(file) = self.readable.open(path) {
            return original::read_opened(file);
        }
        let opened = self.walk.open(path)?;
        let bytes = original::read_opened(opened.file)?;
        if opened.is_others && pem::read(&bytes).first(SectionKind::PrivateKey).is_some() {
            return Err(walk::key_among_others(path));
        }
        Ok(bytes)
    }
}

impl Readable {
    fn open(&self, path: &Path) -> Result<OwnedFd, Unreadable> {
        let end = walk_by(self, path)?.ok_or(Unreadable::Missing)?;
        // Checked before it is opened: opening a device can have effects.
        original::check(end.stat.as_ref().ok_or(Unreadable::Missing)?)?;
        let file = openat(&end.parent, &end.name, FLAGS | OFlags::NOFOLLOW, Mode::empty())?;
        self.check(&fstat(&file)?, 0o004)?;
        Ok(file)
    }

    fn check(&self, stat: &Stat, bit: u32) -> Result<(), Errno> {
        let is_owners = self.owner == Some(stat.st_uid);
        if is_owners || stat.st_mode & bit != 0 { Ok(()) } else { Err(Errno::ACCESS) }
    }
}

impl Policy for Readable {
    fn check_link(&self, _path: &Path, _link: &Stat, _is_fixed: bool) -> io::Result<()> {
        Ok(())
    }

    fn check_directory(&self, path: &Path, directory: &Stat) -> io::Result<()> {
        // The content of /proc depends on the reader.
        if path.starts_with("/proc") {
            return Err(Errno::ACCESS.into());
        }
        Ok(self.check(directory, 0o001)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;
    use crate::testing::Dir;

    const OWNER: u32 = 65534;

    /// A configuration directory of another user, beside a directory of root's. `None` if the tests
    /// are not root's.
    fn guarded() -> Option<(Dir, ReadLimit)> {
        if !geteuid().is_root() {
            return None;
        }
        let dir = Dir::new();
        for (name, mode) in [("etc", 0o755), ("private", 0o700)] {
            fs::create_dir(dir.path(name)).unwrap();
            fs::set_permissions(dir.path(name), Permissions::from_mode(mode)).unwrap();
        }
        chown(dir.path("etc"), Some(OWNER), None).unwrap();
        assert!(walk::can_others_write(&dir.path("etc")));
        assert!(!walk::can_others_write(&dir.path("private")));
        let walk = PathWalk::new(Path::new("/"), &dir.path("etc"));
        Some((dir, ReadLimit { walk, readable: Readable { owner: Some(OWNER) } }))
    }

    fn write(dir: &Dir, name: &str, owner: u32, mode: u32) {
        let path = dir.write(name, name);
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        chown(path, Some(owner), None).unwrap();
    }

    #[test]
    fn root_reads_what_the_owner_of_the_settings_can_read_and_what_it_would_hand_over() {
        let Some((dir, guard)) = guarded() else { return };
        write(&dir, "public", 0, 0o644);
        write(&dir, "etc/owners", OWNER, 0o600);
        write(&dir, "etc/roots", 0, 0o600);
        symlink(dir.path("public"), dir.path("etc/link")).unwrap();
        for (name, content) in [
            ("public", "public"),
            ("etc/link", "public"),
            ("etc/owners", "etc/owners"),
            ("etc/roots", "etc/roots"),
        ] {
            assert_eq!(guard.read(&dir.path(name)).unwrap(), content.as_bytes(), "{name}");
        }
    }

    #[test]
    fn root_reads_nothing_else() {
        let Some((dir, guard)) = guarded() else { return };
        write(&dir, "roots", 0, 0o600);
        write(&dir, "private/public", 0, 0o644);
        write(&dir, "private/owners", OWNER, 0o600);
        write(&dir, "etc/others", OWNER - 1, 0o600);
        for target in ["roots", "private/public", "private/owners"] {
            let link = dir.path("etc/link");
            symlink(dir.path(target), &link).unwrap();
            for path in [dir.path(target), link.clone()] {
                assert!(guard.read(&path).is_err(), "{}", path.display());
            }
            fs::remove_file(link).unwrap();
        }
        assert!(guard.read(&dir.path("etc/others")).is_err());
        assert!(guard.read(Path::new("/proc/self/status")).is_err());
        // The owner of the directory may have moved it there.
        let key = crate::x509::key::PrivateKey::generate().unwrap().1;
        let encoded = pem::encode("PRIVATE KEY", &key);
        dir.write("etc/roots", encoded);
        fs::set_permissions(dir.path("etc/roots"), Permissions::from_mode(0o600)).unwrap();
        let refused = guard.read(&dir.path("etc/roots")).unwrap_err().to_string();
        assert!(refused.contains("they may have moved a key of root there"), "{refused}");
    }
}
