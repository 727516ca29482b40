//! Changes a setting in the file where it lives, and leaves everything else there as it was:
//! comments, blank lines, order, keys of others, mode, owner, symbolic link. Knows nothing of what
//! a value means: the caller has checked it.

use std::fs::File as OpenFile;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use toml_edit::{Item, Table, TableLike, value};

use super::file::{self, File, MAPPER_PREFIX};
use super::load::Values;
use super::{OLD_SPELLINGS, Setting, Shape, find, replace, sources};
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
    let written = find(setting.key).and_then(|(index, _)| values.written(index));
    let new = new(written);
    let has_mapper = File::Mapper.path(config_dir).exists();
    let home = sources::home(setting, has_mapper);
    // The home first: at no time is the setting nowhere.
    let others = File::ALL
        .into_iter()
        .filter(|&file| file != home && may_hold(file, setting.key, has_mapper));
    for file in std::iter::once(home).chain(others) {
        let path = file.path(config_dir);
        let Some(old_text) = file::read_text(&path)?.or_else(|| (file == home).then(String::new))
        else {
            continue;
        };
        let mut text = old_text.clone();
        for (old, _) in OLD_SPELLINGS.iter().filter(|(_, new)| *new == setting.key) {
            text = without(&path, &text, relative(old, file))?;
        }
        text = match &new {
            Some(new) if file == home => {
                let new = toml_value(new, setting.kind.shape);
                with(&path, &text, relative(setting.key, file), new)?
            }
            _ => without(&path, &text, relative(setting.key, file))?,
        };
        if text != old_text {
            // Never leave behind what could not be read again.
            file::parse(&path, &text)?;
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

/// A key as this file spells it.
fn relative(key: &str, file: File) -> &str {
    key.strip_prefix(file.prefix()).unwrap_or(key)
}

/// Whether a file is read for this key.
fn may_hold(file: File, key: &str, has_mapper: bool) -> bool {
    let is_of_mapper = key.starts_with(MAPPER_PREFIX);
    match file {
        File::Tedge => !(has_mapper && is_of_mapper),
        File::Mapper => has_mapper && is_of_mapper,
        File::Own => true,
    }
}

fn toml_value(text: &str, shape: Shape) -> toml_edit::Value {
    let integer = || text.parse::<i64>().ok().map(Into::into);
    let known = match shape {
        Shape::Integer | Shape::Quantity => integer(),
        Shape::Boolean => text.parse::<bool>().ok().map(Into::into),
        Shape::Text | Shape::Path | Shape::List => None,
    };
    known.unwrap_or_else(|| text.into())
}

/// The text with this key set.
fn with(path: &Path, text: &str, key: &str, mut new: toml_edit::Value) -> Result<String, Error> {
    let mut document = file::parse(path, text)?.into_mut();
    let (tables, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for segment in segments(tables) {
        if table.get(segment).is_none() {
            let inner = new_table(table.is_dotted());
            table.insert(segment, inner);
        }
        let inner = table.get_mut(segment).and_then(Item::as_table_like_mut);
        table = inner.ok_or_else(|| {
            Error::Configuration(format!("{segment} in {}: expected a table", path.display()))
        })?;
    }
    match table.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) if is_same(old, &new) => return Ok(text.to_owned()),
        Some(old) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => {
            table.insert(name, value(new));
        }
    }
    Ok(with_newlines_of(text, document.to_string()))
}

/// The text without this key. The comments around it stay.
fn without(path: &Path, text: &str, key: &str) -> Result<String, Error> {
    let document = file::parse(path, text)?;
    let (tables, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut table: &dyn TableLike = document.as_table();
    let mut stands_on_a_line = true;
    for segment in segments(tables) {
        let Some(inner) = table.get(segment) else { return Ok(text.to_owned()) };
        stands_on_a_line &= !inner.is_inline_table();
        let Some(inner) = inner.as_table_like() else { return Ok(text.to_owned()) };
        table = inner;
    }
    let Some((written, item)) = table.get_key_value(name) else { return Ok(text.to_owned()) };
    match (written.span(), item.span()) {
        (Some(written), Some(value)) if stands_on_a_line && item.is_value() => {
            Ok(without_line(text, written.start, value.end))
        }
        _ => {
            let mut document = document.into_mut();
            let mut table: &mut dyn TableLike = document.as_table_mut();
            for segment in segments(tables) {
                match table.get_mut(segment).and_then(Item::as_table_like_mut) {
                    Some(inner) => table = inner,
                    None => return Ok(text.to_owned()),
                }
            }
            table.remove(name);
            Ok(with_newlines_of(text, document.to_string()))
        }
    }
}

/// The text without what stands from the beginning of the key's line to the end of the value; and
/// without the line, unless a comment is left on it.
fn without_line(text: &str, key: usize, end: usize) -> String {
    let start = text[..key].rfind('\n').map_or(0, |newline| newline + 1);
    let after = text[end..].find('\n').map_or(text.len(), |newline| end + newline + 1);
    let comment = text[end..after].trim_start_matches([' ', '\t']);
    let rest = if comment.trim().is_empty() { after } else { after - comment.len() };
    format!("{}{}", &text[..start], &text[rest..])
}

fn segments(tables: &str) -> impl Iterator<Item = &str> {
    tables.split('.').filter(|segment| !segment.is_empty())
}

/// A table to be put into another one, written with dots where that one is.
fn new_table(is_dotted: bool) -> Item {
    let mut table = Table::new();
    table.set_dotted(is_dotted);
    // Its header is shown only once it has values of its own.
    table.set_implicit(true);
    Item::Table(table)
}

fn is_same(old: &toml_edit::Value, new: &toml_edit::Value) -> bool {
    match (old, new) {
        (toml_edit::Value::String(old), toml_edit::Value::String(new)) => {
            old.value() == new.value()
        }
        (toml_edit::Value::Integer(old), toml_edit::Value::Integer(new)) => {
            old.value() == new.value()
        }
        (toml_edit::Value::Boolean(old), toml_edit::Value::Boolean(new)) => {
            old.value() == new.value()
        }
        _ => false,
    }
}

/// toml_edit ends lines by a newline alone. A file that does otherwise throughout keeps its way.
fn with_newlines_of(old: &str, new: String) -> String {
    let has_carriage_returns =
        old.contains("\r\n") && old.matches('\n').count() == old.matches("\r\n").count();
    if has_carriage_returns { new.replace("\r\n", "\n").replace('\n', "\r\n") } else { new }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, key: &str, new: impl Into<toml_edit::Value>) -> String {
        with(Path::new("t.toml"), text, key, new.into()).unwrap()
    }

    fn unset(text: &str, key: &str) -> String {
        without(Path::new("t.toml"), text, key).unwrap()
    }

    #[test]
    fn a_new_value_keeps_the_spacing_and_the_comment() {
        assert_eq!(set("a  =   1   # one\nb=2\n", "a", 3), "a  =   3   # one\nb=2\n");
        assert_eq!(set("\tb.c=\"x\"", "b.c", "y"), "\tb.c=\"y\"\n");
        assert_eq!(set("b = { c = 1, d = 2 }\n", "b.c", 3), "b = { c = 3, d = 2 }\n");
    }

    #[test]
    fn the_same_value_changes_nothing() {
        for text in ["a='x'", "a = \"x\"  "] {
            assert_eq!(set(text, "a", "x"), text);
        }
    }

    #[test]
    fn a_new_key_stands_with_its_table() {
        for (text, expected) in [
            ("", "[a]\nb = 1\n"),
            ("[a]\nc = 2\n# end\n", "[a]\nc = 2\nb = 1\n# end\n"),
            ("# of a\n[a]\n\n# of x\n[x]\ny = 1\n", "# of a\n[a]\nb = 1\n\n# of x\n[x]\ny = 1\n"),
            ("a.c = 2\n[x]\n", "a.c = 2\na.b = 1\n[x]\n"),
            ("a = { c = 2 }\n", "a = { c = 2 , b = 1 }\n"),
            ("[x]\n[a.d]\n", "[x]\n\n[a]\nb = 1\n[a.d]\n"),
        ] {
            assert_eq!(set(text, "a.b", 1), expected, "{text}");
        }
        assert_eq!(set("a.x = 1\n", "a.b.c", 1), "a.x = 1\na.b.c = 1\n");
        assert_eq!(set("a = {}\n", "a.b.c", 1), "a = { b = { c = 1 } }\n");
        assert_eq!(set("# top\n[x]\n", "a", 1), "a = 1\n# top\n[x]\n");
    }

    #[test]
    fn what_is_unset_leaves_its_comments() {
        for (text, expected) in [
            ("[a]\n# of b\nb = 1\n# of c\nc = 2\n", "[a]\n# of b\n# of c\nc = 2\n"),
            ("[a]\nb = 1 # one\n[x]\n", "[a]\n# one\n[x]\n"),
            ("a.b = [\n 1, # x\n]\nc = 1", "c = 1"),
            ("a = { b = 1, c = 2 }", "a = { c = 2 }\n"),
            ("[a]\nb = 1", "[a]\n"),
            ("[a]\nc = 1", "[a]\nc = 1"),
        ] {
            assert_eq!(unset(text, "a.b"), expected, "{text}");
        }
    }

    #[test]
    fn lines_end_as_they_did() {
        let old = "# x\r\n[a]\r\nb = 1\r\n";
        assert_eq!(set(old, "a.c", 2), "# x\r\n[a]\r\nb = 1\r\nc = 2\r\n");
        assert_eq!(unset(old, "a.b"), "# x\r\n[a]\r\n");
    }
}
