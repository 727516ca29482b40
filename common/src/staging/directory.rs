//! The directory of copies. It belongs to the user of the service. That user must not influence
//! where root writes, and must not prevent root from writing: all operations are relative to the
//! open directory, names have no slashes, no link is followed, and obstacles are moved away.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{AtFlags, Dir, Gid, Mode, OFlags, Uid};
use rustix::fs::{fchown, fstat, open, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::find::{Copy, RENEW};
use crate::error::Error;

pub(super) struct StagingDirectory {
    directory: OwnedFd,
    owner: (Uid, Gid),
    /// Sorted.
    kept: Vec<String>,
}

impl StagingDirectory {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = open(path, flags, Mode::empty()).and_then(|directory| {
            let owner = fstat(&directory)?;
            let owner = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
            Ok(Self { directory, owner, kept: Vec::new() })
        });
        opened.map_err(|error| Error::Failed(format!("cannot open {}: {error}", path.display())))
    }

    /// Stores a copy for the path `original`, completely or not at all.
    pub(super) fn put(&mut self, copy: Copy, original: &Path, content: &[u8]) -> Result<(), Error> {
        let name = copy.name(original);
        let write = || {
            let new = random_name()?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY;
            let file = openat(&self.directory, &new, flags | OFlags::CLOEXEC, Mode::RUSR)?;
            let mut file = File::from(file);
            file.write_all(content)?;
            fchown(&file, Some(self.owner.0), Some(self.owner.1))?;
            self.remove(&name)?;
            Ok(renameat(&self.directory, &new, &self.directory, name.as_str())?)
        };
        write().map_err(|error: io::Error| {
            let original = original.display();
            Error::Failed(format!("{original} cannot be copied for the service: {error}"))
        })?;
        if let Err(place) = self.kept.binary_search(&name) {
            self.kept.insert(place, name);
        }
        Ok(())
    }

    /// Removes entries that were not stored this time: old copies, and the request for new ones.
    pub(super) fn clear(self) -> Result<(), Error> {
        let failed =
            |error| Error::Failed(format!("cannot clear the directory of copies: {error}"));
        for entry in Dir::read_from(&self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy();
            let is_kept = self.kept.binary_search_by(|kept| (**kept).cmp(&name)).is_ok();
            if name != "." && name != ".." && !is_kept {
                // A directory is not ours, and stays.
                let _ = unlinkat(&self.directory, entry.file_name(), AtFlags::empty());
            }
        }
        // While it exists, the unit would be reloaded repeatedly.
        self.remove(RENEW).map_err(failed)
    }

    /// Removes the entry of this name. A directory, which may be full, is moved to another name.
    fn remove(&self, name: &str) -> Result<(), Errno> {
        match unlinkat(&self.directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => renameat(&self.directory, name, &self.directory, random_name()?),
            Err(Errno::NOENT) => Ok(()),
            removed => removed,
        }
    }
}

/// A name that no other process can have used.
fn random_name() -> Result<String, Errno> {
    let mut number = [0; 16];
    SystemRandom::new().fill(&mut number).map_err(|_| Errno::IO)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(number)))
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
        symlink(&victim, directory.join("renew")).unwrap();
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
    fn a_directory_under_a_name_of_root_s_is_moved_out_of_the_way() {
        let dir = Dir::new();
        let original = Path::new("/etc/tedge/key.pem");
        let copy = format!("run/{}", Copy::Content.name(original));
        for obstacle in [copy.as_str(), "run/new", "run/renew"] {
            dir.write(&format!("{obstacle}/full/file"), "");
            let mut staged = StagingDirectory::open(&dir.path("run")).unwrap();
            staged.put(Copy::Content, original, b"key").unwrap();
            staged.clear().unwrap();
            assert_eq!(dir.read(&copy), b"key", "{obstacle}");
            assert!(!dir.path("run/renew").exists());
        }
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_refused() {
        let dir = Dir::new();
        symlink(dir.path(""), dir.path("run")).unwrap();
        assert!(StagingDirectory::open(&dir.path("run")).is_err());
    }
}
