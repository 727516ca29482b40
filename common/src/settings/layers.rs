//! Reads the layers, which are the arguments, the environment and the files, and chooses the value
//! of each setting. Collects warnings, and parses no value.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::directory::Directory;
use super::files::SettingsFile;
use super::profile::{CLOUD, Profile};
use super::setting::{Fallback, Setting, Shape, variable};
use super::spelling::{OLD_SPELLINGS, misspelt, readable_keys};
use super::table::{SETTINGS, find};
use super::toml_read::{self, FileValue, Written};
use super::value::{Layer, RawValue, refusal};
use crate::error::Error;
use crate::regular_file;
use crate::walk::Follow;
use crate::x509::certificate::Certificate;
use crate::x509::pem::{self, SectionKind};

/// The value of each setting, before it is parsed.
#[derive(Debug)]
pub struct Values {
    pub(super) found: Vec<Option<RawValue>>,
    pub(super) profile: Option<Profile>,
    /// What a person should know: misspelt keys, old spellings, ignored tables.
    pub warnings: Vec<String>,
    /// Keys and variables that are not ours.
    pub unknown: Vec<String>,
    /// The profiles that have a setting of their own, or a file.
    pub profiles: Vec<Profile>,
}

impl Values {
    /// Reads files and environment, and chooses. An argument comes as key and value and overrides
    /// both. No value is checked yet. The environment also selects the profile.
    pub fn read(
        config_dir: &Path,
        environment: Vec<(OsString, OsString)>,
        arguments: &[(&'static str, String)],
    ) -> Result<Self, Error> {
        let directory =
            Directory::open(config_dir).map_err(|error| unreadable(config_dir, &error))?;
        Self::read_in(&directory, environment, arguments)
    }

    /// The same, in an open directory.
    pub(super) fn read_in(
        directory: &Directory,
        environment: Vec<(OsString, OsString)>,
        arguments: &[(&'static str, String)],
    ) -> Result<Self, Error> {
        let profile = Profile::selected(&environment)?;
        let mut layers = Layers { profile, ..Layers::default() };
        for (key, text) in arguments {
            layers.add(key, Some(Written::Text(text.clone())), Layer::Argument, None);
        }
        layers.add_environment(environment)?;
        layers.add_files(directory)?;
        layers.warn_of_profile();
        layers.profiles.sort();
        layers.profiles.dedup();
        let mut values = Self {
            found: SETTINGS.iter().map(|setting| layers.choose(setting)).collect(),
            warnings: layers.warnings,
            unknown: layers.unknown,
            profiles: layers.profiles,
            profile: layers.profile,
        };
        values.name_device();
        Ok(values)
    }

    /// The value of a setting, if it has one.
    pub fn found(&self, setting: &Setting) -> Option<&RawValue> {
        self.found[setting.index].as_ref()
    }

    /// The value of a setting in a file, under its key or an old spelling.
    pub fn written(&self, setting: &Setting) -> Option<&str> {
        let found = self.found(setting)?;
        let is_its_own =
            found.key == setting.key || OLD_SPELLINGS.contains(&(found.key.as_str(), setting.key));
        let is_in_file = matches!(found.layer, Layer::File { .. });
        (is_its_own && is_in_file).then_some(&found.text)
    }

    /// Fails if the type of a setting does not accept its value.
    pub fn check(&self, setting: &Setting) -> Result<(), Error> {
        let found = self.found(setting);
        let is_valid =
            |value: &RawValue| value.is_right_shape && (setting.kind.is_valid)(&value.text);
        if found.is_none_or(is_valid) { Ok(()) } else { Err(refusal(setting, found)) }
    }

    /// Gives `device.id` the common name of the device's certificate, if there is one.
    fn name_device(&mut self) {
        let (Some(id), Some(certificate)) = (find("device.id"), find("device.cert_path")) else {
            return;
        };
        let Some(path) = self.found(certificate).map(|found| PathBuf::from(&found.text)) else {
            return;
        };
        match common_name(&path) {
            Ok(Some(name)) => {
                let layer = Layer::Certificate(path);
                let value = RawValue::new(id.key, Written::Text(name), layer, Shape::Text);
                self.found[id.index] = Some(value);
            }
            Ok(None) => {}
            Err(error) => self.warnings.push(format!("device.id: {error}")),
        }
    }
}

/// The common name of the first certificate in a file, `None` if the file does not exist.
fn common_name(path: &Path) -> Result<Option<String>, String> {
    /// More than any certificate with its chain needs.
    const MAX_SIZE: u64 = 1024 * 1024;
    let pem = match regular_file::read(path, MAX_SIZE) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let name = || {
        let contents = pem::read(&pem);
        let der = &contents.first(SectionKind::Certificate)?.der;
        Certificate::parse(der).ok()?.common_name().map(Into::into)
    };
    let missing = || format!("{} is not a PEM certificate with a common name", path.display());
    name().filter(|name: &String| !name.is_empty()).map(Some).ok_or_else(missing)
}

/// The values in each layer, and the warnings about them.
#[derive(Default)]
struct Layers {
    config_dir: PathBuf,
    /// The profile whose settings are read as `c8y.*`.
    profile: Option<Profile>,
    profiles: Vec<Profile>,
    candidates: Vec<LayerValue>,
    /// The `mapper.toml` because of which `c8y.*` in `tedge.toml` is ignored.
    mapper: Option<String>,
    warnings: Vec<String>,
    unknown: Vec<String>,
}

struct LayerValue {
    key: String,
    /// `None` restores the default.
    value: Option<Written>,
    layer: Layer,
    file: Option<SettingsFile>,
}

impl Layers {
    /// Adds a value. Warns if its key is an old spelling.
    fn add(&mut self, key: &str, value: Option<Written>, layer: Layer, file: Option<SettingsFile>) {
        if let Some((_, new)) = OLD_SPELLINGS.iter().find(|(old, _)| *old == key) {
            self.warnings.push(format!("'{key}' in {layer} is an old spelling of '{new}'"));
        }
        self.candidates.push(LayerValue { key: key.to_owned(), value, layer, file });
    }

    /// Adds the variables of settings, and warns of those with a misspelt name.
    fn add_environment(&mut self, environment: Vec<(OsString, OsString)>) -> Result<(), Error> {
        for (name, text) in environment {
            let Some(name) = name.to_str() else { continue };
            let Some(end) = name.strip_prefix("TEDGE_") else { continue };
            if matches!(end, "CONFIG_DIR" | "CLOUD_PROFILE") {
                continue;
            }
            let (profile, plain) = match Profile::split_variable(name, readable_keys()) {
                Some((profile, plain)) => (Some(profile), plain),
                None => (None, name.to_owned()),
            };
            let key = readable_keys().find(|key| variable(key) == plain);
            if key.is_some_and(|key| !self.is_selected(profile, key, text.is_empty())) {
                continue;
            }
            match (key, misspelt(&end.to_ascii_lowercase())) {
                (Some(key), _) => {
                    let text = text.into_string().map_err(|_| {
                        Error::Configuration(format!("{name} in the environment is not UTF-8"))
                    })?;
                    let value = toml_read::variable(text);
                    self.add(key, value, Layer::Environment(name.to_owned()), None);
                }
                (None, Some(meant)) => self.warnings.push(format!(
                    "unknown variable {name} in the environment: did you mean {}?",
                    variable(meant)
                )),
                (None, None) => self.unknown.push(format!("{name} in the environment")),
            }
        }
        Ok(())
    }

    /// Adds the values in the files of the configuration directory.
    fn add_files(&mut self, directory: &Directory) -> Result<(), Error> {
        let follow = Follow::to_read();
        self.config_dir.clone_from(&directory.path);
        let (mapper, profiles) = SettingsFile::mapper(directory, follow)
            .map_err(|error| unreadable(&directory.path.join("mappers"), &error))?;
        self.mapper = mapper;
        self.profiles.extend(profiles);
        for file in SettingsFile::ALL {
            let below = file.path(self.profile.as_ref());
            let path = directory.path.join(&*below);
            let entry = directory.find(&below, follow);
            let entry = entry.map_err(|error| unreadable(&path, &error))?;
            let Some((_, content)) = entry.and_then(|entry| entry.found) else { continue };
            let text = toml_read::text(&path, content)?;
            let entries =
                toml_read::entries(&path, &text, file.prefix(), |key| find(key).is_some())?;
            let mut is_ignored = false;
            for FileValue { key, value, line } in entries {
                let layer = Layer::File { path: path.clone(), line };
                match &self.mapper {
                    Some(mapper) if file.is_overridden(&key) => {
                        if !is_ignored {
                            self.warnings.push(format!(
                                "[c8y] in {layer} is ignored because {} exists",
                                directory.path.join(mapper).display()
                            ));
                        }
                        is_ignored = true;
                    }
                    _ if file == SettingsFile::Mapper => {
                        self.add_entry(file, &key, value, layer)?;
                    }
                    _ => {
                        let (profile, key) = Profile::split(&key);
                        if self.is_selected(profile, &key, false) {
                            self.add_entry(file, &key, value, layer)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a setting of this profile is read now.
    fn is_selected(&mut self, profile: Option<Profile>, key: &str, is_empty: bool) -> bool {
        let is_selected = profile == self.profile || !key.starts_with(CLOUD);
        self.profiles.extend(profile.filter(|_| !is_empty));
        is_selected
    }

    fn warn_of_profile(&mut self) {
        if let Some(name) = self.profile.as_ref().filter(|name| !self.profiles.contains(name)) {
            self.warnings.push(format!(
                "unknown profile '{name}': `tedge config set c8y.url ADDRESS --profile {name}` makes it"
            ));
        }
    }

    fn add_entry(
        &mut self,
        file: SettingsFile,
        key: &str,
        value: Written,
        layer: Layer,
    ) -> Result<(), Error> {
        if readable_keys().any(|known| known == key) {
            let stored_in =
                find(key).map(|setting| SettingsFile::of(setting, self.mapper.is_some()));
            if let Some(other) = stored_in.filter(|other| *other != file) {
                self.warnings.push(format!(
                    "{key} in {layer} belongs in {}: `tedge config set` puts it there",
                    self.config_dir.join(&*other.path(self.profile.as_ref())).display()
                ));
            }
            self.add(key, Some(value), layer, Some(file));
            return Ok(());
        }
        let is_in_table =
            |known: &str| known.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        if readable_keys().any(is_in_table) {
            let expected = format!("{key} in {layer}: expected a table, [{key}]");
            return Err(Error::Configuration(expected));
        }
        match misspelt(key) {
            Some(meant) => self
                .warnings
                .push(format!("unknown key '{key}' in {layer}: did you mean '{meant}'?")),
            None => self.unknown.push(format!("{key} in {layer}")),
        }
        Ok(())
    }

    fn choose(&self, setting: &Setting) -> Option<RawValue> {
        let stored_in = SettingsFile::of(setting, self.mapper.is_some());
        let shape = setting.kind.shape;
        let found = |key: &str| {
            let candidate = self.first(key, stored_in)?;
            let value = candidate.value.as_ref()?.clone();
            Some(RawValue::new(&candidate.key, value, candidate.layer.clone(), shape))
        };
        let default = |text: &str| {
            Some(RawValue::new(setting.key, Written::Text(text.to_owned()), Layer::Default, shape))
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

    /// The candidate that overrides the others: argument, environment, the file in which the
    /// setting is stored, another file; and the key before its old spelling.
    fn first(&self, key: &str, stored_in: SettingsFile) -> Option<&LayerValue> {
        let is_old = |candidate: &LayerValue| OLD_SPELLINGS.contains(&(&candidate.key, key));
        let rank = |candidate: &&LayerValue| {
            let layer = match &candidate.layer {
                Layer::Argument => 0,
                Layer::Environment(_) => 1,
                _ if candidate.file == Some(stored_in) => 2,
                _ => 3,
            };
            (layer, is_old(candidate))
        };
        self.candidates
            .iter()
            .filter(|candidate| candidate.key == key || is_old(candidate))
            .min_by_key(rank)
    }
}

/// The error of a file of settings that cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::Configuration(format!("cannot read {}: {error}", path.display()))
}
