//! All texts about settings, generated from the table: the output of `tedge config list --doc`, the
//! table in README.md, and the files that the packages install. Reads no value.

use std::fmt::Write;

use super::column::Shape;
use super::setting::{Fallback, Setting};
use super::table::SETTINGS;

impl Setting {
    /// What the setting means, on one line.
    pub fn meaning(&self) -> &'static str {
        self.meaning.trim_start()
    }

    /// The default in words, "unset" where there is none.
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

    fn users(&self) -> String {
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

/// The table in README.md.
pub fn markdown() -> String {
    let mut table =
        String::from("| key | meaning | type | default | used by |\n|---|---|---|---|---|\n");
    for setting in SETTINGS {
        let plus = if setting.own { " +" } else { "" };
        let _ = writeln!(
            table,
            "| `{}`{plus} | {} | {} | {} | {} |",
            setting.key,
            setting.meaning(),
            setting.kind.name,
            setting.default_in_words(),
            setting.users(),
        );
    }
    table
}

/// The file to install as `tedge.toml`, or as `tedge-http.toml` for the settings that thin-edge.io
/// lacks: every setting under its table's header, commented out.
pub fn template(own: bool) -> String {
    let mut text = String::from(
        "# Settings of tedge-file-transfer and tedge-c8y-proxy, read at start.\n\
         # `tedge config set KEY VALUE` changes them, `tedge config list --doc` explains them.\n",
    );
    let mut header = "";
    for setting in SETTINGS.iter().filter(|setting| setting.own == own) {
        let (table, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
        if table != header {
            let _ = writeln!(text, "\n[{table}]");
            header = table;
        }
        let value = match (setting.kind.shape, &setting.fallback) {
            (Shape::Integer | Shape::Boolean, Fallback::Const(text)) => (*text).to_owned(),
            (Shape::Integer | Shape::Boolean, _) => setting.example.to_owned(),
            (_, Fallback::Const(text)) => format!("\"{text}\""),
            (_, _) => format!("\"{}\"", setting.example),
        };
        let _ = writeln!(
            text,
            "# {}\n# Default: {}.\n#{name} = {value}",
            wrap(setting.meaning(), "# "),
            setting.default_in_words(),
        );
    }
    text
}

/// The text in lines of no more than 96 characters, the later ones begun by `start`.
fn wrap(text: &str, start: &str) -> String {
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
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::settings::Settings;

    fn in_repository(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
    }

    /// Fails where the file is stale; with UPDATE=1 in the environment, writes it.
    fn is_fresh(path: &str, fresh: &dyn Fn(&str) -> String) {
        let path = in_repository(path);
        let old = fs::read_to_string(&path).unwrap_or_default();
        let new = fresh(&old);
        if old != new && std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            #[expect(clippy::disallowed_methods, reason = "a test blocks nobody")]
            fs::write(&path, new).unwrap();
        } else {
            assert!(old == new, "{} is stale: run the tests with UPDATE=1", path.display());
        }
    }

    #[test]
    fn the_installed_files_say_what_the_table_says() {
        is_fresh("packaging/tedge.toml", &|_| template(false));
        is_fresh("packaging/tedge-http.toml", &|_| template(true));
    }

    #[test]
    fn the_readme_says_what_the_table_says() {
        const BEGIN: &str = "<!-- settings -->\n";
        const END: &str = "<!-- /settings -->";
        is_fresh("README.md", &|old| {
            let (before, rest) = old.split_once(BEGIN).expect("README.md with <!-- settings -->");
            let (_, after) = rest.split_once(END).expect("README.md with <!-- /settings -->");
            format!("{before}{BEGIN}{}{END}{after}", markdown())
        });
    }

    #[test]
    fn an_installed_file_sets_nothing_and_all_of_it_can_be_uncommented() {
        let directory = std::env::temp_dir().join(format!("template-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let uncommented = |text: String| -> String {
            let line = |line: &str| match line.strip_prefix('#') {
                Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
                _ => format!("{line}\n"),
            };
            text.lines().map(line).collect()
        };
        for (own, name) in [(false, "tedge.toml"), (true, "tedge-http.toml")] {
            #[expect(clippy::disallowed_methods, reason = "a test blocks nobody")]
            fs::write(directory.join(name), uncommented(template(own))).unwrap();
        }
        let loaded = Settings::load(&directory, [], &[]).unwrap();
        assert_eq!((loaded.warnings, loaded.unknown), (Vec::new(), Vec::new()));
        let defaults = SETTINGS.iter().filter(|setting| {
            matches!(loaded.settings.layer(setting.key), crate::settings::Layer::Default)
        });
        assert_eq!(defaults.count(), 0);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn lines_are_no_longer_than_a_screen() {
        for setting in SETTINGS {
            assert!(wrap(setting.meaning(), "    ").lines().all(|line| line.len() <= 96));
        }
    }
}
