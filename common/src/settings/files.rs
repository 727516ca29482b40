//! The files of settings, and which setting is stored in which file. Reads none of them.

use std::borrow::Cow;
use std::io;

use super::directory::Directory;
use super::profile::{CLOUD, Profile};
use super::setting::Setting;
use crate::walk::Follow;

/// One of the files of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SettingsFile {
    /// `tedge.toml`: the settings that thin-edge.io also has.
    Tedge,
    /// `mapper.toml`: where thin-edge.io 2 stores `c8y.*` of one profile, without this prefix.
    Mapper,
    /// `tedge-http.toml`: the settings that thin-edge.io lacks and would delete.
    Own,
}

impl SettingsFile {
    pub(super) const ALL: [Self; 3] = [Self::Tedge, Self::Mapper, Self::Own];

    /// Its path below the configuration directory.
    pub(super) fn path(self, profile: Option<&Profile>) -> Cow<'static, str> {
        match self {
            Self::Tedge => "tedge.toml".into(),
            Self::Mapper => format!("{}/mapper.toml", Profile::directory(profile)).into(),
            Self::Own => "tedge-http.toml".into(),
        }
    }

    /// The existing `mapper.toml`, of any profile as in thin-edge.io (`mappers/c8y.NAME`), and the
    /// profiles that have one. If there is one, `c8y.*` is stored in [`Self::Mapper`].
    pub(super) fn mapper(
        directory: &Directory,
        follow: Follow,
    ) -> io::Result<(Option<String>, Vec<Profile>)> {
        let (mut found, mut profiles) = (None, Vec::new());
        for name in directory.names("mappers", follow)? {
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix("c8y")) else {
                continue;
            };
            let profile = rest.strip_prefix('.').and_then(Profile::parse);
            let path = format!("mappers/c8y{rest}/mapper.toml");
            if (rest.is_empty() || rest.starts_with('.')) && directory.holds(&path, follow)? {
                if found.is_none() || rest.is_empty() {
                    found = Some(path);
                }
                profiles.extend(profile);
            }
        }
        Ok((found, profiles))
    }

    /// The prefix that keys in this file lack.
    pub(super) fn prefix(self) -> &'static str {
        if self == Self::Mapper { CLOUD } else { "" }
    }

    /// The file in which a setting is stored, given whether a `mapper.toml` exists.
    pub(super) fn of(setting: &Setting, has_mapper: bool) -> Self {
        if setting.own {
            Self::Own
        } else if has_mapper && setting.key.starts_with(CLOUD) {
            Self::Mapper
        } else {
            Self::Tedge
        }
    }

    /// Whether this key in this file is ignored if a `mapper.toml` exists.
    pub(super) fn is_overridden(self, key: &str) -> bool {
        self == Self::Tedge && key.starts_with(CLOUD)
    }

    /// Whether this file can hold this key.
    pub(super) fn is_read_for(self, key: &str, has_mapper: bool) -> bool {
        match self {
            Self::Tedge => !(has_mapper && self.is_overridden(key)),
            Self::Mapper => has_mapper && key.starts_with(CLOUD),
            Self::Own => true,
        }
    }

    /// A key of this profile as it stands in this file.
    pub(super) fn written<'a>(self, profile: Option<&Profile>, key: &'a str) -> Cow<'a, str> {
        match self {
            Self::Mapper => key.strip_prefix(CLOUD).unwrap_or(key).into(),
            Self::Tedge | Self::Own => Profile::key(profile, key),
        }
    }
}
