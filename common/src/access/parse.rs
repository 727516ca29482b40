//! Reads rules from TOML. Anything unknown is an error with its line, and never ignored.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::methods::Methods;
use super::network::Network;
use super::pattern::Pattern;
use super::rules::{Rule, Rules};
use crate::settings::toml_read::{Item, items};

/// Enough for some thousand rules. The service reads them again at each reload.
const LONGEST: usize = 256 * 1024;

/// The fault of a file and its line, as a message that follows the file's name. It does not quote
/// the file, which may be another file than intended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    line: usize,
    what: &'static str,
}

/// The content of the file, to find the line of an offset.
#[derive(Clone, Copy)]
struct RulesText<'a>(&'a [u8]);

impl RulesText<'_> {
    /// The line of an offset, from 1. Without an offset, the first line.
    fn line(self, offset: Option<usize>) -> usize {
        let before = &self.0[..offset.unwrap_or_default().min(self.0.len())];
        before.iter().filter(|&&byte| byte == b'\n').count() + 1
    }

    fn flaw(self, offset: Option<usize>, what: &'static str) -> Flaw {
        Flaw { line: self.line(offset), what }
    }
}

/// The rules in a file.
pub(crate) fn parse(content: &[u8]) -> Result<Rules, Flaw> {
    let file = RulesText(content);
    if content.len() > LONGEST {
        return Err(file.flaw(Some(LONGEST), "a file of rules must not be larger than 256 KiB"));
    }
    let text = std::str::from_utf8(content)
        .map_err(|error| file.flaw(Some(error.valid_up_to()), "this is not UTF-8"))?;
    let document = DeTable::parse(text)
        .map_err(|error| file.flaw(error.span().map(|span| span.start), "this is not TOML"))?;
    let mut rules = Vec::new();
    for item in items(document.get_ref()) {
        let tables = match item.value() {
            DeValue::Array(tables) if item.name() == "rule" && !item.is_value() => tables,
            _ => {
                let what = "this is not in a rule: each rule begins with [[rule]]";
                return Err(file.flaw(Some(item.start()), what));
            }
        };
        for table in tables {
            if let DeValue::Table(keys) = table.get_ref() {
                rules.push(rule(keys, table.span().start, file)?);
            }
        }
    }
    if rules.is_empty() {
        return Err(file.flaw(None, "there is no rule, so no client may do anything"));
    }
    Ok(Rules(rules))
}

fn rule(table: &DeTable<'_>, start: usize, file: RulesText<'_>) -> Result<Rule, Flaw> {
    let line = file.line(Some(start));
    let (from, patterns) = (Vec::new(), Vec::new());
    let mut rule = Rule { line, who: None, from, may: Methods::NONE, patterns };
    for item in items(table) {
        let at = Some(item.start());
        for (value, offset) in strings(item).map_err(|what| file.flaw(at, what))? {
            let bad = |what| file.flaw(Some(offset), what);
            match item.name() {
                "who" => rule.who.get_or_insert_default().push(value.to_owned()),
                "from" => {
                    rule.from.push(Network::parse(value).ok_or_else(|| bad(Network::EXPECTED))?);
                }
                "may" => {
                    let methods = Methods::parse(value).ok_or_else(|| bad(Methods::EXPECTED))?;
                    rule.may = rule.may.with(methods);
                }
                "below" => rule.patterns.push(Pattern::below(value).map_err(bad)?),
                "exactly" => rule.patterns.push(Pattern::exactly(value).map_err(bad)?),
                _ => {
                    let what = "no such key: expected who, from, may, below or exactly";
                    return Err(file.flaw(at, what));
                }
            }
        }
    }
    let missing = if rule.may == Methods::NONE {
        "the rule has no key `may`"
    } else if rule.patterns.is_empty() {
        "the rule has no key `below` or `exactly`"
    } else if rule.who.is_none() && rule.patterns.iter().any(Pattern::has_name) {
        "the rule has no key `who`, and {who} in a path needs it"
    } else {
        return Ok(rule);
    };
    Err(file.flaw(Some(start), missing))
}

