//! The input is a key, a blank and a value on a line, then a TOML file; without a value the key is
//! unset. Nothing in the file changes but this key, neither in meaning nor in a byte.

use std::path::Path;

use toml::{Table, Value};

use crate::settings::toml_patch::{with, without};
use crate::settings::toml_read::{self, Item, Written};

/// Panics where something does not hold.
pub fn check(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let (line, text) = input.split_once('\n').unwrap_or((input, ""));
    let (key, value) = line.split_once(' ').unwrap_or((line, ""));
    let is_bare = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    if !key.split('.').all(is_bare) {
        return;
    }

    let path = Path::new("t.toml");
    let before = text.parse::<Table>();
    let unset = without(path, text, key);
    let new = written(value);
    let set = with(path, text, key, &new);
    let before = match before {
        Ok(before) => before,
        // Only a reader of the value minds that it does not fit in 64 bits.
        Err(error) if error.message().contains("overflow") => return,
        Err(error) => {
            assert!(unset.is_err() && set.is_err(), "it is no TOML, yet it was changed: {error}");
            return;
        }
    };

    if let Ok(unset) = unset {
        let mut expected = before.clone();
        let had = take(&mut expected, key);
        let mut after = unset.parse::<Table>().unwrap();
        assert_eq!(take(&mut after, key), None, "{unset}");
        assert_eq!(pruned(expected), pruned(after), "{unset}");
        assert_eq!(had.is_none(), unset == text, "{unset}");
        check_bytes(text, &unset, if had.is_some() { text.len() } else { 0 }, 0);
        assert_eq!(without(path, &unset, key).unwrap(), unset);
    }
    if let Ok(set) = set {
        check_set(text, &set, key, &new, before);
    }
}

fn check_set(text: &str, set: &str, key: &str, new: &Written, mut before: Table) {
    let mut after = set.parse::<Table>().unwrap();
    let had = take(&mut before, key);
    assert_eq!(take(&mut after, key).map(|value| same(&value)), Some(new.clone()), "{set}");
    assert_eq!(pruned(before), pruned(after), "{set}");
    let old = if had.is_some() { value_length(text, key) } else { 0 };
    check_bytes(text, set, old, usize::MAX);
    let again = with(Path::new("t.toml"), set, key, new).unwrap();
    assert_eq!(again, set, "what is set is set");
    if had.is_none() {
        // A header may stay behind, which means nothing.
        let undone = without(Path::new("t.toml"), set, key).unwrap();
        assert!(undone.len() >= text.len(), "{undone}");
    }
}

/// One stretch was replaced, of so many bytes at most by so many at most.
fn check_bytes(old: &str, new: &str, removed: usize, added: usize) {
    let (old, new) = (old.as_bytes(), new.as_bytes());
    let prefix = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let (old, new) = (&old[prefix..], &new[prefix..]);
    let suffix = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    assert!(old.len() - suffix <= removed, "{} bytes were removed", old.len() - suffix);
    assert!(new.len() - suffix <= added, "{} bytes were added", new.len() - suffix);
}

fn value_length(text: &str, key: &str) -> usize {
    let document = toml_read::parse(Path::new("t.toml"), text).unwrap();
    let (tables, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut table = &document;
    for part in tables.split('.').filter(|part| !part.is_empty()) {
        table = table[part].get_ref().as_table().unwrap();
    }
    let item = Item::find(table, name).unwrap();
    assert!(item.is_value());
    item.span().len()
}

fn written(text: &str) -> Written {
    match (text.parse(), text.parse()) {
        (Ok(number), _) => Written::Integer(number),
        (_, Ok(truth)) => Written::Boolean(truth),
        _ => Written::Text(text.to_owned()),
    }
}

/// A value as [`Written`] has it.
fn same(value: &Value) -> Written {
    match value {
        Value::Integer(number) => Written::Integer(*number),
        Value::Boolean(truth) => Written::Boolean(*truth),
        Value::String(text) => Written::Text(text.clone()),
        other => Written::Other(format!("{other:?}")),
    }
}

/// Takes the value of a dotted key out of a document.
fn take(table: &mut Table, key: &str) -> Option<Value> {
    match key.split_once('.') {
        Some((first, rest)) => take(table.get_mut(first)?.as_table_mut()?, rest),
        None => table.remove(key),
    }
}

/// What a document says, tables that say nothing left out.
fn pruned(mut table: Table) -> String {
    fn prune(table: &mut Table) {
        table.retain(|_, value| match value {
            Value::Table(inner) => {
                prune(inner);
                !inner.is_empty()
            }
            _ => true,
        });
    }
    prune(&mut table);
    format!("{table:?}")
}
