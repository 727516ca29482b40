//! Changes a setting in the file where it lives, and leaves everything else there as it was:
//! comments, blank lines, order, keys of others, mode, owner, symbolic link. Knows nothing of what
//! a value means: the caller has checked it.

use std::fs::File as OpenFile;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::column::Shape;
use super::document::{self, Written};
use super::home::Home;
use super::setting::Setting;
use super::table::OLD_SPELLINGS;
use super::values::Values;
use super::{patch, replace};
use crate::error::Error;

/// Gives a setting the value that `new` makes of what the files say now; `None` unsets.
///
/// The file is replaced as a whole or not at all. Whoever changes settings at the same time, by
/// this function, waits. Whatever the setting says under an old spelling or in a file where it
/// does not live is removed.
pub fn change(
    config_dir: &Path,
    setting: &Setting,
    new: impl FnOnce(Option<&str>) -> Option<String>,
) -> Result<(), Error> {
    let _lock = lock(config_dir)?;
    let values = Values::read(config_dir, Vec::new(), &[])?;
    let new = new(values.written(setting));
    let has_mapper = Home::Mapper.path(config_dir).exists();
    let home = Home::of(setting, has_mapper);
    // The home first: at no time is the setting nowhere.
    let others = Home::ALL
        .into_iter()
        .filter(|&file| file != home && file.is_read_for(setting.key, has_mapper));
    for file in std::iter::once(home).chain(others) {
        let path = file.path(config_dir);
        let Some(old_text) =
            document::read_text(&path)?.or_else(|| (file == home).then(String::new))
        else {
            continue;
        };
        let mut text = old_text.clone();
        for (old, _) in OLD_SPELLINGS.iter().filter(|(_, new)| *new == setting.key) {
            text = patch::without(&path, &text, file.relative(old))?;
        }
        text = match &new {
            Some(new) if file == home => {
                let new = as_written(new, setting.kind.shape);
                patch::with(&path, &text, file.relative(setting.key), &new)?
            }
            _ => patch::without(&path, &text, file.relative(setting.key))?,
        };
        if text != old_text {
            replace::replace(&path, &text).map_err(|error| {
                Error::Failed(format!("cannot write {}: {error}", path.display()))
            })?;
        }
    }
    Ok(())
}

/// Keeps other writers out for as long as the result lives. The directory is what is locked: a
/// file that is replaced cannot be.
fn lock(config_dir: &Path) -> Result<OpenFile, Error> {
    let locked = OpenFile::open(config_dir).and_then(|directory| {
        flock(&directory, FlockOperation::LockExclusive).map_err(io::Error::from)?;
        Ok(directory)
    });
    locked.map_err(|error| Error::Failed(format!("cannot lock {}: {error}", config_dir.display())))
}

/// A value as a file is to hold it.
fn as_written(text: &str, shape: Shape) -> Written {
    let known = match shape {
        Shape::Integer | Shape::Quantity => text.parse().ok().map(Written::Integer),
        Shape::Boolean => text.parse().ok().map(Written::Boolean),
        Shape::Text | Shape::Path | Shape::List => None,
    };
    known.unwrap_or_else(|| Written::Text(text.to_owned()))
}
