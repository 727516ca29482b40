//! `tedge config`: prints settings and changes them. What a setting is, which one holds and how
//! a file is written is known to [`settings`](crate::settings) alone.

use std::path::Path;

use super::{Command, Line, Stop, Token, Word, print, report};
use crate::error::Error;
use crate::settings::load::Values;
use crate::settings::{self, OLD_SPELLINGS, Origin, Program, SETTINGS, Setting, Shape, edit};

/// The subcommand.
pub const COMMAND: Command = Command {
    name: "config",
    summary: "read and change settings",
    verbs: &[
        Word::new("get KEY", "print the value"),
        Word::new("set KEY VALUE", "change it"),
        Word::new("unset KEY", "go back to the default"),
        Word::new("add KEY VALUE", "add to a list"),
        Word::new("remove KEY VALUE", "remove from a list"),
        Word::new("list [FILTER]", "print all, or those that have FILTER in the key"),
    ],
    options: &[
        Word::with(&["list"], "--all", "list also what is not set"),
        Word::with(&["list"], "--doc", "say what each means, with an example"),
    ],
    notes: "A variable wins over the files: TEDGE_HTTP_BIND_PORT over http.bind.port.\n\
            A value that begins with a dash comes after --.\n\n\
            Example: tedge config set http.bind.address 192.168.1.6\n",
    run,
};

fn run(line: &mut Line) -> Result<(), Stop> {
    match line.verb()? {
        "get" => get(line),
        "list" => list(line),
        verb => change(line, verb),
    }
}

fn get(line: &mut Line) -> Result<(), Stop> {
    let key = line.expect("KEY")?;
    line.end()?;
    let (index, setting) = find(&key)?;
    let values = read(&line.config_dir())?;
    warn(&values);
    values.check(index)?;
    match values.found(index) {
        Some(found) => print(&format!("{}\n", found.text)),
        None => {
            report(&format!("The provided config key: '{}' is not set", setting.key));
            Err(Stop::Reported(1))
        }
    }
}

fn change(line: &mut Line, verb: &str) -> Result<(), Stop> {
    let key = line.expect("KEY")?;
    let value = if verb == "unset" { None } else { Some(line.expect("VALUE")?) };
    line.end()?;
    let (index, setting) = find(&key)?;
    let value = value.map(|value| checked(setting, value)).transpose()?;
    let config_dir = line.config_dir();

    let before = Values::read(&config_dir, Vec::new(), &[]);
    edit::change(&config_dir, setting, |old| changed(setting, verb, old, value.clone()))?;
    let after = Values::read(&config_dir, Vec::new(), &[])?;

    warn_of_others(setting, index, &after, &config_dir)?;
    if let Ok(before) = before {
        for service in [Program::FileTransfer, Program::C8yProxy] {
            let is_concerned = |(index, setting): (usize, &Setting)| {
                setting.used_by.contains(&service)
                    && before.found(index).map(|found| &found.text)
                        != after.found(index).map(|found| &found.text)
            };
            if SETTINGS.iter().enumerate().any(is_concerned) {
                let name = service.name();
                report(&format!("{name} uses this from its next start: systemctl restart {name}"));
            }
        }
    }
    Ok(())
}

/// The new value of a setting, `None` where it is to have none.
fn changed(
    setting: &Setting,
    verb: &str,
    old: Option<&str>,
    value: Option<String>,
) -> Option<String> {
    let value = value?;
    let is_list = setting.kind.shape == Shape::List;
    let items = |text: &str| settings::items(text).map(str::to_owned).collect::<Vec<_>>();
    let old_items = items(old.unwrap_or_default());
    let result = match verb {
        "add" if is_list => {
            let added = items(&value).into_iter().filter(|item| !old_items.contains(item));
            old_items.iter().cloned().chain(added).collect::<Vec<_>>().join(",")
        }
        "remove" if is_list => {
            let removed = items(&value);
            let kept = old_items.into_iter().filter(|item| !removed.contains(item));
            Some(kept.collect::<Vec<_>>().join(",")).filter(|kept| !kept.is_empty())?
        }
        // As thin-edge.io does: one value is removed if it is that one.
        "remove" => old.filter(|old| *old != value)?.to_owned(),
        _ => value,
    };
    Some(result)
}

