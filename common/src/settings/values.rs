//! Chooses which value of a setting holds, and collects warnings. Prints nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::column::{Column, Shape};
use super::device;
use super::directory::Directory;
use super::found::Found;
use super::layer::Layer;
use super::layers::{Layers, unreadable};
use super::setting::{Setting, Typed};
use super::table::{OLD_SPELLINGS, SETTINGS, find};
use super::toml_read::Written;
use crate::error::Error;

/// What holds for each setting, before types.
#[derive(Debug)]
pub struct Values {
    found: Vec<Option<Found>>,
    /// What a person should hear: misspelt keys, old spellings, ignored tables.
    pub warnings: Vec<String>,
    /// Keys and variables that are not ours.
    pub unknown: Vec<String>,
}

impl Values {
    /// Reads files and environment, and chooses. No value is checked yet.
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
        let mut layers = Layers::default();
        layers.add_arguments(arguments);
        layers.add_environment(environment)?;
        layers.add_files(directory)?;
        let mut values = Self {
            found: SETTINGS.iter().map(|setting| layers.choose(setting)).collect(),
            warnings: layers.warnings,
            unknown: layers.unknown,
        };
        values.name_device();
        Ok(values)
    }

    /// The value of a setting, if it has one.
    pub fn found(&self, setting: &Setting) -> Option<&Found> {
        self.found[setting.place].as_ref()
    }

    /// What a file says of a setting, under its key or an old spelling.
    pub fn written(&self, setting: &Setting) -> Option<&str> {
        let found = self.found(setting)?;
        let is_its_own =
            found.key == setting.key || OLD_SPELLINGS.contains(&(found.key.as_str(), setting.key));
        let is_in_file = matches!(found.layer, Layer::File { .. });
        (is_its_own && is_in_file).then_some(&found.text)
    }

    /// Fails where the value of a setting is none of its type.
    pub fn check(&self, setting: &Setting) -> Result<(), Error> {
        let is_valid = |found: &Found| found.is_right_shape && (setting.kind.is_valid)(&found.text);
        if self.found(setting).is_none_or(is_valid) { Ok(()) } else { Err(self.refusal(setting)) }
    }

    /// Where each value comes from, in the order of the table.
    pub(super) fn layers(&self) -> Vec<Layer> {
        let layer = |found: &Option<Found>| match found {
            Some(found) => found.layer.clone(),
            None => Layer::Default,
        };
        self.found.iter().map(layer).collect()
    }

    fn refusal(&self, setting: &Setting) -> Error {
        let expected = setting.kind.expected;
        Error::Configuration(match self.found(setting) {
            Some(found) => {
                let Found { layer, key, .. } = found;
                format!("{key} is '{}' in {layer}: expected {expected}", found.shown(setting))
            }
            None => format!("{} is not set: expected {expected}", setting.key),
        })
    }

    /// The subject of the device's certificate is the name of the device.
    fn name_device(&mut self) {
        let (Some(id), Some(certificate)) = (find("device.id"), find("device.cert_path")) else {
            return;
        };
        let Some(path) = self.found(certificate).map(|found| PathBuf::from(&found.text)) else {
            return;
        };
        match device::name(&path) {
            Ok(Some(name)) => {
                let layer = Layer::Certificate(path);
                let found = Found::new(id.key, Written::Text(name), layer, Shape::Text);
                self.found[id.place] = Some(found);
            }
            Ok(None) => {}
            Err(error) => self.warnings.push(format!("device.id: {error}")),
        }
    }
}

impl Typed for Values {
    fn typed<T: Column>(&self, setting: &Setting) -> Result<T::Value, Error> {
        let parsed = match self.found(setting) {
            Some(found) if found.is_right_shape => T::parse(&found.text),
            Some(_) => None,
            None => T::unset(),
        };
        parsed.ok_or_else(|| self.refusal(setting))
    }
}
