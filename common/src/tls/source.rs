//! A setting that names certificates, keys or lists, and error messages that contain both the
//! setting and the file.
//!
//! Knows only the names of settings that it is given.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::staging::{self, ListedPath, Unreadable};
use crate::x509::pem::{self, Contents, SectionKind};

/// A setting that names a file, and the file.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) key: String,
    pub(super) path: PathBuf,
}

/// The files of a setting that takes a file or a directory.
pub(super) struct Files {
    pub(super) is_directory: bool,
    pub(super) sources: Vec<Source>,
    /// The subdirectories of that directory.
    pub(super) directories: Vec<Source>,
}

impl Source {
    pub(super) fn new(key: String, path: &Path) -> Self {
        Self { key, path: path.to_owned() }
    }

    /// An error in the configuration, with the setting and the file.
    pub(super) fn error(&self, what: impl fmt::Display) -> Error {
        Error::Configuration(self.say(what))
    }

    /// The error of a file that cannot be read.
    pub(super) fn unreadable(&self, why: Unreadable) -> Error {
        why.with(self.say(&why))
    }

    /// The same as a warning.
    pub(super) fn say(&self, what: impl fmt::Display) -> String {
        format!("{}: {} {what}", self.key, self.path.display())
    }

    /// The files of a directory, sorted by name, each once even if several links lead to it. If the
    /// path is a file, that file.
    pub(super) fn files(&self) -> Result<Files, Error> {
        let Some(entries) = staging::entries(&self.path).map_err(|why| self.unreadable(why))?
        else {
            let sources = vec![self.clone()];
            return Ok(Files { is_directory: false, sources, directories: Vec::new() });
        };
        let (directories, sources): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.is_directory);
        let within = |entries: Vec<ListedPath>| {
            let entries = entries.into_iter();
            entries.map(|entry| Self { key: self.key.clone(), path: entry.path }).collect()
        };
        Ok(Files { is_directory: true, sources: within(sources), directories: within(directories) })
    }

    /// Reads the file, or root's copy of it.
    pub(super) fn contents(&self) -> Result<Contents, Unreadable> {
        staging::read(&self.path).map(|bytes| pem::read(&bytes))
    }
}

/// What a file holds instead of the expected content, to follow a message.
pub(super) fn guess(contents: &Contents) -> &'static str {
    let mut kinds = contents.sections.iter().map(|section| section.kind);
    if contents.first(SectionKind::EncryptedKey).is_some() {
        return "; it holds a key with a passphrase, which a service cannot use: remove the passphrase \
                with `openssl pkey -in FILE -out NEW`";
    }
    match kinds.next() {
        Some(SectionKind::PrivateKey) => "; it holds a private key",
        Some(SectionKind::Request) => {
            "; it holds a certificate signing request, which has to be signed first"
        }
        Some(SectionKind::Certificate) => "; it holds a certificate",
        Some(SectionKind::RevocationList) => "; it holds a revocation list",
        Some(_) => "; it holds a public key or parameters",
        None => "; PEM is expected, text with BEGIN and END lines",
    }
}
