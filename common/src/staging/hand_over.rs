//! Root's part of a unit: before the service starts and when it is reloaded, copies what the
//! service needs and may not read into the unit's directory, readable for the service alone.
//!
//! Settings may be in other hands than root's, and the directory is the service's. So of each file
//! no more is copied than its setting means; what lies outside of the configuration only where
//! nobody but root can have named it; and no link leads a copy anywhere. It judges nothing: of
//! what is odd the copy is as odd, and the service says so itself.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::directory::StagingDirectory;
use super::find::{self, Copy, Entry};
use super::original::{self, Unreadable};
use super::secrets::{self, Credentials};
use super::walk::{self, PathWalk};
use crate::error::Error;
use crate::settings::{PathTo, SETTINGS, Values};
use crate::x509::RevocationList;
use crate::x509::certificate::Certificate;
use crate::x509::key::{Key, Unusable};
use crate::x509::pem::{self, Contents, Kind, Section};

/// Copies what the settings of this program name.
///
/// # Errors
///
/// Where no unit gave a directory, or it cannot be written.
pub(crate) fn stage(program: &str, config_dir: &Path) -> Result<(), Error> {
    let directory = find::runtime_directory().ok_or_else(|| {
        Error::Usage("--stage is for the unit of the service, which sets RUNTIME_DIRECTORY".into())
    })?;
    let staged = StagingDirectory::open(&directory)?;
    // Settings that cannot be read are the service's to complain of, once.
    let named = match Values::read(config_dir, std::env::vars_os().collect(), &[]) {
        Ok(values) => named(&values, program),
        Err(_) => BTreeMap::new(),
    };
    hand_over(&PathWalk::new(Path::new("/"), config_dir), &named, staged)
}

/// The paths that the settings of a program name, with what each may lead to.
fn named(values: &Values, program: &str) -> BTreeMap<PathBuf, Vec<PathTo>> {
    let mut named = BTreeMap::<_, Vec<_>>::new();
    for setting in SETTINGS {
        let is_used = setting.used_by.iter().any(|user| user.name() == program);
        let path_to = setting.kind.path_to.filter(|path_to| is_used && *path_to != PathTo::Data);
        if let Some((found, path_to)) = values.found(setting).zip(path_to) {
            named.entry(PathBuf::from(&found.text)).or_default().push(path_to);
        }
    }
    named
}

pub(super) fn hand_over(
    walk: &PathWalk,
    named: &BTreeMap<PathBuf, Vec<PathTo>>,
    mut staged: StagingDirectory,
) -> Result<(), Error> {
    let trusted = named.iter().filter(|(_, meant)| meant.contains(&PathTo::Authorities));
    let trusted: Vec<_> = trusted.flat_map(|(path, _)| certificates(walk, path)).collect();
    for (path, meant) in named {
        let filter = Filter { meant, trusted: &trusted, walk };
        let is_open = walk::is_open_to_all(path);
        match list(walk, path) {
            Some(listing) => {
                for entry in Entry::all(path, &listing) {
                    if !entry.is_directory && !walk::is_open_to_all(&entry.path) {
                        filter.copy(&entry.path, &mut staged)?;
                    }
                }
                if !is_open {
                    staged.put(Copy::Listing, path, &listing)?;
                }
            }
            None if !is_open => filter.copy(path, &mut staged)?,
            // What is open the service can read itself.
            None => {}
        }
    }
    staged.clear()
}

/// The entries of a directory; `None` where the path leads to none.
fn list(walk: &PathWalk, path: &Path) -> Option<Vec<u8>> {
    find::list(walk.open(path).ok()?.as_fd()).ok()
}

/// The certificates in a file or in the files of a directory.
fn certificates(walk: &PathWalk, path: &Path) -> Vec<Vec<u8>> {
    let files = match list(walk, path) {
        Some(listing) => Entry::all(path, &listing).into_iter().map(|entry| entry.path).collect(),
        None => vec![path.to_owned()],
    };
    let read = files.iter().filter_map(|file| read(walk, file).ok());
    let sections = read.flat_map(|bytes| pem::read(&bytes).sections);
    sections.filter(|section| section.kind == Kind::Certificate).map(|found| found.der).collect()
}

