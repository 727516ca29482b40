//! How root opens a file that a setting names: by a walk that passes no entry that another user
//! could have created.
//!
//! Root must own each directory of the path, and only root may write to it, except the
//! configuration directory itself. If users other than root can write the settings, the walk starts
//! in the configuration directory, follows no link, and opens only files that root owns.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, lstat, open, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::original::{self, Unreadable};
use crate::regular_file::FLAGS;
use crate::walk::{Policy, is_kept, walk_by};

/// No larger file is read in a configuration directory of another user.
const MAX_SIZE_OF_OTHERS: i64 = 1024 * 1024;

/// How root opens files for a service.
pub(super) struct PathWalk {
    /// Where paths begin: `/`.
    root: PathBuf,
    config_dir: PathBuf,
    /// Whether only root and the caller can have written the settings.
    pub(super) is_roots_alone: bool,
}

/// Where a walk ended.
pub(super) struct Opened {
    /// A file, or a directory.
    pub(super) file: OwnedFd,
    /// The directory in which the file is; a directory itself.
    pub(super) directory: OwnedFd,
    /// Whether users other than root can create files there.
    pub(super) is_others: bool,
}

impl PathWalk {
    pub(super) fn new(root: &Path, config_dir: &Path) -> Self {
        let config_dir = config_dir.canonicalize().unwrap_or_else(|_| config_dir.to_owned());
        let mut above = config_dir.ancestors().take_while(|path| path.starts_with(root));
        let is_roots_alone = are_roots(&config_dir) && above.all(is_roots);
        Self { root: root.to_owned(), config_dir, is_roots_alone }
    }

    /// Opens a file or a directory.
    pub(super) fn open(&self, path: &Path) -> Result<Opened, Unreadable> {
        let end = walk_by(self, path)?.ok_or(Unreadable::Missing)?;
        if end.stat.is_none() {
            return Err(Unreadable::Missing);
        }
        let found = end.name_it()?;
        let stat = fstat(&found)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            // The configuration directory may belong to another user.
            if end.path != self.config_dir {
                self.check_directory(&end.path, &stat)?;
            }
            let file = openat(&found, ".", FLAGS, Mode::empty())?;
            return Ok(Opened { file, directory: found, is_others: false });
        }
        original::check(&stat)?;
        let is_others = !is_ours(&fstat(&end.parent)?);
        let file = openat(&end.parent, &end.name, FLAGS | OFlags::NOFOLLOW, Mode::empty())?;
        self.check_file(&file, &end.path, is_others)?;
        Ok(Opened { file, directory: end.parent, is_others })
    }

    /// A file that other users can have named must belong to root. A file that they can have
    /// created must be small, and have no second name.
    fn check_file(&self, file: &OwnedFd, path: &Path, is_others: bool) -> Result<(), Unreadable> {
        let stat = fstat(file)?;
        if !self.is_roots_alone && !is_roots_own(&stat) {
            return Err(Unreadable::NotHandedOver(format!(
                "is not copied for the service by root: it belongs to {}, and users other than \
                 root can change the settings in {}: type `chown root: {}`",
                original::user(stat.st_uid),
                self.config_dir.display(),
                path.display()
            )));
        }
        if is_others && stat.st_nlink > 1 {
            return Err(refusal(path, "a file with another name elsewhere (a hard link)"));
        }
        if is_others && stat.st_size > MAX_SIZE_OF_OTHERS {
            return Err(refusal(
                path,
                "larger than 1 MiB, in a directory of a user other than root",
            ));
        }
        Ok(())
    }
}

impl Policy for PathWalk {
    /// In the configuration directory, or at the root.
    fn start(&self, path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
        let leaves = path.components().any(|component| component == Component::ParentDir);
        let is_below = path.starts_with(&self.config_dir) && !leaves;
        if !is_below && !self.is_roots_alone {
            return Err(Unreadable::NotHandedOver(format!(
                "is not copied for the service by root: users other than root can change the settings \
                 in {0}, and the file is not below {0}: copy it to {0}/device-local-certs",
                self.config_dir.display()
            ))
            .into());
        }
        let start = if is_below { &self.config_dir } else { &self.root };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok((open(start, flags, Mode::empty())?, start.clone()))
    }

    fn check_link(&self, path: &Path, link: &Stat, _is_fixed: bool) -> io::Result<()> {
        if self.is_roots_alone && is_ours(link) {
            return Ok(());
        }
        let what = "a link that users other than root can change: set the path of the file itself";
        Err(refusal(path, what).into())
    }

