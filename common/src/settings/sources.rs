//! What arguments, environment and files say, side by side, and which of it holds for a setting.
//! Texts only; types come later.

use std::ffi::OsString;
use std::path::Path;

use super::file::{self, Entry, File, MAPPER_PREFIX, Written};
use super::load::{Found, Origin};
use super::nearest::slip_of;
use super::{Fallback, OLD_SPELLINGS, SETTINGS, Setting, find, variable};
use crate::error::Error;

/// All that was said, and what a person should hear about it.
#[derive(Default)]
pub(super) struct Sources {
    said: Vec<Said>,
    has_mapper: bool,
    pub(super) warnings: Vec<String>,
    pub(super) unknown: Vec<String>,
}

/// One value that somebody wrote somewhere.
struct Said {
    key: String,
    /// `None` unsets.
    value: Option<Written>,
    origin: Origin,
    file: Option<File>,
}

impl Sources {
    pub(super) fn add_arguments(&mut self, arguments: &[(&'static str, String)]) {
        self.said.extend(arguments.iter().map(|(key, text)| Said {
            key: (*key).to_owned(),
            value: Some(Written::Text(text.clone())),
            origin: Origin::Argument,
            file: None,
        }));
    }

    /// Takes the variables that are keys of ours, and notes those that look like it.
    pub(super) fn add_environment(
        &mut self,
        environment: Vec<(OsString, OsString)>,
    ) -> Result<(), Error> {
        for (name, text) in environment {
            let Some(name) = name.to_str().filter(|name| name.starts_with("TEDGE_")) else {
                continue;
            };
            let Some(key) = readable_keys().find(|key| variable(key) == name) else {
                if name != "TEDGE_CONFIG_DIR" {
                    self.note_unknown_variable(name);
                }
                continue;
            };
            let text = text.into_string().map_err(|_| {
                Error::Configuration(format!("{name} in the environment is not UTF-8"))
            })?;
            self.note_old_spelling(key, name);
            self.said.push(Said {
                key: key.to_owned(),
                value: (!text.is_empty()).then_some(Written::Text(text)),
                origin: Origin::Environment(name.to_owned()),
                file: None,
            });
        }
        Ok(())
    }

    /// Reads the files below the configuration directory.
    pub(super) fn add_files(&mut self, config_dir: &Path) -> Result<(), Error> {
        self.has_mapper = File::Mapper.path(config_dir).exists();
        for file in File::ALL {
            let path = file.path(config_dir);
            let Some(entries) = file::read(&path, file.prefix(), |key| find(key).is_some())? else {
                continue;
            };
            let mut ignored = false;
            for Entry { key, value, line } in entries {
                let origin = Origin::File { path: path.clone(), line };
                if file == File::Tedge && self.has_mapper && key.starts_with(MAPPER_PREFIX) {
                    if !ignored {
                        self.warnings.push(format!(
                            "[c8y] in {origin} is ignored, since there is {}",
                            File::Mapper.path(config_dir).display()
                        ));
                    }
                    ignored = true;
                    continue;
                }
                self.add_entry(config_dir, file, key, value, origin)?;
            }
        }
        Ok(())
    }

    fn add_entry(
        &mut self,
        config_dir: &Path,
        file: File,
        key: String,
        value: Written,
        origin: Origin,
    ) -> Result<(), Error> {
        let place = origin.to_string();
        if !readable_keys().any(|known| known == key) {
            let is_table =
                |known: &str| known.strip_prefix(&key).is_some_and(|rest| rest.starts_with('.'));
            if readable_keys().any(is_table) {
                return Err(Error::Configuration(format!(
                    "{key} in {place}: expected a table, [{key}]"
                )));
            }
            match slip_of(&key) {
                Some(meant) => self
                    .warnings
                    .push(format!("unknown key '{key}' in {place}: did you mean '{meant}'?")),
                None => self.unknown.push(format!("{key} in {place}")),
            }
            return Ok(());
        }
        self.note_old_spelling(&key, &place);
        if let Some((_, setting)) = find(&key) {
            let home = self.home(setting);
            if home != file {
                self.warnings.push(format!(
                    "{key} in {place} belongs in {}: `tedge config set` puts it there",
                    home.path(config_dir).display()
                ));
            }
        }
        self.said.push(Said { key, value: Some(value), origin, file: Some(file) });
        Ok(())
    }

    fn note_old_spelling(&mut self, key: &str, place: &str) {
        if let Some((_, new)) = OLD_SPELLINGS.iter().find(|(old, _)| *old == key) {
            self.warnings.push(format!("'{key}' in {place} is an old spelling of '{new}'"));
        }
    }

    fn note_unknown_variable(&mut self, name: &str) {
        match slip_of(&name["TEDGE_".len()..].to_ascii_lowercase()) {
            Some(key) => self.warnings.push(format!(
                "unknown variable {name} in the environment: did you mean {}?",
                variable(key)
            )),
            None => self.unknown.push(format!("{name} in the environment")),
        }
    }

    /// The file in which a setting lives.
    fn home(&self, setting: &Setting) -> File {
        home(setting, self.has_mapper)
    }

    /// The value that holds for a setting, before its type is looked at.
    pub(super) fn choose(&self, setting: &Setting, config_dir: &Path) -> Option<Found> {
        let home = self.home(setting);
        let shape = setting.kind.shape;
        let found = |key: &str| {
            let said = self.first(key, home)?;
            let value = said.value.as_ref()?.clone();
            Some(Found::new(&said.key, value, said.origin.clone(), shape))
        };
        let default = |text: &str| {
            Some(Found::new(setting.key, Written::Text(text.to_owned()), Origin::Default, shape))
        };
        found(setting.key).or_else(|| match &setting.fallback {
            Fallback::Unset => None,
            Fallback::Const(text) => default(text),
            Fallback::Below(path) => default(&config_dir.join(path).to_string_lossy()),
            Fallback::Like(keys, last) => {
                keys.iter().find_map(|key| found(key)).or_else(|| default((*last)?))
            }
        })
    }

    /// What is said of a key by whoever comes first: argument, environment, the file where the key
    /// lives, another one; and the key's own name before an old spelling.
    fn first(&self, key: &str, home: File) -> Option<&Said> {
        let is_old = |said: &Said| OLD_SPELLINGS.contains(&(&said.key, key));
        let rank = |said: &&Said| {
            let place = match (&said.origin, said.file) {
                (Origin::Argument, _) => 0,
                (Origin::Environment(_), _) => 1,
                (_, file) if file == Some(home) => 2,
                _ => 3,
            };
            (place, is_old(said))
        };
        self.said.iter().filter(|said| said.key == key || is_old(said)).min_by_key(rank)
    }
}

/// The file in which a setting lives, given whether the mapper has one.
pub(super) fn home(setting: &Setting, has_mapper: bool) -> File {
    if setting.own {
        File::Own
    } else if has_mapper && setting.key.starts_with(MAPPER_PREFIX) {
        File::Mapper
    } else {
        File::Tedge
    }
}

/// Every key that is read, settings, their old spellings, and what a default is taken from.
fn readable_keys() -> impl Iterator<Item = &'static str> {
    let own = SETTINGS.iter().map(|setting| setting.key);
    let others = SETTINGS.iter().filter_map(|setting| match setting.fallback {
        Fallback::Like(keys, _) => Some(keys),
        _ => None,
    });
    own.chain(OLD_SPELLINGS.iter().map(|(old, _)| *old)).chain(others.flatten().copied())
}
