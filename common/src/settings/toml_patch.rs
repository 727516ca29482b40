//! TOML patch: changes one value in the text of a TOML file and no other byte. Knows no settings.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::toml_read::{self, Item, Written, items};
use crate::error::Error;

pub(crate) fn with(path: &Path, text: &str, key: &str, new: &Written) -> Result<String, Error> {
    let document = toml_read::parse(path, text)?;
    let position = Position::find(&document, text, key);
    let literal = literal(new);
    let edited = match position.item() {
        Some(item) if item.written(text) == *new => return Ok(text.to_owned()),
        Some(item) if item.is_value() => {
            Some(replaced(text, item.span().start, item.span().end, &literal))
        }
        Some(_) => None,
        None => position.insert(text, &literal),
    };
    checked(path, key, Some(new), edited)
}

/// The text without this key. The comments around it stay.
pub(crate) fn without(path: &Path, text: &str, key: &str) -> Result<String, Error> {
    let document = toml_read::parse(path, text)?;
    let position = Position::find(&document, text, key);
    match position.item() {
        Some(item) if item.is_value() => {
            checked(path, key, None, Some(position.remove(text, item)))
        }
        Some(_) => checked(path, key, None, None),
        None => Ok(text.to_owned()),
    }
}

/// The patched text, if it is TOML in which the key has the expected value.
fn checked(
    path: &Path,
    key: &str,
    expected: Option<&Written>,
    edited: Option<String>,
) -> Result<String, Error> {
    let is_done = |edited: &String| {
        toml_read::parse(path, edited).is_ok_and(|document| {
            let item = Position::find(&document, edited, key).item();
            item.map(|item| item.written(edited)).as_ref() == expected
        })
    };
    edited.filter(is_done).ok_or_else(|| {
        Error::Failed(format!(
            "{key} in {} cannot be changed by a command: edit the file",
            path.display()
        ))
    })
}

/// How a table is written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Document,
    /// With a header, at this offset.
    Header(usize),
    /// Only in the header of a table in it, as `a` is in `[a.b]`.
    Implied,
    /// By dotted keys, as `a` is in `a.b = 1`.
    Dotted,
    /// `{ … }`, and what is in it.
    Inline,
}

/// The position of a key that is in the document or can be inserted.
struct Position<'a> {
    /// The innermost existing table that contains the key.
    table: &'a DeTable<'a>,
    form: Form,
    /// The dotted name of the table with a dot at its end; empty for the document.
    name: &'a str,
    /// The rest of the key.
    rest: &'a str,
}

impl<'a> Position<'a> {
    fn find(document: &'a DeTable<'a>, text: &str, key: &'a str) -> Self {
        let mut position = Self { table: document, form: Form::Document, name: "", rest: key };
        while let Some((segment, rest)) = position.rest.split_once('.') {
            let Some(item) = Item::find(position.table, segment) else { break };
            let DeValue::Table(table) = item.value() else { break };
            let form = if position.form == Form::Inline || item.is_value() {
                Form::Inline
            } else if item.span().start < item.start() {
                Form::Header(item.span().start)
            } else if text[line_start(text, item.start())..].trim_start().starts_with('[') {
                Form::Implied
            } else {
                Form::Dotted
            };
            position = Self { table, form, name: &key[..key.len() - rest.len()], rest };
        }
        position
    }

