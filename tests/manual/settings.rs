//! The files about settings: the table in README.md, and what is installed as `tedge.toml` and
//! `tedge-http.toml`.

use std::fmt::Write;

use common::settings::{Fallback, SETTINGS, Shape, wrap};

/// The table in README.md.
pub(crate) fn markdown() -> String {
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
pub(crate) fn template(own: bool) -> String {
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
