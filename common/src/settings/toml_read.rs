//! Reads the text of a settings file: its keys and values, with the line of each. Knows TOML, but
//! not which settings exist.

use std::path::Path;

use toml_edit::{Document, Item, TableLike, Value};

use crate::error::Error;

/// One value of a file.
#[derive(Debug)]
pub(super) struct Entry {
    /// The whole key, with the prefix that keys in the file lack.
    pub(super) key: String,
    pub(super) value: Written,
    pub(super) line: usize,
}

/// A value as it is written in a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Written {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<String>),
    /// Anything else, as text.
    Other(String),
}

/// The values in the text of a file, in order. A table whose key is that of a setting, as `known`
/// says, is a value of the wrong type.
pub(super) fn entries(
    path: &Path,
    text: &str,
    prefix: &str,
    known: fn(&str) -> bool,
) -> Result<Vec<Entry>, Error> {
    let document = parse(path, text)?;
    let mut entries = Vec::new();
    flatten(document.as_table(), prefix, text, known, &mut entries);
    Ok(entries)
}

/// The content of a file as text. An error names file, line and column.
pub(super) fn text(path: &Path, content: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(content).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let (line, column) = position(error.as_bytes(), valid);
        Error::Configuration(format!(
            "{}, line {line}, column {column}: this is not UTF-8",
            path.display()
        ))
    })
}

/// Parses a text. An error names file, line and column.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Document<String>, Error> {
    Document::parse(text.to_owned()).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let (line, column) = position(text.as_bytes(), start);
        Error::Configuration(format!(
            "{}, line {line}, column {column}: this is not TOML: {}",
            path.display(),
            error.message()
        ))
    })
}

fn flatten(
    table: &dyn TableLike,
    prefix: &str,
    text: &str,
    known: fn(&str) -> bool,
    entries: &mut Vec<Entry>,
) {
    for (name, item) in table.iter() {
        // A quoted name with dots is one name: the dots do not separate tables.
        let quote = if name.contains('.') { "\"" } else { "" };
        let key = format!("{prefix}{quote}{name}{quote}");
        match item.as_table_like() {
            Some(inner) if !known(&key) => flatten(inner, &format!("{key}."), text, known, entries),
            _ => {
                let written = table.key(name).and_then(toml_edit::Key::span);
                let line = position(text.as_bytes(), written.map_or(0, |span| span.start)).0;
                entries.push(Entry { key, value: written_value(item, text), line });
            }
        }
    }
}

/// The value of an item of this text.
pub(crate) fn written_value(item: &Item, text: &str) -> Written {
    let other = || {
        // The item's own Display would link all of toml_edit's writer.
        let written = item.span().and_then(|span| text.get(span));
        Written::Other(written.unwrap_or_default().to_owned())
    };
    match item {
        Item::Value(Value::String(text)) => Written::Text(text.value().clone()),
        Item::Value(Value::Integer(number)) => Written::Integer(*number.value()),
        Item::Value(Value::Boolean(truth)) => Written::Boolean(*truth.value()),
        Item::Value(Value::Array(array)) => {
            let items: Option<_> =
                array.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            items.map_or_else(other, Written::List)
        }
        Item::Table(_) | Item::ArrayOfTables(_) => Written::Other("a table".to_owned()),
        _ => other(),
    }
}

/// Line and column of an offset, both from 1. Columns count characters.
fn position(text: &[u8], offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_quotes_is_one_name() {
        let document = parse(Path::new("t.toml"), "\"a.b\" = 1\na.c = 2\n").unwrap();
        let mut entries = Vec::new();
        flatten(document.as_table(), "", document.raw(), |_| false, &mut entries);
        let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["\"a.b\"", "a.c"]);
    }

    #[test]
    fn counts_lines_and_characters_from_one() {
        let text = "a\nbü c".as_bytes();
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 2), (2, 1));
        assert_eq!(position(text, 5), (2, 3));
        assert_eq!(position(text, 99), (2, 5));
    }
}
