//! Describes settings in words, from the table: for `tedge config list --doc`, and for the files
//! that `tests/manual` makes. Reads no value.

use std::fmt::Write;

use super::setting::{Fallback, Setting};

impl Setting {
    /// What the setting means, on one line.
    pub fn meaning(&self) -> &'static str {
        self.meaning.trim_start()
    }

    /// The default in words, "unset" if there is none.
    pub fn default_in_words(&self) -> String {
        match self.fallback {
            Fallback::Unset => "unset".to_owned(),
            Fallback::Const(text) => text.to_owned(),
            Fallback::Below(path) => format!("{path} in the configuration directory"),
            Fallback::Like(keys, last) => {
                let mut words = String::from("the value of ");
                words.push_str(&keys.join(", else of "));
                if let Some(last) = last {
                    let _ = write!(words, ", else {last}");
                }
                words
            }
        }
    }

    /// The programs that read it, separated by commas.
    pub fn users(&self) -> String {
        let names: Vec<_> = self.used_by.iter().map(|program| program.name()).collect();
        names.join(", ")
    }

    /// The paragraph of `tedge config list --doc`.
    pub fn describe(&self) -> String {
        format!(
            "{}\n    {}\n    Takes {}. Default: {}. Example: {}\n    Used by {}.\n",
            self.key,
            wrap(self.meaning(), "    "),
            self.kind.expected,
            self.default_in_words(),
            self.example,
            self.users(),
        )
    }
}

/// The text in lines of at most 96 characters; each line but the first begins with `start`.
pub fn wrap(text: &str, start: &str) -> String {
    const WIDTH: usize = 96;
    let mut wrapped = String::new();
    let mut column = start.len();
    for word in text.split_whitespace() {
        if column + 1 + word.len() > WIDTH {
            wrapped.push('\n');
            wrapped.push_str(start);
            column = start.len();
        } else if !wrapped.is_empty() {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += word.len();
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SETTINGS;

    #[test]
    fn lines_are_no_longer_than_a_screen() {
        for setting in SETTINGS {
            assert!(wrap(setting.meaning(), "    ").lines().all(|line| line.len() <= 96));
        }
    }
}
