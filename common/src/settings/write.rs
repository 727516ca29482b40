//! Changes a setting in its file and keeps everything else there: comments, blank lines, order,
//! other keys, mode, owner, symbolic link. The file is replaced completely or not at all, even if
//! the power is cut. Does not know what a value means: the caller has checked it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Gid, Mode, OFlags, Stat, Uid};
use rustix::fs::{fchmod, fchown, flock, fstat, fsync, ftruncate, openat, renameat, statat};
use rustix::io::Errno;

use super::directory::{self, Directory, DirectoryEntry};
use super::files::SettingsFile;
use super::layers::{Values, unreadable};
use super::profile::Profile;
use super::setting::{Setting, Shape};
use super::spelling::OLD_SPELLINGS;
use super::table::find;
use super::toml_patch;
use super::toml_read::{self, FileValue, Written};
use super::value::{Layer, RawValue};
use crate::error::Error;
use crate::walk::{Follow, is_same_file};

/// The mode of a new file.
const NEW_FILE_MODE: u32 = 0o644;
/// The group that may read secrets.
const GROUP: &str = "tedge";

/// Gives a setting of a profile the value that `new` returns for its present one; `None` unsets it.
///
/// Two changes at the same time wait for each other. Old spellings of the setting, and its values
/// in other files, are removed. Returns the values of the files just before and after the change.
///
/// # Errors
///
/// A file cannot be read or written, or a link to it can be changed by other users.
pub fn change(
    config_dir: &Path,
    profile: Option<&Profile>,
    setting: &Setting,
    new: impl FnOnce(Option<&str>) -> Option<String>,
) -> Result<[Values; 2], Error> {
    let directory = Directory::open(config_dir).map_err(|error| unwritable(config_dir, &error))?;
    let has_mapper = SettingsFile::mapper(&directory, Follow::Ours)
        .map_err(|error| unreadable(&config_dir.join("mappers"), &error))?
        .0
        .is_some();
    let stored_in = SettingsFile::of(setting, has_mapper);
    let locked = directory.descriptor().and_then(Lock::acquire);
    let _lock = locked.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            Error::Failed(format!("cannot lock {}: {error}", config_dir.display()))
        }
        _ => unwritable(&config_dir.join(&*stored_in.path(profile)), &error),
    })?;
    let read = || Values::read_in(&directory, vec![Profile::environment(profile)], &[]);
    let before = read()?;
    let new = new(before.written(setting));
    // Written before it is removed elsewhere, so that it is always in one file.
    let others = SettingsFile::ALL
        .into_iter()
        .filter(|&file| file != stored_in && file.is_read_for(setting.key, has_mapper));
    for file in std::iter::once(stored_in).chain(others) {
        let new = new.as_deref().filter(|_| file == stored_in);
        change_file(&directory, file, profile, setting, new)?;
    }
    Ok([before, read()?])
}

fn change_file(
    directory: &Directory,
    file: SettingsFile,
    profile: Option<&Profile>,
    setting: &Setting,
    new: Option<&str>,
) -> Result<(), Error> {
    let below = file.path(profile);
    let path = directory.path.join(&*below);
    let unwritable = |error| unwritable(&path, &error);
    if let Some(parent) = Path::new(&*below).parent().filter(|_| new.is_some()) {
        directory.make(parent).map_err(unwritable)?;
    }
    let entry = directory.find(&below, Follow::Ours);
    let entry = entry.map_err(|error| unreadable(&path, &error))?;
    let Some(entry) = entry.filter(|entry| new.is_some() || entry.found.is_some()) else {
        return Ok(());
    };
    let old_text = match &entry {
        DirectoryEntry { found: Some((_, content)), .. } => {
            toml_read::text(&path, content.clone())?
        }
        DirectoryEntry { is_linked: true, .. } => {
            let dangling = "it is a link to a file that does not exist";
            return Err(unwritable(io::Error::other(dangling)));
        }
        _ => String::new(),
    };
    let mut text = old_text.clone();
    for (old, _) in OLD_SPELLINGS.iter().filter(|(_, new)| *new == setting.key) {
        text = toml_patch::without(&path, &text, &file.written(profile, old))?;
    }
    let key = file.written(profile, setting.key);
    text = match new {
        Some(new) => toml_patch::with(&path, &text, &key, &as_written(new, setting.kind.shape))?,
        None => toml_patch::without(&path, &text, &key)?,
    };
    if text == old_text {
        return Ok(());
    }
    let entries = toml_read::entries(&path, &text, file.prefix(), |key| find(key).is_some())?;
    let has_secret = entries.into_iter().any(|FileValue { key, value, .. }| {
        find(&key).is_some_and(|setting| {
            let value = RawValue::new(&key, value, Layer::Default, setting.kind.shape);
            value.shown(setting) != value.text
        })
    });
    replace(&entry, &text, has_secret).map_err(unwritable)
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::Failed(format!("cannot write {}: {error}", path.display()))
}

/// A value as a file stores it.
fn as_written(text: &str, shape: Shape) -> Written {
    let known = match shape {
        Shape::Integer | Shape::Quantity => text.parse().ok().map(Written::Integer),
        Shape::Boolean => text.parse().ok().map(Written::Boolean),
        Shape::Text | Shape::Path(_) | Shape::List => None,
    };
    known.unwrap_or_else(|| Written::Text(text.to_owned()))
}

