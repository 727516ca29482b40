//! The directory of copies. It belongs to the service, which must not influence where root writes:
//! all operations are relative to the open directory, names have no slashes, and no link is
//! followed.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Gid, Mode, OFlags, Uid};
use rustix::fs::{fchown, fstat, open, openat, renameat, unlinkat};

use super::find::Copy;
use crate::error::Error;

pub(super) struct StagingDirectory {
    directory: OwnedFd,
    owner: (Uid, Gid),
    kept: HashSet<String>,
}

impl StagingDirectory {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = open(path, flags, Mode::empty()).and_then(|directory| {
            let owner = fstat(&directory)?;
            let owner = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
            Ok(Self { directory, owner, kept: HashSet::new() })
        });
        opened.map_err(|error| Error::Failed(format!("cannot open {}: {error}", path.display())))
    }

    /// Puts a copy for the path `original` there, whole or not at all.
    pub(super) fn put(&mut self, copy: Copy, original: &Path, content: &[u8]) -> Result<(), Error> {
        const NEW: &str = "new";
        let name = copy.name(original);
        let _ = unlinkat(&self.directory, NEW, AtFlags::empty());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY;
        let written = openat(&self.directory, NEW, flags | OFlags::CLOEXEC, Mode::RUSR)
            .map_err(std::io::Error::from)
            .and_then(|file| {
                let mut file = File::from(file);
                file.write_all(content)?;
                fchown(&file, Some(self.owner.0), Some(self.owner.1))?;
                Ok(renameat(&self.directory, NEW, &self.directory, name.as_str())?)
            });
        written.map_err(|error| {
            let original = original.display();
            Error::Failed(format!("{original} cannot be handed to the service: {error}"))
        })?;
        self.kept.insert(name);
        Ok(())
    }

    /// Takes away what was not put there this time: old copies, and the request for new ones.
    pub(super) fn clear(self) -> Result<(), Error> {
        let failed =
            |error| Error::Failed(format!("cannot clear the directory of copies: {error}"));
        for entry in Dir::read_from(&self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." && !self.kept.contains(name.as_ref()) {
                // What cannot be unlinked is a directory, and none of ours.
                let _ = unlinkat(&self.directory, entry.file_name(), AtFlags::empty());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;
    use crate::testing::Dir;

    #[test]
    fn a_link_in_the_directory_leads_no_copy_elsewhere() {
        let dir = Dir::new();
        let victim = dir.write("victim", "untouched");
        let directory = dir.path("run");
        fs::create_dir(&directory).unwrap();
        let original = Path::new("/etc/tedge/key.pem");
        symlink(&victim, directory.join("new")).unwrap();
        symlink(&victim, directory.join(Copy::Content.name(original))).unwrap();

        let mut staged = StagingDirectory::open(&directory).unwrap();
        staged.put(Copy::Content, original, b"key").unwrap();
        staged.clear().unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        let copy = directory.join(Copy::Content.name(original));
        assert!(fs::symlink_metadata(&copy).unwrap().is_file());
        assert_eq!(fs::read_to_string(&copy).unwrap(), "key");
        assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o777, 0o400);
    }

    #[test]
    fn what_is_no_longer_wanted_goes() {
        let dir = Dir::new();
        let directory = dir.path("run");
        fs::create_dir(&directory).unwrap();
        dir.write("run/renew", "");
        dir.write("run/old", "");
        StagingDirectory::open(&directory).unwrap().clear().unwrap();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_refused() {
        let dir = Dir::new();
        symlink(dir.path(""), dir.path("run")).unwrap();
        assert!(StagingDirectory::open(&dir.path("run")).is_err());
    }
}
