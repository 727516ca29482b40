//! Reads the text of a settings file: its keys and values, with the line of each. Knows TOML, but
//! not which settings exist.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use crate::error::Error;

#[derive(Debug)]
pub(super) struct FileValue {
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

/// A key of a table, and what it stands for.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    key: &'a Spanned<DeString<'a>>,
    value: &'a Spanned<DeValue<'a>>,
}

/// The values in the text of a file, in order. A table whose key is that of a setting, as `known`
/// says, is a value of the wrong type.
pub(super) fn entries(
    path: &Path,
    text: &str,
    prefix: &str,
    known: fn(&str) -> bool,
) -> Result<Vec<FileValue>, Error> {
    let mut entries = Vec::new();
    flatten(&parse(path, text)?, prefix, text, known, &mut entries);
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

/// The value of a variable of the environment; an empty one unsets. It is TOML if it begins with a
/// quotation mark or a bracket, as in thin-edge.io: people quote it where no shell takes the quotes.
pub(super) fn variable(text: String) -> Option<Written> {
    let line = format!("value = {text}");
    let table = if text.starts_with(['"', '[']) { DeTable::parse(&line).ok() } else { None };
    let item = table.as_ref().and_then(|table| Item::find(table.get_ref(), "value"));
    let value = match item.map(|item| item.written(&line)) {
        Some(value @ (Written::Text(_) | Written::List(_))) => value,
        _ => Written::Text(text),
    };
    (value != Written::Text(String::new())).then_some(value)
}

/// Parses a text. An error names file, line and column.
pub(crate) fn parse<'a>(path: &Path, text: &'a str) -> Result<DeTable<'a>, Error> {
    DeTable::parse(text).map(Spanned::into_inner).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let (line, column) = position(text.as_bytes(), start);
        Error::Configuration(format!(
            "{}, line {line}, column {column}: this is not TOML: {}",
            path.display(),
            error.message()
        ))
    })
}

/// What a table contains, in the order of the text.
pub(crate) fn items<'a>(table: &'a DeTable<'a>) -> Vec<Item<'a>> {
    let mut items: Vec<_> = table.iter().map(|(key, value)| Item { key, value }).collect();
    items.sort_unstable_by_key(|item| item.start());
    items
}

impl<'a> Item<'a> {
    pub(crate) fn find(table: &'a DeTable<'a>, name: &str) -> Option<Self> {
        table.get_key_value(name).map(|(key, value)| Self { key, value })
    }

    pub(crate) fn name(self) -> &'a str {
        self.key.get_ref()
    }

    /// The offset of the key in the text.
    pub(crate) fn start(self) -> usize {
        self.key.span().start
    }

    /// The value in the text. That of a table is its header, or where it has none the key.
    pub(crate) fn span(self) -> Range<usize> {
        self.value.span()
    }

    pub(crate) fn value(self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    /// Whether this is written as `key = value`. An inline table is such a value as well.
    pub(crate) fn is_value(self) -> bool {
        self.key.span().end < self.span().start
    }

    pub(crate) fn written(self, text: &str) -> Written {
        let strings = |array: &DeArray<'_>| -> Option<Vec<String>> {
            array.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
        };
        let known = match self.value() {
            DeValue::String(text) => Some(Written::Text(text.clone().into_owned())),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(Written::Integer)
            }
            DeValue::Boolean(truth) => Some(Written::Boolean(*truth)),
            _ if !self.is_value() => Some(Written::Other("a table".to_owned())),
            DeValue::Array(array) => strings(array).map(Written::List),
            _ => None,
        };
        known
            .unwrap_or_else(|| Written::Other(text.get(self.span()).unwrap_or_default().to_owned()))
    }
}

fn flatten(
    table: &DeTable<'_>,
    prefix: &str,
    text: &str,
    known: fn(&str) -> bool,
    entries: &mut Vec<FileValue>,
) {
    for item in items(table) {
        let name = item.name();
        // A quoted name with dots is one name: the dots do not separate tables.
        let quote = if name.contains('.') { "\"" } else { "" };
        let key = format!("{prefix}{quote}{name}{quote}");
        match item.value() {
            DeValue::Table(inner) if !known(&key) => {
                flatten(inner, &format!("{key}."), text, known, entries);
            }
            _ => {
                let line = position(text.as_bytes(), item.start()).0;
                entries.push(FileValue { key, value: item.written(text), line });
            }
        }
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
        let text = "\"a.b\" = 1\na.c = 2\n";
        let entries = entries(Path::new("t.toml"), text, "", |_| false).unwrap();
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
