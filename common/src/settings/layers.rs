//! The texts from arguments, environment and files, layer by layer, and which layer holds for a
//! setting. Knows no types.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::directory::Directory;
use super::files::{Home, MAPPER_PREFIX};
use super::found::Found;
use super::layer::Layer;
use super::setting::{Fallback, Setting, variable};
use super::spelling::misspelt;
use super::table::{OLD_SPELLINGS, find, readable_keys};
use super::toml_read::{self, Entry, Written};
use crate::error::Error;
use crate::walk::Follow;

/// The values that the layers give, and what a person should hear about them.
#[derive(Default)]
pub(super) struct Layers {
    config_dir: PathBuf,
    candidates: Vec<Candidate>,
    /// The file because of which the settings of the cloud live in the mapper's.
    mapper: Option<String>,
    pub(super) warnings: Vec<String>,
    pub(super) unknown: Vec<String>,
}

/// The value that one layer gives for one key.
struct Candidate {
    key: String,
    /// `None` unsets.
    value: Option<Written>,
    layer: Layer,
    home: Option<Home>,
}

impl Layers {
    pub(super) fn add_arguments(&mut self, arguments: &[(&'static str, String)]) {
        self.candidates.extend(arguments.iter().map(|(key, text)| Candidate {
            key: (*key).to_owned(),
            value: Some(Written::Text(text.clone())),
            layer: Layer::Argument,
            home: None,
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
            self.candidates.push(Candidate {
                key: key.to_owned(),
                value: (!text.is_empty()).then_some(Written::Text(text)),
                layer: Layer::Environment(name.to_owned()),
                home: None,
            });
        }
        Ok(())
    }

    /// Reads the files of the configuration directory.
    pub(super) fn add_files(&mut self, directory: &Directory) -> Result<(), Error> {
        let follow = Follow::to_read();
        self.config_dir.clone_from(&directory.path);
        self.mapper = Home::mapper(directory, follow)
            .map_err(|error| unreadable(&directory.path.join("mappers"), &error))?;
        for file in Home::ALL {
            let path = directory.path.join(file.path());
            let place = directory.find(file.path(), follow);
            let place = place.map_err(|error| unreadable(&path, &error))?;
            let Some((_, content)) = place.and_then(|place| place.found) else { continue };
            let text = toml_read::text(&path, content)?;
            let entries =
                toml_read::entries(&path, &text, file.prefix(), |key| find(key).is_some())?;
            let mut ignored = false;
            for Entry { key, value, line } in entries {
                let layer = Layer::File { path: path.clone(), line };
                if file == Home::Tedge && key.starts_with(MAPPER_PREFIX) {
                    if let Some(mapper) = &self.mapper {
                        if !ignored {
                            self.warnings.push(format!(
                                "[c8y] in {layer} is ignored because {} exists",
                                directory.path.join(mapper).display()
                            ));
                        }
                        ignored = true;
                        continue;
                    }
                }
                self.add_entry(file, key, value, layer)?;
            }
        }
        Ok(())
    }

    fn add_entry(
        &mut self,
        file: Home,
        key: String,
        value: Written,
        layer: Layer,
    ) -> Result<(), Error> {
        let place = layer.to_string();
        if !readable_keys().any(|known| known == key) {
            let is_table =
                |known: &str| known.strip_prefix(&key).is_some_and(|rest| rest.starts_with('.'));
            if readable_keys().any(is_table) {
                return Err(Error::Configuration(format!(
                    "{key} in {place}: expected a table, [{key}]"
                )));
            }
            match misspelt(&key) {
                Some(meant) => self
                    .warnings
                    .push(format!("unknown key '{key}' in {place}: did you mean '{meant}'?")),
                None => self.unknown.push(format!("{key} in {place}")),
            }
            return Ok(());
        }
        self.note_old_spelling(&key, &place);
        if let Some(setting) = find(&key) {
            let home = self.home(setting);
            if home != file {
                self.warnings.push(format!(
                    "{key} in {place} belongs in {}: `tedge config set` puts it there",
                    self.config_dir.join(home.path()).display()
                ));
            }
        }
        self.candidates.push(Candidate { key, value: Some(value), layer, home: Some(file) });
        Ok(())
    }

    fn note_old_spelling(&mut self, key: &str, place: &str) {
        if let Some((_, new)) = OLD_SPELLINGS.iter().find(|(old, _)| *old == key) {
            self.warnings.push(format!("'{key}' in {place} is an old spelling of '{new}'"));
        }
    }

    fn note_unknown_variable(&mut self, name: &str) {
        match misspelt(&name["TEDGE_".len()..].to_ascii_lowercase()) {
            Some(key) => self.warnings.push(format!(
                "unknown variable {name} in the environment: did you mean {}?",
                variable(key)
            )),
            None => self.unknown.push(format!("{name} in the environment")),
        }
    }

    fn home(&self, setting: &Setting) -> Home {
        Home::of(setting, self.mapper.is_some())
    }

    /// The value that holds for a setting, before its type is looked at.
    pub(super) fn choose(&self, setting: &Setting) -> Option<Found> {
        let home = self.home(setting);
        let shape = setting.kind.shape;
        let found = |key: &str| {
            let candidate = self.first(key, home)?;
            let value = candidate.value.as_ref()?.clone();
            Some(Found::new(&candidate.key, value, candidate.layer.clone(), shape))
        };
        let default = |text: &str| {
            Some(Found::new(setting.key, Written::Text(text.to_owned()), Layer::Default, shape))
        };
        found(setting.key).or_else(|| match &setting.fallback {
            Fallback::Unset => None,
            Fallback::Const(text) => default(text),
            Fallback::Below(path) => default(&self.config_dir.join(path).to_string_lossy()),
            Fallback::Like(keys, last) => {
                keys.iter().find_map(|key| found(key)).or_else(|| default((*last)?))
            }
        })
    }

    /// The candidate of the layer that comes first: argument, environment, the file where the key
    /// lives, another one; and the key's own name before an old spelling.
    fn first(&self, key: &str, home: Home) -> Option<&Candidate> {
        let is_old = |candidate: &Candidate| OLD_SPELLINGS.contains(&(&candidate.key, key));
        let rank = |candidate: &&Candidate| {
            let place = match (&candidate.layer, candidate.home) {
                (Layer::Argument, _) => 0,
                (Layer::Environment(_), _) => 1,
                (_, file) if file == Some(home) => 2,
                _ => 3,
            };
            (place, is_old(candidate))
        };
        self.candidates
            .iter()
            .filter(|candidate| candidate.key == key || is_old(candidate))
            .min_by_key(rank)
    }
}

/// The failure of a program that cannot read a file of settings.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::Configuration(format!("cannot read {}: {error}", path.display()))
}
