//! `tedge config`: prints and changes settings. How they are read and written is in
//! [`settings`](crate::settings).

use std::borrow::Cow;
use std::path::Path;

use super::command_line::{Command, CommandLine, Exit, PROFILE, Word};
use super::print::{print, print_value, report, warn};
use crate::error::Error;
use crate::escape::Escaped;
use crate::settings::{
    self, Layer, OLD_SPELLINGS, Profile, Program, SETTINGS, Setting, Shape, Values, find,
};

/// The subcommand.
pub const COMMAND: Command = Command {
    name: "config",
    summary: "read and change settings",
    verbs: &[
        Word::new("get KEY", "print the value"),
        Word::new("set KEY VALUE", "change the value"),
        Word::new("unset KEY", "restore the default"),
        Word::new("add KEY VALUE", "add VALUE to a list"),
        Word::new("remove KEY VALUE", "remove VALUE from a list"),
        Word::new("list [FILTER]", "print the settings whose key contains FILTER"),
    ],
    options: &[
        Word::with(&["list"], "--all", "include settings that are not set"),
        Word::with(&["list"], "--doc", "explain each setting, with an example"),
        PROFILE,
    ],
    notes: "A setting c8y.KEY of a cloud profile is also called c8y.profiles.NAME.KEY.\n\
            An environment variable overrides the files. For http.bind.port it is\n\
            TEDGE_HTTP_BIND_PORT. Put `--` before a VALUE that begins with a dash.\n\n\
            Example: tedge config set http.bind.address 192.168.1.6\n",
    run,
};

fn run(line: &CommandLine) -> Result<(), Exit> {
    let first = line.text(0)?.unwrap_or_default();
    match line.verb {
        "get" => get(line, &Selected::parse(line, first)?),
        "list" => list(line, first),
        _ => change(line, &Selected::parse(line, first)?),
    }
}

/// A setting, and the cloud profile that it is of.
struct Selected {
    setting: &'static Setting,
    profile: Option<Profile>,
}

impl Selected {
    /// The profile is in the key, or in the option, or in the environment.
    fn parse(line: &CommandLine, key: &str) -> Result<Self, Exit> {
        let (named, plain) = Profile::split(key);
        let setting = known(&plain)?;
        let given = line.profile()?;
        if let (Some(_), Some(given)) = (&named, &given) {
            let both = format!("{key} and --profile {given} name two different profiles");
            return Err(Exit::Failed(Error::Usage(both)));
        }
        let has_profiles = Profile::has(setting);
        if let Some(given) = given.as_ref().filter(|_| !has_profiles) {
            let none = format!("{key} is the same for all profiles: leave out --profile {given}");
            return Err(Exit::Failed(Error::Usage(none)));
        }
        let profile = named.or(given).map_or_else(selected, |profile| Ok(Some(profile)))?;
        Ok(Self { setting, profile: profile.filter(|_| has_profiles) })
    }

    fn key(&self) -> Cow<'static, str> {
        Profile::key(self.profile.as_ref(), self.setting.key)
    }
}

/// The profile of the environment.
fn selected() -> Result<Option<Profile>, Error> {
    Profile::selected(&std::env::vars_os().collect::<Vec<_>>())
}

fn get(line: &CommandLine, selected: &Selected) -> Result<(), Exit> {
    let Selected { setting, profile } = selected;
    let values = read(&line.config_dir(), profile.as_ref())?;
    warn(&values.warnings);
    if profile.as_ref().is_some_and(|profile| !values.profiles.contains(profile)) {
        return Err(Exit::Reported(1));
    }
    values.check(setting)?;
    match values.found(setting) {
        Some(found) => Ok(print_value(&(setting.kind.canonical)(&found.text))?),
        None => {
            report(&format!("The provided config key: '{}' is not set", selected.key()));
            Err(Exit::Reported(1))
        }
    }
}

fn change(line: &CommandLine, selected: &Selected) -> Result<(), Exit> {
    let (setting, profile) = (selected.setting, selected.profile.as_ref());
    let value = line.text(1)?.map(|value| checked(setting, value)).transpose()?;
    let config_dir = line.config_dir();

    let [before, after] = settings::change(&config_dir, profile, setting, |old| {
        changed(setting, line.verb, old, value)
    })?;

    warn_of_override(selected, &config_dir)?;
    warn_of_thin_edge(setting, &after);
    let text =
        |values: &Values, setting: &Setting| values.found(setting).map(|found| found.text.clone());
    for service in [Program::FileTransfer, Program::C8yProxy] {
        let is_changed = |setting: &Setting| {
            setting.used_by.contains(&service) && text(&before, setting) != text(&after, setting)
        };
        if SETTINGS.iter().any(is_changed) {
            let name = Profile::unit(profile, service.name());
            report(&format!("Restart {name} to apply this: systemctl restart {name}"));
        }
    }
    Ok(())
}

/// The new value of a setting, `None` to unset it.
fn changed(
    setting: &Setting,
    verb: &str,
    old: Option<&str>,
    value: Option<String>,
) -> Option<String> {
    let value = value?;
    let is_list = setting.kind.shape == Shape::List;
    let list = |text| settings::items(text).collect::<Vec<_>>();
    let (present, given) = (list(old.unwrap_or_default()), list(&value));
    match verb {
        "add" if is_list => {
            let added = given.into_iter().filter(|item| !present.contains(item));
            Some(present.iter().copied().chain(added).collect::<Vec<_>>().join(","))
        }
        "remove" if is_list => {
            let kept = present.into_iter().filter(|item| !given.contains(item));
            Some(kept.collect::<Vec<_>>().join(",")).filter(|kept| !kept.is_empty())
        }
        // As in thin-edge.io: a single value is removed if it is this one.
        "remove" => old.filter(|old| (setting.kind.canonical)(old) != value).map(str::to_owned),
        _ => Some(value),
    }
}