/// The value as it is written, a path made absolute.
fn checked(setting: &Setting, value: String) -> Result<String, Error> {
    if !(setting.kind.is_valid)(&value) {
        return Err(Error::Failed(format!(
            "{} cannot be '{value}': expected {}",
            setting.key, setting.kind.expected
        )));
    }
    if setting.kind.shape != Shape::Path {
        return Ok(value);
    }
    let absolute = std::path::absolute(&value)
        .map_err(|error| Error::Failed(format!("cannot make {value} absolute: {error}")))?;
    let text = absolute.into_os_string().into_string();
    text.map_err(|path| Error::Failed(format!("{} is not UTF-8", path.to_string_lossy())))
}

/// Says where something else than the files has the last word.
fn warn_of_others(
    setting: &Setting,
    index: usize,
    after: &Values,
    config_dir: &Path,
) -> Result<(), Error> {
    let values = read(config_dir)?;
    if let Some((found, Origin::Environment(variable))) =
        values.found(index).map(|found| (found, &found.origin))
    {
        report(&format!("Warning: {variable} is set here, so {} is '{}'", setting.key, found.text));
    }
    if let Some((found, Origin::Certificate(path))) =
        after.found(index).map(|found| (found, &found.origin))
    {
        report(&format!(
            "Warning: {} is still '{}', the common name in {}",
            setting.key,
            found.text,
            path.display()
        ));
    }
    Ok(())
}

fn list(line: &mut Line) -> Result<(), Stop> {
    let (mut all, mut doc, mut filter) = (false, false, None);
    while let Some(argument) = line.token()? {
        match argument {
            Token::Option("--all") => all = true,
            Token::Option("--doc") => doc = true,
            Token::Word(word) if filter.is_none() => {
                filter = Some(word.to_string_lossy().into_owned());
            }
            other => return Err(other.unexpected()),
        }
    }
    let filter = filter.unwrap_or_default();
    let wanted = SETTINGS.iter().enumerate().filter(|(_, setting)| setting.key.contains(&filter));
    if doc {
        let paragraphs: Vec<_> = wanted.map(|(_, setting)| setting.describe()).collect();
        return print(&paragraphs.join("\n"));
    }
    let values = read(&line.config_dir())?;
    warn(&values);
    let mut text = String::new();
    let mut refused = None;
    for (index, setting) in wanted {
        let value = values.found(index).map(|found| found.text.as_str());
        if let Some(value) = value.or_else(|| all.then_some("")) {
            text.push_str(&format!("{}={value}\n", setting.key));
        }
        refused = refused.or_else(|| values.check(index).err());
    }
    print(&text)?;
    refused.map_or(Ok(()), |error| Err(error.into()))
}

fn read(config_dir: &Path) -> Result<Values, Error> {
    Values::read(config_dir, std::env::vars_os().collect(), &[])
}

fn warn(values: &Values) {
    for warning in &values.warnings {
        report(&format!("Warning: {warning}"));
    }
}

/// The setting that a key means. An unknown key fails with the nearest ones.
fn find(key: &str) -> Result<(usize, &'static Setting), Error> {
    if let Some(found) = settings::find(key) {
        return Ok(found);
    }
    let new = OLD_SPELLINGS.iter().find(|(old, _)| *old == key).map(|(_, new)| new);
    if let Some((new, found)) = new.and_then(|new| Some((new, settings::find(new)?))) {
        report(&format!("Warning: '{key}' is an old spelling of '{new}'"));
        return Ok(found);
    }
    let nearest = settings::nearest(key);
    let hint = if nearest.is_empty() {
        "`tedge config list --all` prints all keys".to_owned()
    } else {
        format!("did you mean {}?", nearest.join(" or "))
    };
    Err(Error::Usage(format!("unknown key '{key}': {hint}")))
}
