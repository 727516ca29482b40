//! Reads rules from TOML. What is not understood is an error with its line, never passed over.

use toml_edit::{Document, Item, Table, Value};

use super::methods::Methods;
use super::network::Network;
use super::place::Place;
use super::rules::{Rule, Rules};

/// Files of rules are not larger than this, in bytes.
const MAX: usize = 1024 * 1024;

/// What is wrong with a text, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) line: usize,
    /// May quote the text.
    pub(crate) what: String,
}

impl Flaw {
    fn at(text: &str, offset: Option<usize>, what: String) -> Self {
        Self { line: line(text.as_bytes(), offset.unwrap_or_default()), what }
    }
}

/// The rules in a text.
pub(crate) fn parse(text: &str) -> Result<Rules, Flaw> {
    let flaw = |offset: Option<usize>, what| Flaw::at(text, offset, what);
    if text.len() > MAX {
        return Err(flaw(None, format!("the file is larger than {MAX} bytes")));
    }
    let document = Document::parse(text).map_err(|error| {
        let offset = error.span().map(|span| span.start);
        flaw(offset, format!("this is not TOML: {}", error.message().trim()))
    })?;
    let mut rules = Vec::new();
    let root = document.as_table();
    for (key, item) in root {
        match item {
            Item::ArrayOfTables(tables) if key == "rule" => {
                for table in tables {
                    rules.push(rule(table, text)?);
                }
            }
            _ => {
                let expected = "rules are expected, each with [[rule]] above it";
                return Err(flaw(position(root, key), format!("{key} is no rule: {expected}")));
            }
        }
    }
    if rules.is_empty() {
        return Err(flaw(None, "there is no rule, and so nobody may do anything".to_owned()));
    }
    Ok(Rules(rules))
}

fn rule(table: &Table, text: &str) -> Result<Rule, Flaw> {
    let start = table.span().map(|span| span.start);
    let flaw = |offset: Option<usize>, what| Flaw::at(text, offset, what);
    let mut rule = Rule {
        line: line(text.as_bytes(), start.unwrap_or_default()),
        who: None,
        from: Vec::new(),
        may: Methods::NONE,
        places: Vec::new(),
    };
    for (key, item) in table {
        let at = position(table, key);
        let unknown = || {
            let expected = "who, from, may, below or exactly";
            flaw(at, format!("{key} is not known: expected {expected}"))
        };
        if !["who", "from", "may", "below", "exactly"].contains(&key) {
            return Err(unknown());
        }
        let values = strings(item)
            .ok_or_else(|| flaw(at, format!("{key} has to be a string or a list of strings")))?;
        for (value, offset) in values {
            let bad = |expected: &str| {
                flaw(offset.or(at), format!("{key} cannot be {value:?}: {expected}"))
            };
            match key {
                "who" => rule.who.get_or_insert_default().push(value.to_owned()),
                "from" => rule.from.push(
                    Network::parse(value)
                        .ok_or_else(|| bad(&format!("expected {}", Network::EXPECTED)))?,
                ),
                "may" => {
                    let methods = Methods::parse(value)
                        .ok_or_else(|| bad(&format!("expected {}", Methods::EXPECTED)))?;
                    rule.may = rule.may.with(methods);
                }
                "below" => rule.places.push(Place::below(value).map_err(bad)?),
                _ => rule.places.push(Place::exactly(value).map_err(bad)?),
            }
        }
    }
    let missing = if rule.may == Methods::NONE {
        "may"
    } else if rule.places.is_empty() {
        "below or exactly"
    } else if rule.who.is_none() && rule.places.iter().any(Place::has_name) {
        "who, which {who} stands for"
    } else {
        return Ok(rule);
    };
    Err(flaw(start, format!("the rule lacks {missing}")))
}

/// A string, or the strings of a list that has some, each with its offset.
fn strings<'a>(item: &'a Item) -> Option<Vec<(&'a str, Option<usize>)>> {
    let string = |value: &'a Value| Some((value.as_str()?, value.span().map(|span| span.start)));
    match item.as_value()? {
        Value::Array(array) if !array.is_empty() => array.iter().map(string).collect(),
        value => Some(vec![string(value)?]),
    }
}

fn position(table: &Table, key: &str) -> Option<usize> {
    table.key(key).and_then(toml_edit::Key::span).map(|span| span.start)
}

/// The line of an offset, from 1.
pub(crate) fn line(text: &[u8], offset: usize) -> usize {
    let before = &text[..offset.min(text.len())];
    before.iter().filter(|&&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(text: &str) -> String {
        let Flaw { line, what } = parse(text).unwrap_err();
        format!("{line}: {what}")
    }

    /// The flaw of a rule that is right but for these lines, which begin at line 2.
    fn in_rule(lines: &str) -> String {
        flaw(&format!("[[rule]]\n{lines}\nmay = \"read\"\nbelow = \"/\"\n"))
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        assert_eq!(
            in_rule("wo = \"*\""),
            "2: wo is not known: expected who, from, may, below or exactly"
        );
        assert_eq!(in_rule("\nwho = 5"), "3: who has to be a string or a list of strings");
        assert_eq!(in_rule("who = []"), "2: who has to be a string or a list of strings");
        assert!(in_rule("from = [\n\"::1\",\n\"lan\"]").starts_with("4: from cannot be \"lan\": "));
        assert!(in_rule("exactly = \"a\"").starts_with("2: exactly cannot be \"a\": a path "));
        assert!(
            flaw("[[rule]]\nmay = [\"get\"]").starts_with("2: may cannot be \"get\": expected")
        );
        assert_eq!(flaw("\n\n[[rule]]\nbelow = \"/\""), "3: the rule lacks may");
        assert_eq!(flaw("[[rule]]\nmay = \"read\""), "1: the rule lacks below or exactly");
        let without_who = "[[rule]]\nmay = \"read\"\nbelow = \"/{who}/\"";
        assert_eq!(flaw(without_who), "1: the rule lacks who, which {who} stands for");
        let expected = "is no rule: rules are expected, each with [[rule]] above it";
        assert_eq!(flaw("\nrules = 1"), format!("2: rules {expected}"));
        assert_eq!(flaw("[rule]\nmay = \"read\""), format!("1: rule {expected}"));
        assert!(flaw("[[rule]]\nmay = read").starts_with("2: this is not TOML: "));
        assert!(
            flaw("[[rule]]\nmay = \"read\"\nmay = \"read\"").starts_with("3: this is not TOML")
        );
        for empty in ["", "# may = \"read\"\n"] {
            assert_eq!(flaw(empty), "1: there is no rule, and so nobody may do anything");
        }
    }

    #[test]
    fn rules_keep_their_order_and_lines() {
        let text = "# 1\n[[rule]]\nmay = \"read\"\nbelow = \"/\"\n\n[[rule]] # 6\nwho = [\"a\", \"b\"]\n\
                    may = [\"read\", \"POST\"]\nexactly = [\"/x\", \"/{who}\"]\nbelow = \"/y\"\n";
        let rules = parse(text).unwrap();
        assert_eq!(rules.0.iter().map(|rule| rule.line).collect::<Vec<_>>(), [2, 6]);
        assert_eq!(rules.0[1].who.as_deref().unwrap(), ["a", "b"]);
        assert_eq!(rules.0[1].places.len(), 3);
        assert_eq!((rules.count(), rules.first_with_name()), (2, Some(6)));
    }
}
