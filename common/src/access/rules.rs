//! The rules, and the check of a request.

use std::fmt;
use std::net::IpAddr;

use super::methods::Methods;
use super::names::Names;
use super::network::Network;
use super::pattern::{Area, Pattern};
use crate::escape::Escaped;

/// Rules, in the order of their file.
#[derive(Debug)]
pub struct Rules(pub(super) Vec<Rule>);

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) line: usize,
    /// The names of clients, `*` for any. `None`: clients need no name.
    pub(super) who: Option<Vec<String>>,
    /// The networks of clients; empty: all.
    pub(super) from: Vec<Network>,
    pub(super) may: Methods,
    pub(super) patterns: Vec<Pattern>,
}

/// Who sends a request.
#[derive(Clone, Copy, Debug)]
pub struct Requester<'a> {
    /// The names in the client's verified certificate.
    pub names: &'a Names,
    /// The client's address. If it is `None`, the client is in no network.
    pub address: Option<IpAddr>,
}

/// Checks the requests of one client.
pub struct Judge<'a> {
    rules: &'a Rules,
    client: Requester<'a>,
}

/// The error that no rule allows a request. It does not depend on what is at the request's path.
#[derive(Debug, PartialEq, Eq)]
pub struct Forbidden {
    who: String,
    verb: String,
    below: String,
}

impl Rules {
    /// The line of the first rule that matches this client, this method and this path, which is as
    /// for [`Judge::may`]. The rule allows the request. No rule forbids anything, so a rule with
    /// other methods has no effect on this request.
    pub fn find(
        &self,
        client: Requester<'_>,
        method: &str,
        area: Area,
        path: &str,
    ) -> Option<usize> {
        let method = Methods::of(method);
        let matches = |rule: &&Rule| rule.matches(client, method, area, path);
        self.0.iter().find(matches).map(|rule| rule.line)
    }

    /// The check for the requests of this client.
    pub fn judge<'a>(&'a self, client: Requester<'a>) -> Judge<'a> {
        Judge { rules: self, client }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// What is probably meant otherwise, with the line of its rule. No path of a file or of
    /// Cumulocity begins with one of `prefixes`, those of the service's targets.
    pub(crate) fn doubts(&self, prefixes: &'static [&str]) -> Vec<(usize, String)> {
        let doubt = |rule: &Rule| {
            let mut names = rule.who.iter().flatten();
            if let Some(name) = names.find(|name| name.contains('*') && *name != "*") {
                let name = Escaped(name);
                return Some(format!(
                    "the rule is for a client of exactly the name {name}: only \"*\" alone is any name"
                ));
            }
            let starts = |prefix: &&&str| rule.patterns.iter().any(|it| it.begins_with(prefix));
            prefixes.iter().find(starts).map(|prefix| {
                format!("write the path of the rule without the prefix of requests, /{prefix}")
            })
        };
        self.0.iter().filter_map(|rule| Some((rule.line, doubt(rule)?))).collect()
    }

    /// The line of the first rule that needs a name.
    pub(crate) fn first_with_name(&self) -> Option<usize> {
        self.0.iter().find(|rule| rule.who.is_some()).map(|rule| rule.line)
    }
}

impl Rule {
    /// Whether all keys of the rule match.
    fn matches(&self, client: Requester<'_>, method: Methods, area: Area, path: &str) -> bool {
        if !self.may.has(method) {
            return false;
        }
        let holds = |pattern: &Pattern, name| pattern.is_about(area) && pattern.holds(path, name);
        let is_from = |address| self.from.iter().any(|network| network.holds(address));
        if !self.from.is_empty() && !client.address.is_some_and(is_from) {
            return false;
        }
        let Some(who) = &self.who else {
            return self.patterns.iter().any(|pattern| holds(pattern, ""));
        };
        client.names.iter().any(|name| {
            who.iter().any(|who| who == "*" || *who == name.text)
                && self.patterns.iter().any(|pattern| {
                    (name.is_part || !pattern.has_name()) && holds(pattern, &name.text)
                })
        })
    }
}

impl Judge<'_> {
    /// Whether a rule allows this method at this path. The path is relative and decoded, and no
    /// part of it is empty, `.` or `..`. A slash at its end means that it may be a directory.
    ///
    /// # Errors
    ///
    /// No rule allows it.
    pub fn may(&self, area: Area, method: &str, path: &str) -> Result<(), Forbidden> {
        match self.rules.find(self.client, method, area, path) {
            Some(_) => Ok(()),
            None => Err(self.refuse(area, method, path)),
        }
    }

