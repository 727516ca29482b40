//! The allowed content of a file with a password, credentials or access rules. The service and
//! root parse it in the same way: root copies only what the service uses, and no other secret.

use toml::de::DeTable;

use super::original::Unreadable;
use crate::access;
use crate::settings::toml_patch::quoted;

/// A user name and a password, as in `c8y.credentials_path`.
pub struct BasicCredentials {
    /// Neither empty nor with a colon (RFC 7617, 2).
    pub username: String,
    /// Any text.
    pub password: String,
}

/// The password in a file: one line of at most 1 KiB of printable UTF-8, without its end.
///
/// # Errors
///
/// If the file holds anything else.
pub fn password(bytes: &[u8]) -> Result<&str, Unreadable> {
    const MAX: usize = 1024;
    let text = std::str::from_utf8(bytes).unwrap_or("\0").trim_end_matches(['\n', '\r']);
    if text.len() > MAX || text.contains(char::is_control) {
        return Err(Unreadable::Unfit(format!(
            "is not a password: it must be one line of at most {MAX} bytes of printable UTF-8"
        )));
    }
    Ok(text)
}

/// The credentials in a file: `username` and `password` in the table `c8y`.
///
/// # Errors
///
/// If the file holds none. The error does not quote the file.
pub fn credentials(bytes: &[u8]) -> Result<BasicCredentials, Unreadable> {
    let read = || {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        // The parser's message may quote the file.
        let document = DeTable::parse(text).map_err(|_| "it is not TOML")?;
        let table = document.get_ref().get("c8y").ok_or("missing field `c8y`")?;
        let table = table.get_ref().as_table().ok_or("invalid type of c8y")?;
        let username = string(table, "username", "missing field `username`")?;
        let password = string(table, "password", "missing field `password`")?;
        match username.as_str() {
            "" => Err("username is empty"),
            name if name.contains(':') => Err("username contains a colon (RFC 7617, 2)"),
            _ => Ok(BasicCredentials { username, password }),
        }
    };
    read().map_err(|what| {
        Unreadable::Unfit(format!(
            "cannot be used: {what}; it should read `[c8y]`, `username = \"…\"`, \
             `password = \"…\"`"
        ))
    })
}

/// A file that holds access rules and nothing else.
///
/// # Errors
///
/// If it holds anything else. The error does not quote the file.
pub(super) fn rules(content: Vec<u8>) -> Result<Vec<u8>, Unreadable> {
    match access::parse(&content) {
        Ok(_) => Ok(content),
        Err(flaw) => Err(Unreadable::Unfit(flaw.to_string())),
    }
}

fn string(table: &DeTable<'_>, key: &str, missing: &'static str) -> Result<String, &'static str> {
    let value = table.get(key).ok_or(missing)?.get_ref();
    value
        .as_str()
        .map(str::to_owned)
        .ok_or("invalid type of username or password, which are strings")
}

impl BasicCredentials {
    /// A file with these credentials and nothing else.
    pub(super) fn restate(self) -> Vec<u8> {
        let [username, password] = [self.username, self.password].map(|text| quoted(&text));
        format!("[c8y]\nusername = {username}\npassword = {password}\n").into_bytes()
    }
}
