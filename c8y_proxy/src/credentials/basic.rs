//! User name and password from a file, for devices that have no certificate. The file is read again
//! when upstream refuses them, and on a reload.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::error::Error;
use common::journal::complain;
use common::staging::{self, BasicCredentials, Unreadable};
use common::tasks::unblock;
use http::HeaderValue;

use super::grant::Grant;

/// The credentials as they were last read.
pub(super) struct Basic {
    path: PathBuf,
    current: Mutex<Grant>,
    /// How often the user name has changed.
    changes: AtomicU64,
}

impl Basic {
    /// # Errors
    ///
    /// As [`authorization`].
    pub(super) fn load(path: PathBuf) -> Result<Self, Error> {
        let value = authorization(&path)?;
        Ok(Self::new(path, value))
    }

    pub(super) fn new(path: PathBuf, value: HeaderValue) -> Self {
        Self { path, current: Mutex::new(Grant::new(value, 0)), changes: AtomicU64::new(0) }
    }

    pub(super) fn grant(&self) -> Grant {
        self.current().clone()
    }

    pub(super) fn user(&self) -> Option<Vec<u8>> {
        user(self.current().value())
    }

    /// How often the user name has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// The current content of the file, if it differs from the refused credentials.
    pub(super) async fn other_than(&self, refused: &Grant) -> Option<Grant> {
        if self.grant().number() == refused.number() {
            self.read_again().await;
        }
        Some(self.grant()).filter(|grant| grant.number() != refused.number())
    }

    /// If the file cannot be read, the old credentials stay in use.
    pub(super) async fn read_again(&self) {
        let path = self.path.clone();
        match unblock(move || authorization(&path)).await {
            Ok(value) => {
                let mut current = self.current();
                if *current.value() != value {
                    let is_another = user(current.value()) != user(&value);
                    self.changes.fetch_add(is_another.into(), Relaxed);
                    *current = Grant::new(value, current.number() + 1);
                    log::info!("c8y.credentials_path: {}: read again", self.path.display());
                }
            }
            Err(error) => {
                complain(&error.to_string(), &"the old credentials stay in use");
            }
        }
    }

    fn current(&self) -> MutexGuard<'_, Grant> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The user name, which has no colon.
fn user(authorization: &HeaderValue) -> Option<Vec<u8>> {
    let pair = authorization.as_bytes().strip_prefix(b"Basic ")?;
    let pair = STANDARD.decode(pair).ok()?;
    pair.split(|byte| *byte == b':').next().map(<[u8]>::to_vec)
}

/// The value of `Authorization` for the file at `c8y.credentials_path`.
///
/// # Errors
///
/// Names the file and its fault, but never quotes its content.
fn authorization(path: &Path) -> Result<HeaderValue, Error> {
    staging::read(path).and_then(|bytes| parse(&bytes)).map_err(|error| {
        Error::Configuration(format!("c8y.credentials_path: {} {error}", path.display()))
    })
}

fn parse(bytes: &[u8]) -> Result<HeaderValue, Unreadable> {
    let BasicCredentials { username, password } = staging::credentials(bytes)?;
    let pair = STANDARD.encode(format!("{username}:{password}"));
    let mut value = HeaderValue::try_from(format!("Basic {pair}"))
        .map_err(|_| Unreadable::Unfit("cannot be sent in a header field".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_user_name_and_password() {
        let text = "[c8y]\nusername = \"t1/device_x\"\npassword = \"pä:ß\"\n";
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(value, format!("Basic {}", STANDARD.encode("t1/device_x:pä:ß")).as_str());
        assert!(value.is_sensitive());
    }

    #[test]
    fn says_what_is_wrong_and_not_what_is_secret() {
        for (text, complaint) in [
            ("", "missing field `c8y`"),
            ("[c8y]\nusername = \"u\"", "missing field `password`"),
            ("[c8y]\nusername = \"u\"\npassword = 1", "invalid type"),
            ("[c8y]\nusername = \"\"\npassword = \"secret\"", "username is empty"),
            ("[c8y]\nusername = \"a:b\"\npassword = \"secret\"", "a colon"),
            ("[c8y\npassword = \"secret\"", ""),
        ] {
            let message = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(complaint), "{text}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn names_a_file_that_is_not_there() {
        let error = authorization(Path::new("/nowhere/credentials.toml")).unwrap_err();
        assert_eq!(error.exit_code(), 78);
        assert!(error.to_string().contains("c8y.credentials_path: /nowhere/credentials.toml"));
    }
}