/// A string, or the strings of a list that is not empty, each with its offset.
fn strings<'a>(item: Item<'a>) -> Result<Vec<(&'a str, usize)>, &'static str> {
    let string = |value: &'a DeValue<'a>, start| Some((value.as_str()?, start));
    let strings = match item.value() {
        DeValue::Array(array) if item.is_value() && !array.is_empty() => array
            .iter()
            .map(|value: &Spanned<_>| string(value.get_ref(), value.span().start))
            .collect(),
        value => string(value, item.span().start).map(|string| vec![string]),
    };
    strings.ok_or("expected a string, or a list of strings")
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot be used: line {}: {}", self.line, self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(text: &str) -> String {
        let Flaw { line, what } = parse(text.as_bytes()).unwrap_err();
        format!("{line}: {what}")
    }

    /// The flaw of a rule that is right but for these lines, which begin at line 2.
    fn in_rule(lines: &str) -> String {
        flaw(&format!("[[rule]]\n{lines}\nmay = \"read\"\nbelow = \"/\"\n"))
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        let keys = "no such key: expected who, from, may, below or exactly";
        assert_eq!(in_rule("wo = \"*\""), format!("2: {keys}"));
        assert_eq!(in_rule("\nwho = 5"), "3: expected a string, or a list of strings");
        assert_eq!(in_rule("who = []"), "2: expected a string, or a list of strings");
        assert_eq!(in_rule("who.x = \"a\""), "2: expected a string, or a list of strings");
        let network = Network::EXPECTED;
        assert_eq!(in_rule("from = [\n\"::1\",\n\"lan\"]"), format!("4: {network}"));
        assert_eq!(in_rule("exactly = \"a\""), "2: a path must begin with a slash");
        assert_eq!(flaw("[[rule]]\nmay = [\"get\"]"), format!("2: {}", Methods::EXPECTED));
        assert_eq!(flaw("\n\n[[rule]]\nbelow = \"/\""), "3: the rule has no key `may`");
        assert_eq!(flaw("[[rule]]\nmay = \"read\""), "1: the rule has no key `below` or `exactly`");
        let without_who = "[[rule]]\nmay = \"read\"\nbelow = \"/{who}/\"";
        assert_eq!(flaw(without_who), "1: the rule has no key `who`, and {who} in a path needs it");
        let no_rule = "this is not in a rule: each rule begins with [[rule]]";
        assert_eq!(flaw("\nrules = 1"), format!("2: {no_rule}"));
        assert_eq!(flaw("[rule]\nmay = \"read\""), format!("1: {no_rule}"));
        let long = "#\n".repeat(LONGEST / 2 + 1);
        assert_eq!(flaw(&long), "131073: a file of rules must not be larger than 256 KiB");
        assert_eq!(flaw("[[rule]]\nmay = read"), "2: this is not TOML");
        assert_eq!(flaw("[[rule]]\nmay = \"read\"\nmay = \"read\""), "3: this is not TOML");
        assert_eq!(parse(b"\n\n\xff").unwrap_err().line, 3);
        for empty in ["", "# may = \"read\"\n"] {
            assert_eq!(flaw(empty), "1: there is no rule, so no client may do anything");
        }
    }

    #[test]
    fn rules_keep_their_order_and_lines() {
        let text = "# 1\n[[rule]]\nmay = \"read\"\nbelow = \"/\"\n\n[[rule]] # 6\nwho = [\"a\", \"b\"]\n\
                    may = [\"read\", \"POST\"]\nexactly = [\"/x\", \"/{who}\"]\nbelow = \"/y\"\n";
        let rules = parse(text.as_bytes()).unwrap();
        assert_eq!(rules.0.iter().map(|rule| rule.line).collect::<Vec<_>>(), [2, 6]);
        assert_eq!(rules.0[1].who.as_deref().unwrap(), ["a", "b"]);
        assert_eq!(rules.0[1].patterns.len(), 3);
        assert_eq!((rules.count(), rules.first_with_name()), (2, Some(6)));
    }
}
