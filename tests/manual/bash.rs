//! bash completion. The scripts need nothing but bash: a small device has no bash-completion.

use std::fmt::Write;

use common::cli::{COMMANDS, OPTIONS, Word};
use common::run;
use common::settings::{Program, SETTINGS, Shape};

const HEAD: &str = "# Made from the tables in the source by tests/manual.rs; not to be edited.\n";

/// The completion of `tedge`.
pub(crate) fn tedge() -> String {
    let everywhere = names(OPTIONS);
    let mut text = HEAD.to_owned();
    text.push_str(
        "_tedge() {\n\
         \x20   local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n\
         \x20   local command= verb= words=() i\n\
         \x20   COMPREPLY=()\n",
    );
    values(&mut text, COMMANDS.iter().flat_map(|command| command.options).chain(OPTIONS));
    let _ = write!(
        text,
        "    for ((i = 1; i < COMP_CWORD; i++)); do\n\
         \x20       case ${{COMP_WORDS[i]}} in\n\
         \x20           {}) ((i++)) ;;\n\
         \x20           -*) ;;\n\
         \x20           *) words+=(\"${{COMP_WORDS[i]}}\") ;;\n\
         \x20       esac\n\
         \x20   done\n\
         \x20   command=${{words[0]}} verb=${{words[1]}}\n\
         \x20   case ${{#words[@]}}:$command:$verb:$word in\n",
        taking(COMMANDS.iter().flat_map(|command| command.options).chain(OPTIONS)),
    );
    let commands: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
    let commands = commands.join(" ");
    let _ = writeln!(text, "        0:*:-*) _tedge_words {everywhere} ;;");
    let _ = writeln!(text, "        0:*) _tedge_words {commands} ;;");
    for command in COMMANDS {
        let name = command.name;
        let _ = writeln!(text, "        1:{name}:*:-*) _tedge_words {everywhere} ;;");
        let _ = writeln!(text, "        1:{name}:*) _tedge_words {} ;;", names(command.verbs));
        for verb in command.verbs {
            let options = command
                .options
                .iter()
                .filter(|option| option.verbs.is_empty() || option.verbs.contains(&verb.name()));
            let options: Vec<_> = options.map(Word::name).collect();
            let verb_name = verb.name();
            let _ = writeln!(
                text,
                "        *:{name}:{verb_name}:-*) _tedge_words {} ;;",
                [options.join(" "), everywhere.clone()].join(" ").trim_start(),
            );
            for (index, argument) in verb.follows().split_whitespace().enumerate() {
                let number = match argument.ends_with('…') {
                    true => "*".to_owned(),
                    false => (index + 2).to_string(),
                };
                if let Some(action) = action(argument.trim_matches(['[', ']', '…'])) {
                    let _ = writeln!(text, "        {number}:{name}:{verb_name}:*) {action} ;;");
                }
            }
        }
    }
    text.push_str("    esac\n}\n\n");
    text.push_str(HELPERS);
    text.push_str(&value_of_setting());
    text.push_str("\ncomplete -F _tedge tedge\n");
    text
}

/// The completion of a service.
pub(crate) fn service(program: Program) -> String {
    let name = program.name();
    let function = format!("_{}", name.replace('-', "_"));
    let mut text = HEAD.to_owned();
    let _ = write!(
        text,
        "{function}() {{\n\
         \x20   local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}\n\
         \x20   COMPREPLY=()\n",
    );
    values(&mut text, run::OPTIONS.iter());
    let _ = write!(
        text,
        "    mapfile -t COMPREPLY < <(compgen -W '{} tedge' -- \"$word\")\n}}\n\n\
         complete -F {function} {name}\n",
        names(run::OPTIONS),
    );
    text
}

const HELPERS: &str = "_tedge_words() {
    mapfile -t COMPREPLY < <(compgen -W \"$*\" -- \"$word\")
}

_tedge_files() {
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- \"$word\")
}

";

/// What may follow an option that takes something.
fn values<'a>(text: &mut String, options: impl Iterator<Item = &'a Word> + Clone) {
    text.push_str("    case $before in\n");
    for (kind, action) in [
        ("DIR", "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$word\")"),
        ("FILE", "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$word\")"),
        (
            "LEVEL",
            "mapfile -t COMPREPLY < <(compgen -W 'error warn info debug trace' -- \"$word\")",
        ),
    ] {
        let of_kind = options.clone().filter(|option| option.follows() == kind);
        let pattern: Vec<_> = of_kind.map(Word::name).collect();
        if !pattern.is_empty() {
            let _ = writeln!(text, "        {}) {action}; return ;;", pattern.join("|"));
        }
    }
    let others: Vec<_> = options
        .filter(|option| !["", "DIR", "FILE", "LEVEL"].contains(&option.follows()))
        .map(Word::name)
        .collect();
    if !others.is_empty() {
        let _ = writeln!(text, "        {}) return ;;", others.join("|"));
    }
    text.push_str("    esac\n");
}

/// What completes an argument of this name.
fn action(argument: &str) -> Option<String> {
    match argument {
        "KEY" | "FILTER" => Some("_tedge_words $(_tedge_keys)".to_owned()),
        "VALUE" => Some("_tedge_value \"${words[2]}\"".to_owned()),
        "FILE" => Some("_tedge_files".to_owned()),
        "URI" => Some(
            "compopt -o nospace; _tedge_words /c8y/ /te/v1/files/ /tedge/file-transfer/ /health"
                .to_owned(),
        ),
        _ => None,
    }
}

/// The keys, and the values of a setting, where a few words or a path can be one.
fn value_of_setting() -> String {
    let mut text = String::from("_tedge_keys() {\n    echo");
    for setting in SETTINGS {
        let _ = write!(text, " \\\n        {}", setting.key);
    }
    text.push_str("\n}\n\n");
    text.push_str("_tedge_value() {\n    case $1 in\n");
    let paths: Vec<_> = SETTINGS
        .iter()
        .filter(|setting| setting.kind.shape == Shape::Path)
        .map(|setting| setting.key)
        .collect();
    let _ = writeln!(text, "        {}) _tedge_files ;;", paths.join("|"));
    for setting in SETTINGS {
        let name = setting.kind.name;
        if name.contains(" or ") && !name.contains("size") {
            let words = name.replace(',', "").replace(" or ", " ");
            let _ = writeln!(text, "        {}) _tedge_words {words} ;;", setting.key);
        }
    }
    text.push_str("    esac\n}\n");
    text
}

/// A pattern of the options that take something.
fn taking<'a>(options: impl Iterator<Item = &'a Word>) -> String {
    let names: Vec<_> =
        options.filter(|option| !option.follows().is_empty()).map(Word::name).collect();
    names.join("|")
}

fn names(words: &[Word]) -> String {
    let names: Vec<_> = words.iter().map(Word::name).collect();
    names.join(" ")
}
