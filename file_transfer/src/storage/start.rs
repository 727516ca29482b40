//! Before the first request: creates the directory, and removes what unfinished uploads have left.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::error::Error;
use common::storage::{self, temporary};
use rustix::fs::{Access, AtFlags, FlockOperation, Mode, OFlags, accessat, flock};
use rustix::io::Errno;

/// Opens the directory, and creates it if it is missing. With `sync`, its name is on the disk
/// afterwards.
pub(super) fn open(directory: &Path, sync: bool) -> Result<Arc<OwnedFd>, Error> {
    let shown = directory.display();
    let missing = directory.ancestors().take_while(|ancestor| !ancestor.exists()).count();
    match DirBuilder::new().recursive(true).mode(0o750).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            let message = format!(
                "cannot make the directory {shown}: {error}; create it for the user of this service, or set data.path"
            );
            return Err(Error::Failed(message));
        }
    }
    let root = open_directory(directory).map_err(|error| {
        let message = format!(
            "cannot open the directory {shown}: {error}; make it a directory that the user \
             of this service can read, or set data.path"
        );
        Error::Failed(message)
    })?;

    if sync {
        // Even if it existed: the process that created it may have been killed before it synced.
        sync_names(directory, missing.max(1));
    }

    match accessat(&root, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
        Err(Errno::ACCESS) => {
            let message = format!(
                "cannot write in the directory {shown}: make the user of this service its \
                 owner (chown), or set data.path"
            );
            return Err(Error::Failed(message));
        }
        Err(Errno::ROFS) => {
            log::warn!("{shown} is on a read-only file system: uploads will fail");
            return Ok(Arc::new(root));
        }
        // If the check itself fails, the first upload will show the error.
        Ok(()) | Err(_) => {}
    }
    match flock(&root, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => remove_leftovers(directory, &root),
        Err(errno) => log::warn!(
            "cannot lock {shown} ({errno}): another service may be using it, so unfinished \
             uploads in it are not removed"
        ),
    }
    Ok(Arc::new(root))
}

/// Syncs the names of a directory and of its parents, `count` in all.
fn sync_names(directory: &Path, count: usize) {
    for above in directory.ancestors().skip(1).take(count) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        let synced = open_directory(above)
            .and_then(|opened| storage::sync_names(opened.as_fd()).map_err(io::Error::from));
        if let Err(error) = synced {
            log::warn!("cannot sync {}, a power cut may lose it: {error}", above.display());
        }
    }
}

/// Fails for a path that leads to something else: opening a pipe would block.
fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Removes temporary files, also from file systems that are mounted below. Lists only the reserved
/// directories.
fn remove_leftovers(directory: &Path, root: &OwnedFd) {
    let warn = |place: &Path, error: io::Error| {
        let shown = place.display();
        log::warn!("cannot remove unfinished uploads from {shown}: {error}");
    };
    if let Err(errno) = temporary::remove_all(root.as_fd()) {
        warn(directory, errno.into());
    }
    for mount in mounts_below(directory) {
        let swept = open_directory(&mount)
            .and_then(|mounted| temporary::remove_all(mounted.as_fd()).map_err(io::Error::from));
        if let Err(error) = swept {
            warn(&mount, error);
        }
    }
}

fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let (Ok(directory), Ok(table)) =
        (directory.canonicalize(), std::fs::read_to_string("/proc/self/mountinfo"))
    else {
        return Vec::new();
    };
    mount_points(&table)
        .filter(|mount| mount.starts_with(&directory) && *mount != directory)
        .collect()
}

/// See proc_pid_mountinfo(5).
fn mount_points(table: &str) -> impl Iterator<Item = PathBuf> {
    table.lines().filter_map(|line| Some(unescape(line.split(' ').nth(4)?).into()))
}

/// Blanks and backslashes are written as three octal digits.
fn unescape(field: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(field.to_owned(), |text, (escape, blank)| text.replace(escape, blank))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_file_systems_are_mounted() {
        let table = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     40 22 8:2 / /data/sd\\040card rw,noatime shared:1 - vfat /dev/mmc rw\n";
        let mounts: Vec<_> = mount_points(table).collect();
        assert_eq!(mounts, [Path::new("/"), Path::new("/data/sd card")]);
    }
}
