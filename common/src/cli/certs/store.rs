//! Where certificates and keys are kept: a directory in which nothing is overwritten unasked.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The CA's files are called this, its common name `tedge-ca`, as in the documentation.
pub(super) const CA: &str = "tedge-local-ca";

/// A directory of certificates.
pub(super) struct Store {
    pub(super) dir: PathBuf,
    /// Whether files may be replaced.
    pub(super) force: bool,
}

impl Store {
    /// Writes files of these names, contents and modes, durably; none of them where one is there
    /// already.
    pub(super) fn write(&self, files: &[(String, String, u32)]) -> Result<Vec<PathBuf>, Error> {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o755).create(&self.dir);
        made.map_err(|error| cannot("make the directory", &self.dir, &error))?;
        let paths: Vec<_> = files.iter().map(|(name, ..)| self.dir.join(name)).collect();
        let is_there = |path: &&PathBuf| path.symlink_metadata().is_ok();
        if let Some(path) = paths.iter().find(is_there).filter(|_| !self.force) {
            return Err(exists(path));
        }
        for (index, (path, (_, text, mode))) in paths.iter().zip(files).enumerate() {
            if self.force {
                replace(path, text, *mode).map_err(|error| cannot("write", path, &error))?;
                continue;
            }
            create(path, text, *mode).map_err(|error| {
                // A key without its certificate would be in the way of the next attempt.
                for written in &paths[..index] {
                    let _ = fs::remove_file(written);
                }
                match error.kind() {
                    // Somebody else is at it too.
                    io::ErrorKind::AlreadyExists => exists(path),
                    _ => cannot("write", path, &error),
                }
            })?;
        }
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.map_err(|error| cannot("sync", &self.dir, &error))?;
        Ok(paths)
    }
}

fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file
        // The umask is not asked: the service has to read certificates, and nobody keys.
        .set_permissions(fs::Permissions::from_mode(mode))
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// Puts a whole new file in the place of the old one, so that a service never reads half of it.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => create(&temporary, text, mode)?,
    }
    fs::rename(&temporary, path).inspect_err(|_| drop(fs::remove_file(&temporary)))
}

fn exists(path: &Path) -> Error {
    Error::Failed(format!(
        "{} already exists; nothing was written (use --force to replace it)",
        path.display()
    ))
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::Failed(format!("cannot {what} {}: {error}", path.display()))
}
