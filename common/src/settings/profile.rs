//! Cloud profiles: further sets of the settings `c8y.*`, each with a name, as in thin-edge.io. Knows
//! how keys and variables are spelt with a name. With a profile selected, its settings have the keys
//! of the default ones everywhere else, and the default ones are not read.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;

use super::setting::{Setting, variable};
use crate::error::Error;

/// The prefix of the profiles' settings, without a profile.
pub(super) const CLOUD: &str = "c8y.";
/// The prefix with a profile, before its name.
const NAMED: &str = "c8y.profiles.";

/// The name of a cloud profile, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Profile(String);

impl Profile {
    /// The variable that selects a profile.
    pub const VARIABLE: &str = "TEDGE_CLOUD_PROFILE";

    /// In bytes. The unit's socket for MQTT has the name in its path, which has 107 at most.
    const MAX: usize = 48;

    /// ASCII letters, digits, `-` and `_`, at least one of them a letter or a digit.
    pub fn parse(name: &str) -> Option<Self> {
        let is_alphanumeric = |character: char| character.is_ascii_alphanumeric();
        let is_part = |character: char| is_alphanumeric(character) || "-_".contains(character);
        let is_name = name.chars().all(is_part) && name.contains(is_alphanumeric);
        Some(Self(name.to_lowercase())).filter(|profile| is_name && profile.0.len() <= Self::MAX)
    }

    /// The profile that these variables select.
    ///
    /// # Errors
    ///
    /// The name is not valid for a profile.
    pub fn selected(environment: &[(OsString, OsString)]) -> Result<Option<Self>, Error> {
        let last = environment.iter().rfind(|(name, _)| name == Self::VARIABLE);
        let Some((_, name)) = last.filter(|(_, name)| !name.is_empty()) else { return Ok(None) };
        let wrong = || Error::Configuration(Self::flaw(Self::VARIABLE, name));
        name.to_str().and_then(Self::parse).map(Some).ok_or_else(wrong)
    }

    /// Whether profiles have this setting.
    pub fn has(setting: &Setting) -> bool {
        setting.key.starts_with(CLOUD)
    }

    /// The message about an invalid name of a profile.
    pub fn flaw(origin: &str, text: &OsStr) -> String {
        let text = text.to_string_lossy();
        let max = Self::MAX;
        format!(
            "{origin} is '{text}': expected ASCII letters, digits, - and _, at most {max} bytes"
        )
    }

    /// The option that selects this profile in a command for `tedge`, with a blank before it; or
    /// nothing.
    pub fn option(profile: Option<&Self>) -> String {
        profile.map_or(String::new(), |profile| format!(" --profile {profile}"))
    }

    /// The variable with which a program selects this profile, or none.
    pub fn environment(profile: Option<&Self>) -> (OsString, OsString) {
        let name = profile.map_or("", |profile| &profile.0);
        (Self::VARIABLE.into(), name.into())
    }

    /// The key of a setting in this profile: `c8y.profiles.second.url` for `c8y.url`.
    pub fn key<'a>(profile: Option<&Self>, key: &'a str) -> Cow<'a, str> {
        match (profile, key.strip_prefix(CLOUD)) {
            (Some(Self(name)), Some(rest)) => format!("{NAMED}{name}.{rest}").into(),
            _ => key.into(),
        }
    }

    /// The profile that a key names, and the key without it.
    pub fn split(key: &str) -> (Option<Self>, Cow<'_, str>) {
        let named = key.strip_prefix(NAMED).and_then(|rest| rest.split_once('.'));
        match named.and_then(|(name, rest)| Some((Self::parse(name)?, rest))) {
            Some((profile, rest)) => (Some(profile), format!("{CLOUD}{rest}").into()),
            None => (None, key.into()),
        }
    }

    /// As [`Self::split`], of the variable of one of these keys. `None`: it is not one of a profile's.
    pub(super) fn split_variable<'a>(
        name: &str,
        keys: impl Iterator<Item = &'a str>,
    ) -> Option<(Self, String)> {
        let rest = name.strip_prefix(&variable(NAMED))?;
        let ends = keys.filter_map(|key| key.strip_prefix(CLOUD));
        let named = ends.filter_map(|end| {
            let end = variable(end).split_off("TEDGE".len());
            Some((rest.strip_suffix(&end)?, end))
        });
        // A name may have underscores too: the longest key is meant.
        let (name, end) = named.max_by_key(|(_, end)| end.len())?;
        Some((Self::parse(name)?, format!("TEDGE_C8Y{end}")))
    }

    /// The directory of the profile's `mapper.toml`.
    pub(super) fn directory(profile: Option<&Self>) -> String {
        let name = profile.map_or(String::new(), |profile| format!(".{profile}"));
        format!("mappers/c8y{name}")
    }

    /// The name of a service's unit for this profile.
    pub fn unit(profile: Option<&Self>, service: &str) -> String {
        let instance = profile.map_or(String::new(), |profile| format!("@{profile}"));
        format!("{service}{instance}")
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str) -> Profile {
        Profile::parse(name).unwrap()
    }

    #[test]
    fn a_name_is_letters_and_digits_in_any_case() {
        assert_eq!(profile("Second-2_b").to_string(), "second-2_b");
        let (long, longer) = ("a".repeat(48), "a".repeat(49));
        assert_eq!(profile(&long).to_string(), long);
        for name in ["", "-", "_-", "a.b", "a/b", "..", "a b", "a\n", "a@b", "é", "aé", &longer] {
            assert_eq!(Profile::parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_key_with_a_name_is_one_of_a_profile() {
        for (key, name, plain) in [
            ("c8y.profiles.second.url", Some("second"), "c8y.url"),
            ("c8y.profiles.SECOND.proxy.bind.port", Some("second"), "c8y.proxy.bind.port"),
            ("c8y.url", None, "c8y.url"),
            ("c8y.profiles.second", None, "c8y.profiles.second"),
            ("c8y.profiles.a b.url", None, "c8y.profiles.a b.url"),
            ("http.bind.port", None, "http.bind.port"),
        ] {
            assert_eq!(Profile::split(key), (name.map(profile), plain.into()), "{key}");
        }
        assert_eq!(Profile::key(Some(&profile("a")), "c8y.url"), "c8y.profiles.a.url");
        assert_eq!(Profile::key(Some(&profile("a")), "data.path"), "data.path");
        assert_eq!(Profile::key(None, "c8y.url"), "c8y.url");
    }

    #[test]
    fn a_variable_with_a_name_is_one_of_a_profile() {
        const KEYS: [&str; 4] = ["c8y.url", "c8y.http", "c8y.proxy.token_url", "data.path"];
        for (variable, name, plain) in [
            ("TEDGE_C8Y_PROFILES_SECOND_URL", "second", "TEDGE_C8Y_URL"),
            ("TEDGE_C8Y_PROFILES_A_B_HTTP", "a_b", "TEDGE_C8Y_HTTP"),
            ("TEDGE_C8Y_PROFILES_A_PROXY_TOKEN_URL", "a", "TEDGE_C8Y_PROXY_TOKEN_URL"),
        ] {
            let split = Profile::split_variable(variable, KEYS.into_iter()).unwrap();
            assert_eq!(split, (profile(name), plain.to_owned()), "{variable}");
        }
        for other in ["TEDGE_C8Y_URL", "TEDGE_C8Y_PROFILES_URL", "TEDGE_C8Y_PROFILES_A_TOPICS"] {
            assert_eq!(Profile::split_variable(other, KEYS.into_iter()), None, "{other}");
        }
    }
}