fn read(walk: &PathWalk, path: &Path) -> Result<Vec<u8>, Unreadable> {
    original::read_opened(walk.open(path)?)
}

/// What of a file may be handed over.
struct Filter<'a> {
    meant: &'a [PathTo],
    /// The certificates by which the service judges others.
    trusted: &'a [Vec<u8>],
    walk: &'a PathWalk,
}

impl Filter<'_> {
    fn copy(&self, path: &Path, staged: &mut StagingDirectory) -> Result<(), Error> {
        match read(self.walk, path).and_then(|bytes| self.content(path, &bytes)) {
            Ok(content) => staged.put(Copy::Content, path, &content),
            // The service can see that itself.
            Err(Unreadable::Missing) if path.parent().is_some_and(walk::is_open_to_all) => Ok(()),
            Err(reason) => staged.put(Copy::Reason, path, reason.to_string().as_bytes()),
        }
    }

    fn content(&self, path: &Path, bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let refusal = |what: &str| {
            let message = format!("is not handed to the service by root: it holds {what}");
            Err(Unreadable::NotHandedOver(message))
        };
        let contents = pem::read(bytes);
        let key = contents.first(Kind::PrivateKey);
        if self.means(&[PathTo::Credentials]) {
            return secrets::credentials(bytes).map(Credentials::restate);
        } else if self.means(&[PathTo::Password]) {
            return secrets::password(bytes).map(Into::into);
        }
        let is_meant = self.meant.contains(&PathTo::PrivateKey);
        if let Some(key) = key.filter(|key| is_meant && self.is_authoritys(path, &contents, key)) {
            return refusal(&format!("the private key of a CA (line {})", key.line));
        }
        let first_key = key.filter(|_| is_meant);
        Ok(contents.restate(|section| match section.kind {
            Kind::Certificate => {
                self.means(&[PathTo::Certificate, PathTo::Authorities])
                    && Certificate::parse(&section.der).is_ok()
            }
            Kind::RevocationList => {
                self.means(&[PathTo::RevocationLists])
                    && RevocationList::parse(&section.der).is_ok()
            }
            Kind::PrivateKey => {
                first_key == Some(section)
                    && Key::new(&section.der).err() != Some(Unusable::Unknown)
            }
            _ => false,
        }))
    }

    fn means(&self, any: &[PathTo]) -> bool {
        any.iter().any(|path_to| self.meant.contains(path_to))
    }

    /// Whether it is the key of a CA: of one that the service trusts, or of one whose certificate
    /// stands beside it under the same name, or in the same file.
    fn is_authoritys(&self, path: &Path, contents: &Contents, key: &Section) -> bool {
        let beside = ["crt", "pem", "cert", "cer", "der"].map(|end| path.with_extension(end));
        let beside = beside.iter().filter(|beside| *beside != path);
        let beside = beside.flat_map(|beside| certificates(self.walk, beside));
        let within = contents.sections.iter().filter(|found| found.kind == Kind::Certificate);
        let beside = beside.chain(within.map(|found| found.der.clone()));
        // Of a key that ring cannot read, the name has to do.
        belongs_to_authority(beside, &key.der, true)
            || belongs_to_authority(self.trusted.iter().cloned(), &key.der, false)
    }
}

/// Whether it is the key of a CA among these certificates; `unknown` where that cannot be told.
fn belongs_to_authority(
    mut certificates: impl Iterator<Item = Vec<u8>>,
    key: &[u8],
    unknown: bool,
) -> bool {
    certificates.any(|der| {
        let Ok(owner) = Certificate::parse(&der) else { return false };
        owner.is_authority()
            && match Key::of(owner.key, key).map(|key| key.public()) {
                Ok(Ok(found)) => found == owner.key.content(),
                _ => unknown,
            }
    })
}