    fn check_directory(&self, path: &Path, directory: &Stat) -> io::Result<()> {
        if is_ours(directory) {
            return Ok(());
        }
        let [shown, config_dir] = [path, &self.config_dir].map(Path::display);
        let advice = if path.starts_with(&self.config_dir) {
            format!("type `chown root {shown} && chmod go-w {shown}`")
        } else {
            format!("copy the file to {config_dir}/device-local-certs")
        };
        let what = format!("a directory that users other than root can change: {advice}");
        Err(refusal(path, &what).into())
    }
}

/// Whether users other than root and the caller can write the settings. In /tmp they cannot, if
/// root owns the directory of the settings.
pub(super) fn can_others_write(config_dir: &Path) -> bool {
    let config_dir = config_dir.canonicalize().unwrap_or_else(|_| config_dir.to_owned());
    let is_kept = |path: &Path| lstat(path).is_ok_and(|stat| is_kept(&stat));
    !(are_roots(&config_dir)
        && is_roots(&config_dir)
        && config_dir.ancestors().skip(1).all(is_kept))
}

/// Whether only root and the caller can have written the content of the files of settings.
fn are_roots(config_dir: &Path) -> bool {
    let names = ["tedge.toml", "tedge-http.toml", "mappers", "mappers/c8y"];
    let mut written = names.into_iter().chain(["mappers/c8y/mapper.toml"]);
    written.all(|name| is_roots(&config_dir.join(name)))
}

/// The reason why a private key of root is not read in a directory where other users can create
/// files.
pub(super) fn key_among_others(path: &Path) -> Unreadable {
    let (directory, path) = (path.parent().unwrap_or(path).display(), path.display());
    Unreadable::NotHandedOver(format!(
        "is not copied for the service by root: it holds a private key, and {directory} is a \
         directory that users other than root can change: they may have moved a key of root there. \
         Type `mv {path} {directory}/device-local-certs/` and set the new path"
    ))
}

fn refusal(path: &Path, what: &str) -> Unreadable {
    Unreadable::NotHandedOver(format!(
        "is not copied for the service by root: {} is {what}",
        path.display()
    ))
}

/// Whether it belongs to root, or to the caller.
fn is_roots_own(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == geteuid().as_raw()
}

/// Whether only root and the caller can change it.
fn is_ours(stat: &Stat) -> bool {
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    is_roots_own(stat) && (is_link || stat.st_mode & 0o022 == 0)
}

/// Whether only root and the caller can have written it, or it does not exist.
fn is_roots(path: &Path) -> bool {
    match lstat(path) {
        Ok(stat) => is_ours(&stat) && FileType::from_raw_mode(stat.st_mode) != FileType::Symlink,
        Err(error) => error == Errno::NOENT,
    }
}

