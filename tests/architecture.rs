//! The structure of the sources: modules do not import each other in a circle, and none imports
//! from a module above it.
//!
//! Reads only the source files. A module is a file; each path that it names by `crate::`, `super::`
//! or, in a service, `common::` counts as an import, except in its tests.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test blocks nobody")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `common`, each above what it may import.
const ORDER: &[&str] = &[
    "run",
    "cli",
    "server",
    "client",
    "http",
    "storage",
    "tls",
    "staging",
    "access",
    "settings",
    "journal",
    "x509",
    "crypto",
    "net",
    "error",
    "escape",
    "regular_file",
    "tasks",
    "walk",
];

/// Only for tests: they may look at everything.
const TEST_MODULES: &[&str] = &["fuzzing", "testing", "tests"];

/// The files of one crate, and the modules that each of them names.
struct Sources(BTreeMap<Vec<String>, BTreeSet<Vec<String>>>);

impl Sources {
    fn read(name: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let mut files = Vec::new();
        collect(&root, &mut files);
        let modules: Vec<(Vec<String>, String)> = files
            .iter()
            .map(|file| (module(&root, file), fs::read_to_string(file).unwrap()))
            .filter(|(module, _)| !module.iter().any(|part| TEST_MODULES.contains(&part.as_str())))
            .collect();
        let known: BTreeSet<Vec<String>> =
            modules.iter().map(|(module, _)| module.clone()).collect();
        let imports = modules.iter().map(|(module, text)| {
            let named = paths(text).into_iter().filter_map(|path| resolve(module, &path, &known));
            (module.clone(), named.collect())
        });
        Self(imports.collect())
    }

    /// Imports between the children of `parent`, each with a file as an example.
    fn between_children(&self, parent: &[String]) -> BTreeMap<(String, String), String> {
        let mut found = BTreeMap::new();
        for (from, targets) in &self.0 {
            for to in targets {
                if let (Some(a), Some(b)) = (child(parent, from), child(parent, to)) {
                    if a != b {
                        let example = format!("{} -> {}", from.join("::"), to.join("::"));
                        found.entry((a.to_owned(), b.to_owned())).or_insert(example);
                    }
                }
            }
        }
        found
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// `src/a/b.rs` is `[a, b]`; `lib.rs` and `main.rs` are the root.
fn module(root: &Path, file: &Path) -> Vec<String> {
    let path = file.strip_prefix(root).unwrap().with_extension("");
    let parts = path.iter().map(|part| part.to_str().unwrap().to_owned());
    parts.filter(|part| part != "lib" && part != "main").collect()
}

/// The paths that the text names, outside comments and its tests.
fn paths(text: &str) -> Vec<Vec<String>> {
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line.trim(), " "])
        .collect();
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let is_begin = code[..at].chars().next_back().is_none_or(|c| !is_name(c) && c != ':');
            if is_begin {
                expand(&code[at..], Vec::new(), &mut found);
            }
        }
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Takes `a::b::{c, d::e}` apart. Returns what follows it.
fn expand<'a>(text: &'a str, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let mut rest = text.trim_start();
    loop {
        if let Some(mut inside) = rest.strip_prefix('{') {
            loop {
                inside = expand(inside, path.clone(), found).trim_start();
                match inside.strip_prefix(',') {
                    Some(next) if !next.trim_start().starts_with('}') => inside = next,
                    other => return other.unwrap_or(inside).trim_start().trim_start_matches('}'),
                }
            }
        }
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        path.push(rest[..end].to_owned());
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(next) if end > 0 => rest = next,
            _ => break,
        }
    }
    found.push(path);
    let end = rest.find([',', '}', ';']).unwrap_or(rest.len());
    &rest[end..]
}

/// The module of this crate that a path leads to.
fn resolve(from: &[String], path: &[String], known: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    let mut at = match path.first()?.as_str() {
        "crate" => Vec::new(),
        _ => from.to_owned(),
    };
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => drop(at.pop()),
            name => {
                let mut next = at.clone();
                next.push(name.to_owned());
                if !known.contains(&next) {
                    break;
                }
                at = next;
            }
        }
    }
    Some(at)
}

/// The part of `module` directly below `parent`.
fn child<'a>(parent: &[String], module: &'a [String]) -> Option<&'a str> {
    module.strip_prefix(parent)?.first().map(String::as_str)
}

/// Some circle among these arrows, if there is one.
fn circle(arrows: &BTreeMap<(String, String), String>) -> Option<Vec<String>> {
    let mut rest = arrows.clone();
    loop {
        let before = rest.len();
        let sources: BTreeSet<String> = rest.keys().map(|(from, _)| from.clone()).collect();
        let targets: BTreeSet<String> = rest.keys().map(|(_, to)| to.clone()).collect();
        rest.retain(|(from, to), _| targets.contains(from) && sources.contains(to));
        if rest.is_empty() {
            return None;
        }
        if rest.len() == before {
            return Some(rest.into_values().collect());
        }
    }
}

#[test]
fn no_module_imports_one_above_it() {
    let rank = |name: &str| ORDER.iter().position(|known| *known == name);
    for ((from, to), example) in Sources::read("common").between_children(&[]) {
        let (Some(above), Some(below)) = (rank(&from), rank(&to)) else {
            panic!("{example}: say in ORDER where the module stands");
        };
        assert!(above < below, "{from} stands below {to}, but imports it: {example}");
    }
}

#[test]
fn imports_form_no_circle() {
    for name in ["common", "file_transfer", "c8y_proxy"] {
        let sources = Sources::read(name);
        assert!(sources.0.len() > 5, "{name}: the sources are not where they were");
        let parents: BTreeSet<&[String]> = sources
            .0
            .keys()
            .flat_map(|module| (0..module.len()).map(move |length| &module[..length]))
            .collect();
        for parent in parents {
            let found = circle(&sources.between_children(parent));
            assert_eq!(found, None, "{name}::{}: the imports form a circle", parent.join("::"));
        }
    }
}

#[test]
fn no_source_file_is_longer_than_400_lines() {
    for name in ["common", "file_transfer", "c8y_proxy"] {
        let mut files = Vec::new();
        collect(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src"),
            &mut files,
        );
        for file in files {
            let lines = fs::read_to_string(&file).unwrap().lines().count();
            assert!(lines <= 400, "{} has {lines} lines", file.display());
        }
    }
}

#[test]
fn a_circle_is_found() {
    let text = "use crate::{a::{self, b}, c};\nuse super::d;\nlet x = crate::e::f();\n";
    let found: Vec<String> = paths(text).iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["crate::a::self", "crate::a::b", "crate::c", "crate::e::f", "super::d"]);
    let arrow = |from: &str, to: &str| ((from.to_owned(), to.to_owned()), format!("{from}{to}"));
    let straight = BTreeMap::from([arrow("a", "b"), arrow("b", "c")]);
    assert_eq!(circle(&straight), None);
    let round = BTreeMap::from([arrow("a", "b"), arrow("b", "c"), arrow("c", "b")]);
    assert_eq!(circle(&round), Some(vec!["bc".to_owned(), "cb".to_owned()]));
}
