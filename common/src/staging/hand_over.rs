//! Root's part of a unit: before the service starts and when it is reloaded, copies what the
//! service needs and may not read into the unit's directory, readable for the service alone.
//!
//! Settings may be in other hands than root's, and the directory is the service's. So nothing is
//! copied but certificates, keys and lists that are such; what lies outside of the configuration
//! only where nobody but root can have named it; and no link leads a copy anywhere. It keeps no
//! service from starting: what is wrong with a file, the service says itself.

use std::path::{Path, PathBuf};

use super::copies;
use super::directory::StagingDirectory;
use super::walk::{self, PathWalk};
use crate::error::Error;
use crate::settings::{PathTo, SETTINGS, Values};

/// Copies what the settings of this program name.
///
/// # Errors
///
/// Where no unit gave a directory, or it cannot be written.
pub(crate) fn stage(program: &str, config_dir: &Path) -> Result<(), Error> {
    let directory = copies::directory().ok_or_else(|| {
        Error::Usage("--stage is for the unit of the service, which sets RUNTIME_DIRECTORY".into())
    })?;
    let mut staged = StagingDirectory::open(&directory)?;
    // Settings that cannot be read are the service's to complain of, once.
    let Ok(values) = Values::read(config_dir, std::env::vars_os().collect(), &[]) else {
        return staged.clear();
    };
    let walk = PathWalk::new(config_dir);
    for setting in SETTINGS {
        let is_used = setting.used_by.iter().any(|user| user.name() == program);
        let (true, Some(path_to)) = (is_used, setting.kind.path_to) else { continue };
        let Some(path) = values.found(setting).map(|found| PathBuf::from(&found.text)) else {
            continue;
        };
        let copied = match path_to {
            PathTo::Data => Ok(()),
            PathTo::Password => secret(&walk, &path, &mut staged),
            PathTo::Certificate
            | PathTo::PrivateKey
            | PathTo::Authorities
            | PathTo::RevocationLists => pem(&walk, &path, &mut staged),
        };
        if let Err(what) = copied {
            log::warn!("{}: {} {what}", setting.key, path.display());
        }
    }
    staged.clear()
}

fn secret(walk: &PathWalk, path: &Path, staged: &mut StagingDirectory) -> Result<(), String> {
    if walk::is_open_to_all(path) || !walk::exists(path) {
        return Ok(());
    }
    staged.put(path, &walk.secret(path)?)
}

/// A file, or the files of a directory: one by one where the directory itself is open, else all
/// of them as one.
fn pem(walk: &PathWalk, path: &Path, staged: &mut StagingDirectory) -> Result<(), String> {
    if !path.is_dir() {
        return pem_file(walk, path, staged);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(|error| format!("cannot be read: {error}"))?;
    files.retain(|file| !file.is_dir());
    files.sort();
    if walk::is_open_to_all(path) {
        return files.iter().try_for_each(|file| pem_file(walk, file, staged));
    }
    // What is no PEM may lie there too.
    let texts = files.iter().filter_map(|file| walk.pem(file).ok());
    staged.put(path, texts.collect::<String>().as_bytes())
}

fn pem_file(walk: &PathWalk, path: &Path, staged: &mut StagingDirectory) -> Result<(), String> {
    if walk::is_open_to_all(path) || !walk::exists(path) {
        return Ok(());
    }
    staged.put(path, walk.pem(path)?.as_bytes())
}
