//! Which file each setting is in. Reads none of them.

use std::io;

use super::directory::Directory;
use super::setting::Setting;
use crate::walk::Follow;

/// One of the files of settings, by what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// What thin-edge.io has, too.
    Tedge,
    /// What thin-edge.io 2 keeps of a cloud, without the cloud's name before each key.
    Mapper,
    /// What thin-edge.io lacks and would drop.
    Own,
}

/// The keys that [`Home::Mapper`] holds begin so elsewhere.
pub(super) const MAPPER_PREFIX: &str = "c8y.";

impl Home {
    pub(super) const ALL: [Self; 3] = [Self::Tedge, Self::Mapper, Self::Own];

    /// Where it is below the configuration directory.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Tedge => "tedge.toml",
            Self::Mapper => "mappers/c8y/mapper.toml",
            Self::Own => "tedge-http.toml",
        }
    }

    /// The mapper's file that makes [`Self::Mapper`] the home of the cloud's settings: as in
    /// thin-edge.io, that of any profile, `mappers/c8y.NAME/mapper.toml`.
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

    /// What this file leaves out at the front of each key.
    pub(super) fn prefix(self) -> &'static str {
        if self == Self::Mapper { MAPPER_PREFIX } else { "" }
    }

    /// The file in which a setting lives, given whether the mapper has one.
    pub(super) fn of(setting: &Setting, has_mapper: bool) -> Self {
        if setting.own {
            Self::Own
        } else if has_mapper && setting.key.starts_with(MAPPER_PREFIX) {
            Self::Mapper
        } else {
            Self::Tedge
        }
    }

    /// Whether this file is read for this key.
    pub(super) fn is_read_for(self, key: &str, has_mapper: bool) -> bool {
        let is_of_mapper = key.starts_with(MAPPER_PREFIX);
        match self {
            Self::Tedge => !(has_mapper && is_of_mapper),
            Self::Mapper => has_mapper && is_of_mapper,
            Self::Own => true,
        }
    }

    /// A key as this file spells it.
    pub(super) fn relative(self, key: &str) -> &str {
        key.strip_prefix(self.prefix()).unwrap_or(key)
    }
}