/// The value to write: checked, and a path made absolute.
fn checked(setting: &Setting, value: &str) -> Result<String, Error> {
    if !(setting.kind.is_valid)(value) {
        let shown = (setting.kind.shown)(value);
        return Err(Error::Failed(format!(
            "{} cannot be '{shown}': expected {}",
            setting.key, setting.kind.expected
        )));
    }
    if setting.kind.path_to.is_none() {
        return Ok((setting.kind.canonical)(value).into_owned());
    }
    let absolute = std::path::absolute(value)
        .map_err(|error| Error::Failed(format!("cannot make {value} absolute: {error}")))?;
    let text = absolute.into_os_string().into_string();
    text.map_err(|path| Error::Failed(format!("{} is not UTF-8", path.to_string_lossy())))
}

/// Warns if something overrides the new value in the files.
fn warn_of_override(selected: &Selected, config_dir: &Path) -> Result<(), Error> {
    let setting = selected.setting;
    let values = read(config_dir, selected.profile.as_ref())?;
    let Some(found) = values.found(setting) else { return Ok(()) };
    let (key, shown) = (selected.key(), found.shown(setting));
    match &found.layer {
        Layer::Environment(variable) => report(&format!(
            "Warning: the environment variable {variable} overrides this: {key} is '{shown}'"
        )),
        Layer::Certificate(path) => report(&format!(
            "Warning: {key} is still '{shown}', the common name in {}",
            path.display()
        )),
        _ => {}
    }
    Ok(())
}

/// Warns if thin-edge.io, whose programs then refuse the whole file, cannot read a new value.
fn warn_of_thin_edge(setting: &Setting, values: &Values) {
    let Some(text) = values.written(setting) else { return };
    let hint = match setting.key {
        "c8y.url" if text.contains(':') => {
            "without a port, and set c8y.http and c8y.mqtt with a port"
        }
        "c8y.http" | "c8y.mqtt" if text.contains('[') => "to a name or an IPv4 address",
        "proxy.address" if text.contains('@') => {
            "without user name and password, and set proxy.username and proxy.password"
        }
        _ => return,
    };
    let key = setting.key;
    report(&format!(
        "Warning: thin-edge.io's own programs do not start with this {key}: set it {hint}"
    ));
}

/// Lists all settings, and those of each profile after them; with `--profile` those of that profile.
fn list(line: &CommandLine, filter: &str) -> Result<(), Exit> {
    let is_given = |option: &str| line.value(option).is_some();
    if is_given("--doc") {
        let wanted = SETTINGS.iter().filter(|setting| setting.key.contains(filter));
        let paragraphs: Vec<_> = wanted.map(Setting::describe).collect();
        return Ok(print(&paragraphs.join("\n"))?);
    }
    let config_dir = line.config_dir();
    let given = line.profile()?;
    let values = read(&config_dir, given.as_ref())?;
    warn(&values.warnings);
    let mut text = String::new();
    let mut refused = None;
    let mut add = |values: &Values, profile: Option<&Profile>| {
        for setting in SETTINGS.iter().filter(|setting| profile.is_none() || Profile::has(setting))
        {
            let key = Profile::key(profile, setting.key);
            if !key.contains(filter) {
                continue;
            }
            let kind = &setting.kind;
            let value = values.found(setting).map(|found| {
                let text = (kind.canonical)(&found.text);
                (kind.shown)(&text).into_owned()
            });
            if let Some(value) = value.or_else(|| is_given("--all").then(Default::default)) {
                text.push_str(&format!("{key}={}\n", Escaped(&value)));
            }
            refused = refused.take().or_else(|| values.check(setting).err());
        }
    };
    add(&values, given.as_ref());
    if given.is_none() {
        for profile in &values.profiles {
            add(&read(&config_dir, Some(profile))?, Some(profile));
        }
    }
    print(&text)?;
    refused.map_or(Ok(()), |error| Err(error.into()))
}

fn read(config_dir: &Path, profile: Option<&Profile>) -> Result<Values, Error> {
    let environment = std::env::vars_os().chain([Profile::environment(profile)]);
    Values::read(config_dir, environment.collect(), &[])
}

/// The setting with this key or old spelling. The error for an unknown key names similar ones.
fn known(key: &str) -> Result<&'static Setting, Error> {
    if let Some(setting) = find(key) {
        return Ok(setting);
    }
    let new = OLD_SPELLINGS.iter().find(|(old, _)| *old == key);
    if let Some((new, setting)) = new.and_then(|(_, new)| Some((new, find(new)?))) {
        report(&format!("Warning: '{key}' is an old spelling of '{new}'"));
        return Ok(setting);
    }
    let nearest = settings::nearest(key);
    let hint = if nearest.is_empty() {
        "`tedge config list --all` prints all keys".to_owned()
    } else {
        format!("did you mean {}?", nearest.join(" or "))
    };
    Err(Error::Usage(format!("unknown key '{key}': {hint}")))
}
