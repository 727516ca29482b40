//! A man page in mdoc(7), section by section. Knows the language and not what a page says.

use std::fmt::Write;

use common::cli::Word;

/// The day on which the pages were last worth reading again.
const DATE: &str = "November 24, 2026";

/// A page that is being written.
pub(crate) struct Page(String);

impl Page {
    /// A page of this name, as `name(8)`, with what it is about in a line.
    pub(crate) fn new(name: &str, section: u8, about: &str) -> Self {
        let mut page = Self(String::from(
            ".\\\" Made from the tables in the source by tests/manual.rs; not to be edited.\n",
        ));
        page.line(&format!(".Dd {DATE}"));
        page.line(&format!(".Dt {} {section}", name.to_uppercase()));
        page.line(".Os tedge");
        page.section("NAME");
        page.line(&format!(".Nm {name}"));
        page.line(&format!(".Nd {}", escaped(about)));
        page
    }

    /// A line that is mdoc already.
    pub(crate) fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// A section begins.
    pub(crate) fn section(&mut self, name: &str) {
        self.line(&format!(".Sh {name}"));
    }

    /// A section of a section begins.
    pub(crate) fn subsection(&mut self, name: &str) {
        self.line(&format!(".Ss {name}"));
    }

    /// Text, each sentence on a line of its own. What stands between backquotes is typed so.
    pub(crate) fn text(&mut self, text: &str) {
        let words: Vec<_> = text.split_whitespace().collect();
        let mut line = String::new();
        for (index, word) in words.iter().enumerate() {
            line.push_str(word);
            let is_end = word.ends_with(['.', ':', ';']) || index + 1 == words.len();
            let is_typed = line.matches('`').count() % 2 == 1;
            if (is_end || line.len() > 50) && !is_typed {
                self.marked(&line);
                line.clear();
                continue;
            }
            line.push(' ');
        }
    }

    fn marked(&mut self, line: &str) {
        let mut text = String::new();
        for (index, part) in line.split('`').enumerate() {
            if index % 2 == 1 {
                // What is typed is not broken at a hyphen.
                let _ = write!(text, "\\fB{}\\fR", escaped(part).replace('-', "\\-"));
            } else {
                text.push_str(&escaped(part));
            }
        }
        self.line(&text);
    }

    /// A paragraph begins.
    pub(crate) fn paragraph(&mut self) {
        self.line(".Pp");
    }

    /// What is typed, on a line of its own.
    pub(crate) fn example(&mut self, line: &str) {
        self.line(&format!(".Dl {}", escaped(line)));
    }

    /// A list of names, each with what it means: the name is mdoc, the meaning text.
    pub(crate) fn list(&mut self, items: impl IntoIterator<Item = (String, String)>) {
        self.line(".Bl -tag -width Ds");
        for (name, meaning) in items {
            self.line(&format!(".It {name}"));
            self.text(&meaning);
        }
        self.line(".El");
    }

    /// A list of verbs or options.
    pub(crate) fn words(&mut self, words: &[Word]) {
        self.list(words.iter().map(|word| {
            let only = match word.verbs {
                [] => String::new(),
                verbs => format!(" With {}.", verbs.join(", ")),
            };
            (typed(word), format!("{}.{only}", capital(word.meaning)))
        }));
    }

    /// The whole page.
    pub(crate) fn end(self) -> String {
        self.0
    }
}

/// A verb or an option, with what follows it.
pub(crate) fn typed(word: &Word) -> String {
    let name = match word.name().strip_prefix('-') {
        Some(option) => format!("Fl {option}"),
        None => format!("Cm {}", word.name()),
    };
    name + &arguments(word.follows())
}

/// What follows a verb or an option: `URI [CONTENT]`.
fn arguments(follows: &str) -> String {
    let argument = |argument: &str| match argument.strip_prefix('[') {
        Some(inner) => format!(" Op Ar {}", inner.trim_end_matches(']')),
        None => match argument.strip_suffix('…') {
            Some(repeated) => format!(" Ar {repeated} ..."),
            None => format!(" Ar {argument}"),
        },
    };
    follows.split_whitespace().map(argument).collect()
}

pub(crate) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| format!("{}{}", first.to_uppercase(), letters.as_str()))
}

/// Text that is nothing but text.
pub(crate) fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('…', "...");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