/// The lock of a directory, a file that is removed with this value. Only its owner can open it, so
/// that no other user who may read the directory can hold it.
struct Lock<'a> {
    directory: &'a OwnedFd,
    _file: OwnedFd,
}

impl<'a> Lock<'a> {
    const NAME: &'static str = ".tedge.lock";

    fn acquire(directory: &'a OwnedFd) -> io::Result<Self> {
        /// Fifty writers on a slow card need less.
        const TIMEOUT: Duration = Duration::from_secs(10);
        const INTERVAL: Duration = Duration::from_millis(20);
        let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let number = || statat(directory, Self::NAME, AtFlags::SYMLINK_NOFOLLOW).map(|s| s.st_ino);
        let start = Instant::now();
        loop {
            match openat(directory, Self::NAME, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    // Otherwise the previous holder has removed this file meanwhile.
                    Ok(()) if number() == Ok(fstat(&file)?.st_ino) => {
                        return Ok(Self { directory, _file: file });
                    }
                    Ok(()) => continue,
                    Err(Errno::WOULDBLOCK) => {}
                    Err(error) => return Err(error.into()),
                },
                // The lock file of another user who may write here.
                Err(Errno::ACCESS) if number().is_ok() => {}
                Err(error) => return Err(error.into()),
            }
            if start.elapsed() >= TIMEOUT {
                let holder = number().ok().and_then(holder);
                let holder = holder.unwrap_or_else(|| "another process".to_owned());
                let message = format!(
                    "{holder} has locked {} in this directory for {} seconds: try again later, or end that process",
                    Self::NAME,
                    TIMEOUT.as_secs()
                );
                return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
            }
            thread::sleep(INTERVAL);
        }
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // If the file stays, it can be locked again.
        let _ = directory::remove(self.directory, Self::NAME.as_ref());
    }
}

/// The process that holds a lock on the file with this inode number: /proc/locks, proc(5).
fn holder(inode: u64) -> Option<String> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let end = format!(":{inode}");
    let mut held = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = held.find(|fields| {
        fields.get(1) == Some(&"FLOCK") && fields.get(5).is_some_and(|file| file.ends_with(&end))
    })?;
    let pid = line.get(4)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("process {pid} ({})", name.trim_end()))
}

/// Writes a temporary file beside the old one, gives it the mode and owner of the old one, and
/// renames it. The caller holds the lock.
fn replace(entry: &DirectoryEntry, text: &str, is_secret: bool) -> io::Result<()> {
    // The descriptor of a walk cannot be synced.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = openat(&entry.parent, ".", flags, Mode::empty())?;
    let temporary = OsString::from_iter([".".as_ref(), &*entry.name, ".new".as_ref()]);
    // Left by a power cut; the lock excludes other writers.
    directory::remove(&parent, &temporary)?;
    let old = entry.found.as_ref().map(|(stat, _)| stat);
    directory::create(&parent, &temporary, text, |file| {
        if let Some(old) = old {
            let new = fstat(file)?;
            if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid) {
                let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
                fchown(file, Some(uid), Some(gid))?;
            }
        }
        set_mode(file, old.map_or(NEW_FILE_MODE, |old| old.st_mode & 0o777), is_secret)
    })?;
    match (renameat(&parent, &temporary, &parent, &entry.name), old) {
        // A mount point, as in containers.
        (Err(Errno::BUSY | Errno::XDEV), Some(old)) => {
            write_in_place(&parent, entry, text, old, is_secret).map_err(|error| {
                let kept = temporary.to_string_lossy();
                io::Error::other(format!(
                    "{error}; the new text is in {kept} in the same directory"
                ))
            })?;
            directory::remove(&parent, &temporary)?;
        }
        (renamed, _) => renamed.inspect_err(|_| {
            // The first error is the one to report.
            let _ = directory::remove(&parent, &temporary);
        })?,
    }
    Ok(fsync(&parent)?)
}

/// Writes over a file that is a mount point and so cannot be replaced. The temporary file keeps the
/// whole text meanwhile.
fn write_in_place(
    parent: &OwnedFd,
    entry: &DirectoryEntry,
    text: &str,
    old: &Stat,
    is_secret: bool,
) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(openat(parent, &entry.name, flags, Mode::empty())?);
    let found = fstat(&file)?;
    if !is_same_file(&found, old) {
        return Err(io::Error::other("it was replaced meanwhile"));
    }
    set_mode(&file, found.st_mode & 0o777, is_secret)?;
    file.write_all(text.as_bytes())?;
    ftruncate(&file, text.len() as u64)?;
    file.sync_all()
}

/// A file with a secret is readable for its owner and, if possible, for the services.
fn set_mode(file: &File, mode: u32, is_secret: bool) -> io::Result<()> {
    let mode = match is_secret {
        false => mode,
        true if mode & 0o077 == 0 => mode,
        true => match group().map(|group| fchown(file, None, Some(group))) {
            Some(Ok(())) => mode & 0o640,
            _ => mode & 0o600,
        },
    };
    Ok(fchmod(file, Mode::from_raw_mode(mode))?)
}

fn group() -> Option<Gid> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    let line = groups.lines().find_map(|line| line.strip_prefix(GROUP)?.strip_prefix(':'))?;
    Some(Gid::from_raw(line.split(':').nth(1)?.parse().ok()?))
}
