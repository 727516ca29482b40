//! Changes a setting in its file and keeps everything else there: comments, blank lines, order,
//! other keys, mode, owner, symbolic link. Does not know what a value means: the caller has checked
//! it.

use std::io;
use std::path::Path;

use super::column::Shape;
use super::directory::{Directory, Place};
use super::files::Home;
use super::layers::unreadable;
use super::setting::Setting;
use super::table::{OLD_SPELLINGS, find};
use super::toml_read::{self, Written};
use super::values::Values;
use super::{lock, replace, toml_patch};
use crate::error::Error;
use crate::walk::Follow;

/// Gives a setting the value that `new` makes of what the files say now; `None` unsets.
///
/// The file is replaced as a whole or not at all. Whoever changes settings at the same time, by
/// this function, waits. Whatever the setting says under an old spelling or in a file where it
/// does not live is removed.
///
/// # Errors
///
/// A file cannot be read or written, or leads where other users want it to lead.
pub fn change(
    config_dir: &Path,
    setting: &Setting,
    new: impl FnOnce(Option<&str>) -> Option<String>,
) -> Result<(), Error> {
    let cannot_lock =
        |error| Error::Failed(format!("cannot lock {}: {error}", config_dir.display()));
    let directory = Directory::open(config_dir).map_err(cannot_lock)?;
    directory.descriptor().and_then(lock::acquire).map_err(cannot_lock)?;
    let values = Values::read_in(&directory, Vec::new(), &[])?;
    let new = new(values.written(setting));
    let has_mapper = Home::mapper(&directory, Follow::Ours)
        .map_err(|error| unreadable(&config_dir.join("mappers"), &error))?
        .is_some();
    let home = Home::of(setting, has_mapper);
    // The home first: at no time is the setting nowhere.
    let others = Home::ALL
        .into_iter()
        .filter(|&file| file != home && file.is_read_for(setting.key, has_mapper));
    for file in std::iter::once(home).chain(others) {
        let new = new.as_deref().filter(|_| file == home);
        change_file(&directory, file, setting, new)?;
    }
    Ok(())
}

fn change_file(
    directory: &Directory,
    file: Home,
    setting: &Setting,
    new: Option<&str>,
) -> Result<(), Error> {
    let path = directory.path.join(file.path());
    let unwritable =
        |error: io::Error| Error::Failed(format!("cannot write {}: {error}", path.display()));
    if let Some(parent) = Path::new(file.path()).parent().filter(|_| new.is_some()) {
        directory.make(parent).map_err(unwritable)?;
    }
    let place = directory.find(file.path(), Follow::Ours);
    let place = place.map_err(|error| unreadable(&path, &error))?;
    let Some(place) = place.filter(|place| new.is_some() || place.found.is_some()) else {
        return Ok(());
    };
    let old_text = match &place {
        Place { found: Some((_, content)), .. } => toml_read::text(&path, content.clone())?,
        Place { is_linked: true, .. } => {
            let dangling = "it is a link to a file that does not exist";
            return Err(unwritable(io::Error::other(dangling)));
        }
        _ => String::new(),
    };
    let mut text = old_text.clone();
    for (old, _) in OLD_SPELLINGS.iter().filter(|(_, new)| *new == setting.key) {
        text = toml_patch::without(&path, &text, file.relative(old))?;
    }
    let key = file.relative(setting.key);
    text = match new {
        Some(new) => toml_patch::with(&path, &text, key, &as_written(new, setting.kind.shape))?,
        None => toml_patch::without(&path, &text, key)?,
    };
    if text == old_text {
        return Ok(());
    }
    let entries = toml_read::entries(&path, &text, file.prefix(), |key| find(key).is_some())?;
    let is_secret = |key: &str| find(key).is_some_and(|setting| setting.kind.is_secret);
    let has_secret = entries.iter().any(|entry| is_secret(&entry.key));
    replace::replace(&place, &text, has_secret).map_err(unwritable)
}

/// A value as a file is to hold it.
fn as_written(text: &str, shape: Shape) -> Written {
    let known = match shape {
        Shape::Integer | Shape::Quantity => text.parse().ok().map(Written::Integer),
        Shape::Boolean => text.parse().ok().map(Written::Boolean),
        Shape::Text | Shape::Path(_) | Shape::List => None,
    };
    known.unwrap_or_else(|| Written::Text(text.to_owned()))
}