/// Whether all users can read it, even a sandboxed service.
pub(super) fn is_open_to_all(path: &Path) -> bool {
    /// The directories that ProtectHome= and PrivateTmp= hide.
    const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
    let Ok(path) = path.canonicalize() else { return false };
    let allows =
        |path: &Path, bits: u32| fs::metadata(path).is_ok_and(|found| found.mode() & bits == bits);
    let bits = if path.is_dir() { 0o005 } else { 0o004 };
    allows(&path, bits)
        && path.ancestors().skip(1).all(|directory| allows(directory, 0o001))
        && !HIDDEN.iter().any(|hidden| path.starts_with(hidden))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::staging::original::read_opened;
    use crate::testing::Dir;

    /// A configuration directory with this mode, in a directory of root's alone.
    fn configured(mode: u32) -> (Dir, PathWalk) {
        let dir = Dir::new();
        directory(&dir, "etc", mode);
        dir.write("outside.key", "outside");
        dir.write("etc/own.key", "own");
        let walk = PathWalk::new(&dir.path(""), &dir.path("etc"));
        (dir, walk)
    }

    fn directory(dir: &Dir, name: &str, mode: u32) {
        fs::create_dir(dir.path(name)).unwrap();
        fs::set_permissions(dir.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// What is read at this path, or why nothing is, with `DIR` for the directory.
    fn read(dir: &Dir, walk: &PathWalk, name: &str) -> Result<String, String> {
        let read = walk.open(&dir.path(name)).and_then(|opened| read_opened(opened.file));
        let base = dir.path("");
        let base = base.to_str().unwrap().trim_end_matches('/');
        read.map(|bytes| String::from_utf8(bytes).unwrap())
            .map_err(|error| error.to_string().replace(base, "DIR"))
    }

    fn is_refused(read: Result<String, String>, what: &str) {
        let message = read.unwrap_err();
        assert!(message.contains("is not copied for the service by root"), "{message}");
        assert!(message.contains(what), "{message}");
    }

    #[test]
    fn follows_the_links_of_root_alone() {
        let (dir, walk) = configured(0o755);
        for (link, target) in [
            ("etc/absolute.key", dir.path("outside.key")),
            ("etc/relative.key", "../outside.key".into()),
            ("etc/chain.key", "relative.key".into()),
            ("etc/up", "..".into()),
        ] {
            symlink(target, dir.path(link)).unwrap();
        }
        for name in [
            "outside.key",
            "etc/absolute.key",
            "etc/relative.key",
            "etc/chain.key",
            "etc/up/outside.key",
        ] {
            assert_eq!(read(&dir, &walk, name).as_deref(), Ok("outside"), "{name}");
        }
        symlink("loop", dir.path("etc/loop")).unwrap();
        assert!(read(&dir, &walk, "etc/loop").unwrap_err().contains("symbolic links"));
        assert_eq!(read(&dir, &walk, "etc/none").unwrap_err(), "does not exist");
        assert!(read(&dir, &walk, "etc/own.key/x").unwrap_err().contains("Not a directory"));
    }

    #[test]
    fn passes_no_link_or_directory_that_others_can_change_and_names_it() {
        let (dir, walk) = configured(0o777);
        symlink(dir.path("outside.key"), dir.path("etc/link.key")).unwrap();
        symlink(dir.path(""), dir.path("etc/out")).unwrap();
        fs::hard_link(dir.path("outside.key"), dir.path("etc/hard.key")).unwrap();
        dir.write("etc/big.pem", vec![b' '; 1024 * 1024 + 1]);
        is_refused(read(&dir, &walk, "etc/link.key"), "DIR/etc/link.key is a link that");
        is_refused(read(&dir, &walk, "etc/out/outside.key"), "DIR/etc/out is a link");
        is_refused(read(&dir, &walk, "etc/hard.key"), "a file with another name");
        is_refused(read(&dir, &walk, "etc/big.pem"), "larger than 1 MiB");
        assert_eq!(read(&dir, &walk, "etc/own.key").as_deref(), Ok("own"));

        // The settings are root's, and a directory below or outside of them is not.
        let (dir, walk) = configured(0o755);
        directory(&dir, "etc/certs", 0o777);
        dir.write("etc/certs/plain.key", "plain");
        symlink("certs/plain.key", dir.path("etc/indirect.key")).unwrap();
        let certs =
            "DIR/etc/certs is a directory that users other than root can change: type `chown";
        is_refused(read(&dir, &walk, "etc/certs/plain.key"), certs);
        is_refused(read(&dir, &walk, "etc/indirect.key"), certs);
        directory(&dir, "home", 0o777);
        dir.write("home/plain.key", "plain");
        let home =
            "DIR/home is a directory that users other than root can change: copy the file to DIR";
        is_refused(read(&dir, &walk, "home/plain.key"), home);
    }

    #[test]
    fn goes_nowhere_for_settings_that_others_can_write() {
        for (open, mode) in [("etc", 0o777), ("etc/tedge.toml", 0o666), ("etc/mappers", 0o777)] {
            let dir = Dir::new();
            directory(&dir, "etc", 0o755);
            directory(&dir, "etc/mappers", 0o755);
            dir.write("etc/tedge.toml", "");
            dir.write("outside.key", "outside");
            dir.write("etc/own.key", "own");
            symlink("own.key", dir.path("etc/link.key")).unwrap();
            fs::set_permissions(dir.path(open), fs::Permissions::from_mode(mode)).unwrap();
            let walk = PathWalk::new(&dir.path(""), &dir.path("etc"));
            for name in ["outside.key", "etc/../outside.key"] {
                is_refused(read(&dir, &walk, name), "the file is not below DIR/etc");
            }
            is_refused(read(&dir, &walk, "etc/link.key"), "DIR/etc/link.key is a link that");
            assert_eq!(read(&dir, &walk, "etc/own.key").as_deref(), Ok("own"), "{open}");
        }
    }

    #[test]
    fn waits_for_no_fifo_and_reads_no_device() {
        let (dir, walk) = configured(0o755);
        dir.run("mkfifo", &["etc/pipe"]);
        assert_eq!(read(&dir, &walk, "etc/pipe").unwrap_err(), "is not a regular file");
        let zero = PathWalk::new(Path::new("/"), &dir.path("etc")).open(Path::new("/dev/zero"));
        assert!(zero.and_then(|opened| read_opened(opened.file)).is_err());
    }
}
