//! The files of settings, and which setting is stored in which file. Reads none of them.

use std::io;

use super::directory::Directory;
use super::setting::Setting;
use crate::walk::Follow;

/// One of the files of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SettingsFile {
    /// `tedge.toml`: the settings that thin-edge.io also has.
    Tedge,
    /// `mapper.toml`: where thin-edge.io 2 stores `c8y.*`, without this prefix.
    Mapper,
    /// `tedge-http.toml`: the settings that thin-edge.io lacks and would delete.
    Own,
}

/// The prefix that keys in [`SettingsFile::Mapper`] lack.
const MAPPER_PREFIX: &str = "c8y.";

impl SettingsFile {
    pub(super) const ALL: [Self; 3] = [Self::Tedge, Self::Mapper, Self::Own];

    /// Its path below the configuration directory.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Tedge => "tedge.toml",
            Self::Mapper => "mappers/c8y/mapper.toml",
            Self::Own => "tedge-http.toml",
        }
    }

    /// The existing `mapper.toml`, of any profile as in thin-edge.io (`mappers/c8y.NAME`). If there
    /// is one, `c8y.*` is stored in [`Self::Mapper`].
    pub(super) fn mapper(directory: &Directory, follow: Follow) -> io::Result<Option<String>> {
        let mut found = None;
        for name in directory.names("mappers", follow)? {
            let Some(name) =
                name.to_str().filter(|name| *name == "c8y" || name.starts_with("c8y."))
            else {
                continue;
            };
            let path = format!("mappers/{name}/mapper.toml");
            if directory.holds(&path, follow)? && (found.is_none() || name == "c8y") {
                found = Some(path);
            }
        }
        Ok(found)
    }

    /// The prefix that keys in this file lack.
    pub(super) fn prefix(self) -> &'static str {
        if self == Self::Mapper { MAPPER_PREFIX } else { "" }
    }

    /// The file in which a setting is stored, given whether a `mapper.toml` exists.
    pub(super) fn of(setting: &Setting, has_mapper: bool) -> Self {
        if setting.own {
            Self::Own
        } else if has_mapper && setting.key.starts_with(MAPPER_PREFIX) {
            Self::Mapper
        } else {
            Self::Tedge
        }
    }

    /// Whether this key in this file is ignored if a `mapper.toml` exists.
    pub(super) fn is_overridden(self, key: &str) -> bool {
        self == Self::Tedge && key.starts_with(MAPPER_PREFIX)
    }

    /// Whether this file can hold this key.
    pub(super) fn is_read_for(self, key: &str, has_mapper: bool) -> bool {
        match self {
            Self::Tedge => !(has_mapper && self.is_overridden(key)),
            Self::Mapper => has_mapper && key.starts_with(MAPPER_PREFIX),
            Self::Own => true,
        }
    }

    /// A key without the prefix that keys in this file lack.
    pub(super) fn relative(self, key: &str) -> &str {
        key.strip_prefix(self.prefix()).unwrap_or(key)
    }
}