    fn item(&self) -> Option<Item<'a>> {
        // If a dot is left, the table is missing; the quoted key `"a.b"` is not the key b of a.
        if self.rest.contains('.') { None } else { Item::find(self.table, self.rest) }
    }

    fn insert(&self, text: &str, literal: &str) -> Option<String> {
        let rest = self.rest;
        let newline = newline(text);
        let last = items(self.table).into_iter().rfind(|item| item.is_value());
        let last = last.map(|item| (item.start(), item.span().end));
        Some(match (self.form, last) {
            (Form::Inline, last) => {
                let (key, end) = last?;
                let start = &text[dotted_start(text, key)..key];
                replaced(text, end, end, &format!(", {start}{rest} = {literal}"))
            }
            (Form::Implied | Form::Dotted, None) => with_new_table(text, self.name, rest, literal),
            (form, _) if rest.contains('.') && form != Form::Dotted => {
                with_new_table(text, self.name, rest, literal)
            }
            // After the last line, with the same indentation and the same dots.
            (_, Some((key, end))) => {
                let start = &text[line_start(text, key)..key];
                with_line(text, line_end(text, end), &format!("{start}{rest} = {literal}"))
            }
            (Form::Header(header), None) => {
                with_line(text, line_end(text, header), &format!("{rest} = {literal}"))
            }
            (_, None) => {
                // After the comment at the top of the file, and before the first table.
                let head =
                    text.find(&format!("{newline}{newline}")).map(|at| at + 2 * newline.len());
                let at = head.filter(|&head| text[..head].lines().all(is_comment)).unwrap_or(0);
                let blank = if at == 0 { "" } else { newline };
                let line = format!("{rest} = {literal}{newline}{blank}");
                replaced(text, at, at, &line)
            }
        })
    }

    fn remove(&self, text: &str, item: Item<'_>) -> String {
        let (key, value) = (item.start(), item.span());
        if self.form != Form::Inline {
            let comment =
                text[value.end..line_end(text, value.end)].trim_start_matches([' ', '\t']);
            let end = line_end(text, value.end);
            let end = if comment.trim().is_empty() { end } else { end - comment.len() };
            return replaced(text, line_start(text, key), end, "");
        }
        // In an inline table, with the comma before or after it.
        let start = dotted_start(text, key);
        let (before, behind) = (text[..start].trim_end(), text[value.end..].trim_start());
        match (before.strip_suffix(','), behind.strip_prefix(',')) {
            (Some(before), _) => replaced(text, before.len(), value.end, ""),
            (None, Some(behind)) => {
                replaced(text, start, text.len() - behind.trim_start().len(), "")
            }
            (None, None) => replaced(text, start, value.end, ""),
        }
    }
}

/// The text with a new table at its end that contains this value.
fn with_new_table(text: &str, name: &str, rest: &str, literal: &str) -> String {
    let newline = newline(text);
    let (tables, key) = rest.rsplit_once('.').unwrap_or(("", rest));
    let header = format!("{name}{tables}");
    let blank = if text.is_empty() { "" } else { newline };
    let lines = format!("{blank}[{}]{newline}{key} = {literal}", header.trim_end_matches('.'));
    with_line(text, text.len(), &lines)
}

/// The text with a new line, inserted at the start of a line or at the end of the text.
fn with_line(text: &str, at: usize, line: &str) -> String {
    let newline = newline(text);
    let before = if at == 0 || text[..at].ends_with('\n') { "" } else { newline };
    replaced(text, at, at, &format!("{before}{line}{newline}"))
}

fn replaced(text: &str, start: usize, end: usize, new: &str) -> String {
    [&text[..start], new, &text[end..]].concat()
}

/// The start of a dotted key whose last part is at this offset. Quoted parts are not recognised;
/// [`checked`] then refuses the patch.
fn dotted_start(text: &str, at: usize) -> usize {
    let mut start = at;
    while let Some(before) = text[..start].trim_end().strip_suffix('.') {
        let before = before.trim_end();
        let is_bare = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        start = before.trim_end_matches(is_bare).len();
        if start == before.len() {
            break;
        }
    }
    start
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The start of the next line.
fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1)
}

/// The line ending of this text.
fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

fn is_comment(line: &str) -> bool {
    line.is_empty() || line.starts_with('#')
}

fn literal(value: &Written) -> String {
    match value {
        Written::Integer(number) => number.to_string(),
        Written::Boolean(truth) => truth.to_string(),
        Written::Text(text) | Written::Other(text) => quoted(text),
        Written::List(items) => quoted(&items.join(",")),
    }
}