    /// The refusal of a request. It names the directory of the path, but none above that of the area.
    pub fn refuse(&self, area: Area, method: &str, path: &str) -> Forbidden {
        let Requester { names, address } = self.client;
        let who = names.iter().next().map(|name| Escaped(&name.text).to_string());
        let path = path.trim_end_matches('/');
        let end = match path.rfind('/') {
            _ if area.is_within && path == area.directory => path.len(),
            slash => slash.unwrap_or_default(),
        };
        Forbidden {
            who: who
                .or_else(|| address.map(|address| address.to_canonical().to_string()))
                .unwrap_or_else(|| "a client without a name".to_owned()),
            verb: Methods::verb(method).to_owned(),
            below: format!("/{}", &path[..end]) + if end == 0 { "" } else { "/" },
        }
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, verb, below } = self;
        write!(f, "{who} may not {verb} below {below:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::parse;

    const LAYOUT: &str = r#"
[[rule]]
who = "*"
may = ["read", "write"]
below = ["/{who}/", "/device_{who}__/"]

[[rule]]
who = ["main-agent", "mapper"]
may = ["read", "DELETE"]
below = "/"

[[rule]]
from = ["127.0.0.0/8", "::1"]
may = "read"
below = "/public/"
exactly = "/motd"
"#;

    fn judged(name: Option<&str>, address: &str, method: &str, path: &str) -> Option<usize> {
        let names = name.map(Names::one).unwrap_or_default();
        let client = Requester { names: &names, address: address.parse().ok() };
        parse(LAYOUT.as_bytes()).unwrap().find(client, method, Area::WHOLE, path)
    }

    #[test]
    fn the_first_rule_that_matches_a_request_allows_it() {
        for (name, address, method, path, line) in [
            (Some("child1"), "", "PUT", "child1/x", Some(2)),
            (Some("child1"), "", "HEAD", "device_child1__/config_update/x", Some(2)),
            (Some("child1"), "", "GET", "child2/x", None),
            (Some("child1"), "", "GET", "child1", None),
            (Some("child1"), "", "OPTIONS", "child1/x", None),
            (Some("main-agent"), "", "GET", "main-agent/x", Some(2)),
            (Some("main-agent"), "", "DELETE", "child1/x", Some(7)),
            (Some("main-agent"), "", "PUT", "child1/x", None),
            (Some("Main-Agent"), "", "GET", "child1/x", None),
            (Some("child1"), "127.0.0.1", "GET", "public/x", Some(12)),
            (None, "127.1.2.3", "GET", "public/x", Some(12)),
            (None, "::1", "GET", "motd", Some(12)),
            (None, "127.0.0.1", "PUT", "public/x", None),
            (None, "192.168.1.1", "GET", "public/x", None),
            (None, "", "GET", "public/x", None),
            (None, "127.0.0.1", "GET", "child1/x", None),
        ] {
            assert_eq!(judged(name, address, method, path), line, "{name:?} {method} {path}");
        }
    }

    /// As in the README: a child may only read what the main agent links there for it.
    #[test]
    fn a_rule_for_other_methods_leaves_the_request_to_those_below_it() {
        let rules = "[[rule]]\nwho = \"*\"\nmay = \"read\"\nbelow = \"/device_{who}__/\"\n\
                     [[rule]]\nwho = \"main\"\nmay = \"write\"\nbelow = \"/\"\n";
        let rules = parse(rules.as_bytes()).unwrap();
        for (name, method, line) in
            [("main", "GET", Some(1)), ("main", "PUT", Some(5)), ("child", "PUT", None)]
        {
            let names = Names::one(name);
            let client = Requester { names: &names, address: None };
            let path = format!("device_{name}__/a");
            assert_eq!(rules.find(client, method, Area::WHOLE, &path), line, "{name}");
        }
    }

    #[test]
    fn a_rule_that_hardly_any_request_matches_is_doubted() {
        let doubted = |line: &str| {
            let rules = format!("\n[[rule]]\nmay = \"read\"\n{line}\n");
            let rules = parse(rules.as_bytes()).unwrap();
            rules.doubts(&["te/v1/files/", "c8y/"]).into_iter().map(|(line, _)| line).next()
        };
        for line in [
            "who = \"child*\"\nbelow = \"/\"",
            "who = [\"*\", \"*.example\"]\nbelow = \"/\"",
            "below = [\"/a/\", \"/te/v1/files/child1/\"]",
            "below = \"/te/v1/files/\"",
            "who = \"*\"\nbelow = \"/te/v1/files/{who}/\"",
            "exactly = \"/c8y/event/events\"",
        ] {
            assert_eq!(doubted(line), Some(2), "{line}");
        }
        for line in [
            "who = \"*\"\nbelow = \"/{who}/te/v1/files/\"",
            "below = \"/te/v1/\"",
            "below = [\"/\", \"/c8yx/\", \"/te/v1/entities/\"]",
        ] {
            assert_eq!(doubted(line), None, "{line}");
        }
    }

    #[test]
    fn a_hostile_name_has_no_corner_of_its_own() {
        for name in ["", "*", "/", "..", "../child1", "child1/", "child1\0", "\u{1b}", "a..b"] {
            for path in ["child1/x", "x", "", "/x", "../x", "*/x", &format!("{name}/x")] {
                assert_eq!(judged(Some(name), "", "GET", path), None, "{name:?} {path:?}");
            }
        }
    }

    #[test]
    fn a_refusal_names_client_verb_and_directory() {
        let rules = parse(LAYOUT.as_bytes()).unwrap();
        let refused = |name: &str, address: &str, method: &str, path: &str| {
            let names = if name.is_empty() { Names::default() } else { Names::one(name) };
            let client = Requester { names: &names, address: address.parse().ok() };
            rules.judge(client).may(Area::WHOLE, method, path).unwrap_err().to_string()
        };
        let text = refused("child1", "::1", "PUT", "a/b");
        assert_eq!(text, "child1 may not write below \"/a/\"");
        let text = refused("", "::ffff:10.0.0.1", "HEAD", "a\n\u{202e}/b/");
        assert_eq!(text, "10.0.0.1 may not read below \"/a\\n\\u{202e}/\"");
        let text = refused("a\u{1b}[31m", "::1", "OPTIONS", "a");
        assert_eq!(text, "a\\u{1b}[31m may not OPTIONS below \"/\"");
    }
}
