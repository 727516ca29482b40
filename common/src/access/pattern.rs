//! The paths that a rule names: all below a directory, or exactly one.

/// A directory with rules of its own. A path in a rule that begins with this directory, before
/// `{who}` is replaced, is about requests within it only. Any other path in a rule is about all
/// other requests only. `below = "/"` is about both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Relative, without a slash at its end; empty if there is no such directory.
    pub directory: &'static str,
    /// Whether the request is within it.
    pub is_within: bool,
}

impl Area {
    /// No directory has rules of its own.
    pub const WHOLE: Self = Self { directory: "", is_within: true };
}

/// A directory or a path of a rule. It can contain `{who}`, the name of the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The text before, between and after the client's name. It is relative: a directory ends with a
    /// slash, the root is empty.
    pieces: Box<[String]>,
    is_exact: bool,
}

impl Pattern {
    pub(super) fn below(path: &str) -> Result<Self, &'static str> {
        let mut relative = checked(path)?.to_owned();
        if !relative.is_empty() {
            relative.push('/');
        }
        Self::new(&relative, false)
    }

    pub(super) fn exactly(path: &str) -> Result<Self, &'static str> {
        Self::new(checked(path)?, true)
    }

    fn new(relative: &str, is_exact: bool) -> Result<Self, &'static str> {
        let pieces: Box<[_]> = relative.split("{who}").map(str::to_owned).collect();
        if pieces.iter().any(|piece| piece.contains(['{', '}'])) {
            return Err("{ and } are allowed only in {who}");
        }
        Ok(Self { pieces, is_exact })
    }

    pub(super) fn has_name(&self) -> bool {
        self.pieces.len() > 1
    }

    /// Whether its path begins with these directories, which end with a slash.
    pub(super) fn begins_with(&self, directories: &str) -> bool {
        self.pieces.first().is_some_and(|first| first.starts_with(directories))
    }

    /// Whether it is about requests of this area. `{who}` is not replaced: a client with the name of
    /// the directory gains nothing by that name.
    pub(super) fn is_about(&self, area: Area) -> bool {
        let start = self.pieces.first().map_or("", String::as_str);
        let is_root = start.is_empty() && !self.is_exact && !self.has_name();
        let rest = start.strip_prefix(area.directory);
        let is_within =
            rest.is_some_and(|rest| rest.starts_with('/') || (rest.is_empty() && !self.has_name()));
        area.directory.is_empty() || is_root || is_within == area.is_within
    }

    /// Whether it contains this path. The path is relative and decoded, and no part of it is empty,
    /// `.` or `..`. A slash at its end means that it may be a directory.
    pub(super) fn holds(&self, path: &str, name: &str) -> bool {
        self.rest(path, name).is_some_and(|rest| !self.is_exact || matches!(rest, "" | "/"))
    }

    fn rest<'a>(&self, path: &'a str, name: &str) -> Option<&'a str> {
        let (first, others) = self.pieces.split_first()?;
        let mut rest = path.strip_prefix(&**first)?;
        for piece in others {
            rest = rest.strip_prefix(name)?.strip_prefix(&**piece)?;
        }
        Some(rest)
    }
}

/// The path without its first and last slashes, if a request can have this path.
fn checked(path: &str) -> Result<&str, &'static str> {
    let relative = path.strip_prefix('/').ok_or("a path must begin with a slash")?;
    // Topic identifiers of thin-edge.io end in slashes: "/te/v1/entities/device/child1//".
    let relative = relative.trim_end_matches('/');
    if relative.contains(char::is_control) {
        return Err("a path must not contain control characters");
    }
    if path != "/" && relative.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("write the path without empty parts, \".\" and \"..\"");
    }
    Ok(relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_holds_what_is_below_it() {
        for (below, path, is_held) in [
            ("/a/", "a/b", true),
            ("/a/", "a/b/c", true),
            ("/a", "a/b", true),
            ("/a//", "a/b", true),
            ("/a/", "a/", true),
            ("/a/", "a", false),
            ("/a/", "ab", false),
            ("/a/", "A/b", false),
            ("/a/", "b/a/c", false),
            ("/", "a", true),
            ("/", "", true),
            ("/{who}/", "me/x", true),
            ("/{who}/", "you/x", false),
            ("/{who}/", "mee/x", false),
            ("/{who}/", "me", false),
            ("/device_{who}__/", "device_me__/x", true),
            ("/device_{who}__/", "device_me_/x", false),
            ("/device_{who}__/", "device_you__/x", false),
            ("/{who}/{who}/", "me/me/x", true),
            ("/{who}/{who}/", "me/you/x", false),
        ] {
            assert_eq!(Pattern::below(below).unwrap().holds(path, "me"), is_held, "{below} {path}");
        }
    }

    #[test]
    fn an_exact_path_holds_itself() {
        for (exactly, path, is_held) in [
            ("/event/events", "event/events", true),
            ("/event/events", "event/events/", true),
            ("/event/events/", "event/events", true),
            ("/device/{who}//", "device/me/", true),
            ("/device/{who}//", "device/me/x", false),
            ("/event/events", "event/events/1", false),
            ("/event/events", "event/events1", false),
            ("/{who}", "me", true),
            ("/{who}", "you", false),
            ("/", "", true),
            ("/", "a", false),
        ] {
            let pattern = Pattern::exactly(exactly).unwrap();
            assert_eq!(pattern.holds(path, "me"), is_held, "{exactly} {path}");
        }
    }

    #[test]
    fn a_directory_of_its_own_is_meant_where_it_is_named() {
        let within = Area { directory: "te/v1/entities", is_within: true };
        let outside = Area { is_within: false, ..within };
        let is_about = |pattern: &Pattern| (pattern.is_about(within), pattern.is_about(outside));
        for (below, expected) in [
            ("/te/v1/entities/device/{who}/", (true, false)),
            ("/te/v1/entities/", (true, false)),
            ("/", (true, true)),
            ("/te/v1/", (false, true)),
            ("/te/", (false, true)),
            ("/te/v1/entities2/", (false, true)),
            ("/te/v1/entities{who}/", (false, true)),
            ("/{who}/", (false, true)),
            ("/te/{who}/entities/", (false, true)),
        ] {
            let pattern = Pattern::below(below).unwrap();
            assert_eq!(is_about(&pattern), expected, "{below}");
            assert!(pattern.is_about(Area::WHOLE), "{below}");
        }
        assert_eq!(is_about(&Pattern::exactly("/te/v1/entities").unwrap()), (true, false));
        assert_eq!(is_about(&Pattern::exactly("/").unwrap()), (false, true));
    }

    #[test]
    fn a_path_that_no_request_has_is_refused() {
        for bad in ["", "a/", "//", "/a//b", "/../", "/a/./b", "/a/..", "/a\0b", "/{Who}/", "/{"] {
            assert!(Pattern::below(bad).is_err(), "{bad}");
        }
    }
}
