//! Replaces the text of a file completely or not at all, even if the power is cut. Knows no TOML.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Stat, Uid};
use rustix::fs::{fchmod, fchown, fstat, fsync, ftruncate, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::directory::Place;

/// The mode of a file that was not there before.
const NEW_FILE_MODE: u32 = 0o644;
/// The group that may read secrets.
const GROUP: &str = "tedge";

/// Writes a temporary file beside the old one, gives it that one's mode and owner, and renames it.
/// A file with a secret is for its owner and for the group of the services. The caller keeps other
/// writers out.
pub(super) fn replace(place: &Place, text: &str, is_secret: bool) -> io::Result<()> {
    // The descriptor of a walk cannot be synced.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = openat(&place.parent, ".", flags, Mode::empty())?;
    let mut temporary = OsString::from(".");
    temporary.push(&place.name);
    temporary.push(".new");
    // One that was left by a power cut: nobody else writes now.
    match unlinkat(&parent, &temporary, AtFlags::empty()) {
        Err(error) if error != Errno::NOENT => return Err(error.into()),
        _ => {}
    }
    let old = place.found.as_ref().map(|(stat, _)| stat);
    let written = write(&parent, &temporary, text, old, is_secret)
        .and_then(|()| Ok(renameat(&parent, &temporary, &parent, &place.name)?));
    let written = match (written, old) {
        (Err(error), Some(old)) if is_mount_point(&error) => {
            write_in_place(&parent, place, text, old, is_secret).map_err(|error| {
                let kept = temporary.to_string_lossy();
                io::Error::other(format!("{error}; the new text is in {kept} beside it"))
            })?;
            Ok(())
        }
        (written, _) => written,
    };
    if written.is_err() || old.is_some() {
        // The first error is the one to tell; the file may not even exist.
        let _ = unlinkat(&parent, &temporary, AtFlags::empty());
    }
    written?;
    Ok(fsync(&parent)?)
}

/// Whether a file could not be renamed over because it is mounted there, as containers have it.
fn is_mount_point(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::BUSY | Errno::XDEV))
}

fn write(
    parent: &OwnedFd,
    name: &OsString,
    text: &str,
    old: Option<&Stat>,
    is_secret: bool,
) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY;
    let file = openat(parent, name, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
    let mut file = File::from(file);
    file.write_all(text.as_bytes())?;
    if let Some(old) = old {
        let new = fstat(&file)?;
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid) {
            let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
            fchown(&file, Some(uid), Some(gid))?;
        }
    }
    let mode = old.map_or(NEW_FILE_MODE, |old| old.st_mode & 0o777);
    set_mode(&file, mode, is_secret)?;
    file.sync_all()
}

/// What is mounted cannot be replaced. The text is written over the old one, while the temporary
/// file keeps all of it.
fn write_in_place(
    parent: &OwnedFd,
    place: &Place,
    text: &str,
    old: &Stat,
    is_secret: bool,
) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(openat(parent, &place.name, flags, Mode::empty())?);
    let found = fstat(&file)?;
    if (found.st_dev, found.st_ino) != (old.st_dev, old.st_ino) {
        return Err(io::Error::other("it was replaced meanwhile"));
    }
    set_mode(&file, found.st_mode & 0o777, is_secret)?;
    file.write_all(text.as_bytes())?;
    ftruncate(&file, text.len() as u64)?;
    file.sync_all()
}

/// What holds a secret is readable for its owner and, if that is possible, for the services.
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
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let line = groups.lines().find_map(|line| line.strip_prefix(GROUP)?.strip_prefix(':'))?;
    Some(Gid::from_raw(line.split(':').nth(1)?.parse().ok()?))
}