/// A basic string of TOML.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            _ if letter.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(letter))),
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, key: &str, new: i64) -> String {
        with(Path::new("t.toml"), text, key, &Written::Integer(new)).unwrap()
    }

    fn unset(text: &str, key: &str) -> String {
        without(Path::new("t.toml"), text, key).unwrap()
    }

    #[test]
    fn a_new_value_keeps_the_spacing_and_the_comment() {
        assert_eq!(set("a  =   1   # one\nb=2\n", "a", 3), "a  =   3   # one\nb=2\n");
        assert_eq!(set("\tb.c=\"x\"", "b.c", 3), "\tb.c=3");
        assert_eq!(set("b = { c = 1, d = 2 }\n", "b.c", 3), "b = { c = 3, d = 2 }\n");
    }

    #[test]
    fn the_same_value_changes_nothing() {
        for text in ["a=0x10", "a = 1_6  "] {
            assert_eq!(set(text, "a", 16), text);
        }
    }

    #[test]
    fn a_new_key_stands_with_its_table() {
        for (text, expected) in [
            ("", "[a]\nb = 1\n"),
            ("[a]\nc = 2\n# end\n", "[a]\nc = 2\nb = 1\n# end\n"),
            ("# of a\n[a]\n\n# of x\n[x]\ny = 1\n", "# of a\n[a]\nb = 1\n\n# of x\n[x]\ny = 1\n"),
            ("a.c = 2\n[x]\n", "a.c = 2\na.b = 1\n[x]\n"),
            ("a = { c = 2 }\n", "a = { c = 2, b = 1 }\n"),
            ("[x]\n[a.d]\n", "[x]\n[a.d]\n\n[a]\nb = 1\n"),
        ] {
            assert_eq!(set(text, "a.b", 1), expected, "{text}");
        }
        assert_eq!(set("\"a.b\" = 2\n", "a.b", 1), "\"a.b\" = 2\n\n[a]\nb = 1\n");
        assert_eq!(set("a.x = 1\n", "a.b.c", 1), "a.x = 1\na.b.c = 1\n");
        assert_eq!(set("a = { x = 1 }\n", "a.b.c", 1), "a = { x = 1, b.c = 1 }\n");
        assert_eq!(set("a = { b.x = 1 }\n", "a.b.c", 1), "a = { b.x = 1, b.c = 1 }\n");
        assert_eq!(unset("a = { x = 1, b . c = 1 }", "a.b.c"), "a = { x = 1 }");
        assert_eq!(unset("a = { b.c = 1, x = 1 }", "a.b.c"), "a = { x = 1 }");
        assert_eq!(set("# only this", "a.b", 1), "# only this\n\n[a]\nb = 1\n");
        assert_eq!(set("# file\n\n# of x\n[x]\n", "a", 1), "# file\n\na = 1\n\n# of x\n[x]\n");
        assert_eq!(set("# top\n[x]\n", "a", 1), "a = 1\n# top\n[x]\n");
    }

    #[test]
    fn what_is_unset_leaves_its_comments() {
        for (text, expected) in [
            ("[a]\n# of b\nb = 1\n# of c\nc = 2\n", "[a]\n# of b\n# of c\nc = 2\n"),
            ("[a]\nb = 1 # one\n[x]\n", "[a]\n# one\n[x]\n"),
            ("a.b = [\n 1, # x\n]\nc = 1", "c = 1"),
            ("a = { b = 1, c = 2 }", "a = { c = 2 }"),
            ("[a]\nb = 1", "[a]\n"),
            ("a = { c = 2, b = 1 }", "a = { c = 2 }"),
            (
                "x = { a.b = 1 }\na = { c.d = 2, c . e = 1, b = 1}",
                "x = { a.b = 1 }\na = { c.d = 2, c . e = 1}",
            ),
            ("a = { b = 1 }", "a = {  }"),
            ("[a]\nc = 1", "[a]\nc = 1"),
            ("\"a.b\" = 1", "\"a.b\" = 1"),
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

    #[test]
    fn a_string_is_quoted_so_that_it_is_read_back() {
        for text in ["", "a\"b\\c", "tab\t and newline\n", "ü\u{7f}\u{85}"] {
            let written = Written::Text(text.to_owned());
            let file = with(Path::new("t.toml"), "", "a", &written).unwrap();
            let document = toml_read::parse(Path::new("t.toml"), &file).unwrap();
            assert_eq!(document["a"].get_ref().as_str(), Some(text));
        }
    }

    #[test]
    fn what_cannot_be_done_well_is_not_done() {
        for (text, key) in [("a = 1\n", "a.b"), ("[[a]]\n", "a.b"), ("a = {}\n", "a.b")] {
            let refused = with(Path::new("t.toml"), text, key, &Written::Integer(1)).unwrap_err();
            assert!(refused.to_string().contains("a.b in t.toml"), "{refused}");
        }
    }
}
