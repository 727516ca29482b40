//! Replaces a file by another text, as a whole or not at all, power cut or not. Knows no TOML.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// The mode of a file that was not there before.
const NEW_FILE_MODE: u32 = 0o644;

/// Writes a temporary file beside the file that the path leads to, through symbolic links, gives
/// it that one's mode and owner, and renames it. The caller keeps other writers out.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = follow(path)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or_else(|| Path::new("."));
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(".new");
    let temporary = directory.join(temporary_name);

    // One that was left by a power cut: nobody else writes now.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write(&temporary, &path, text).and_then(|()| fs::rename(&temporary, &path));
    if let Err(error) = written {
        // The first error is the one to tell; the file may not even exist.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(directory)?.sync_all()
}

fn write(temporary: &Path, original: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(text.as_bytes())?;
    let mode = match fs::metadata(original) {
        Ok(original) => {
            let ours = file.metadata()?;
            if (ours.uid(), ours.gid()) != (original.uid(), original.gid()) {
                fchown(&file, Some(original.uid()), Some(original.gid()))?;
            }
            original.mode() & 0o7777
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => NEW_FILE_MODE,
        Err(error) => return Err(error),
    };
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Where a path leads, though there may be nothing at its end.
fn follow(path: &Path) -> io::Result<PathBuf> {
    /// As many as Linux follows.
    const LINKS_MAX: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(target) => {
                path.pop();
                path.push(target);
            }
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::InvalidInput | io::ErrorKind::NotFound => Ok(path),
                    _ => Err(error),
                };
            }
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_without_a_file_leads_to_a_new_one() {
        let directory = std::env::temp_dir().join(format!("replace-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let link = directory.join("link");
        std::os::unix::fs::symlink("target", &link).unwrap();
        replace(&link, "text").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(directory.join("target")).unwrap(), "text");
        assert_eq!(fs::metadata(&link).unwrap().mode() & 0o7777, NEW_FILE_MODE);
        fs::remove_dir_all(directory).unwrap();
    }
}
