//! Settings: [`table`] defines each one once, [`layers`] reads environment and files and chooses
//! the values, [`types`] and [`hosts`] parse them, and [`write`] changes one in its file. [`profile`]
//! spells the keys of further tenants.
//!
//! Nothing here prints. Nothing here opens a file that a setting names, except the device's
//! certificate, whose common name is the device's name.

pub(crate) mod directory;
mod documentation;
mod files;
mod hosts;
mod layers;
mod paths;
mod profile;
mod setting;
mod spelling;
mod table;
pub(crate) mod toml_patch;
pub(crate) mod toml_read;
mod types;
mod value;
mod write;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use documentation::wrap;
pub use hosts::{HostPort, Proxy};
pub use layers::Values;
pub use profile::Profile;
pub use setting::{Fallback, Kind, PathTo, Program, Setting, Shape, ValueType, variable};
pub use spelling::{OLD_SPELLINGS, nearest};
pub use table::{SETTINGS, Settings, find};
pub use types::{AuthMethod, Count, Free, List, Port, Secret, Size, Text, TokenFrom, items};
pub use value::{Layer, RawValue};
pub use write::change;

use crate::error::Error;

/// Settings, and what a person should know about them.
#[derive(Debug)]
pub struct LoadedSettings {
    /// The settings in effect.
    pub settings: Settings,
    /// What the caller should log: misspelt keys, old spellings, ignored tables.
    pub warnings: Vec<String>,
    /// Keys and variables that are not ours, for `--check`.
    pub unknown: Vec<String>,
}

impl Settings {
    /// The directory of the files that the File Transfer Service serves.
    pub fn files(&self) -> PathBuf {
        self.data_path.join("file-transfer")
    }

    /// Reads files and environment. An argument comes as key and value and overrides both.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if a file cannot be read, or if the type of a setting does not
    /// accept its value.
    pub fn load(
        config_dir: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        arguments: &[(&'static str, String)],
    ) -> Result<LoadedSettings, Error> {
        let values = Values::read(config_dir, environment.into_iter().collect(), arguments)?;
        Ok(LoadedSettings {
            settings: Self::new(&values.found, values.profile)?,
            warnings: values.warnings,
            unknown: values.unknown,
        })
    }
}

/// The configuration directory: the argument of `--config-dir`, else `TEDGE_CONFIG_DIR` if it is
/// not empty, else `/etc/tedge`.
pub fn config_dir(argument: Option<PathBuf>) -> PathBuf {
    argument
        .or_else(|| {
            std::env::var_os("TEDGE_CONFIG_DIR").filter(|dir| !dir.is_empty()).map(Into::into)
        })
        .unwrap_or_else(|| PathBuf::from("/etc/tedge"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<LoadedSettings, Error> {
        let variables = variables.iter().map(|(name, text)| (name.into(), text.into()));
        Settings::load(Path::new("/nowhere"), variables, &[])
    }

    #[test]
    fn every_default_and_every_example_is_a_value() {
        let LoadedSettings { settings, warnings, unknown } = load(&[]).unwrap();
        assert_eq!((warnings, unknown), (Vec::new(), Vec::new()));
        assert_eq!(settings.http_bind_address.to_string(), "127.0.0.1");
        assert_eq!(settings.http_bind_port, 8000);
        assert_eq!(settings.http_upload_min_free, Free::Percent(5));
        assert_eq!(settings.c8y_proxy_client_port, 8001);
        assert_eq!(settings.c8y_http, None);
        assert_eq!(settings.c8y_credentials_path, Path::new("/nowhere/credentials.toml"));
        for setting in SETTINGS {
            assert!((setting.kind.is_valid)(setting.example), "{}", setting.key);
        }
    }

    #[test]
    fn no_two_settings_share_a_variable() {
        let variables: HashSet<String> = SETTINGS.iter().map(|s| variable(s.key)).collect();
        assert_eq!(variables.len(), SETTINGS.len());
    }

    #[test]
    fn the_environment_wins_and_unsets() {
        let variables = [("TEDGE_C8Y_URL", "[::1]:1"), ("TEDGE_DATA_PATH", "")];
        let settings = load(&variables).unwrap().settings;
        assert_eq!(settings.c8y_http.unwrap().0.to_string(), "[::1]:1");
        assert_eq!(settings.data_path, Path::new("/var/tedge"));
    }

    #[test]
    fn a_device_that_never_ends_is_not_read_for_a_certificate() {
        let LoadedSettings { settings, warnings, .. } =
            load(&[("TEDGE_DEVICE_CERT_PATH", "/dev/zero")]).unwrap();
        assert_eq!(settings.device_id, None);
        assert_eq!(
            warnings,
            ["device.id: cannot read /dev/zero: it is a device, not a regular file"]
        );
    }

    #[test]
    fn a_bad_value_names_key_value_and_origin() {
        let error = load(&[("TEDGE_HTTP_BIND_PORT", "http")]).unwrap_err();
        assert_eq!(error.exit_code(), 78);
        let expected = "http.bind.port is 'http' in TEDGE_HTTP_BIND_PORT: \
                        expected a port number, 0 to 65535";
        assert_eq!(error.to_string(), expected);
    }
}
