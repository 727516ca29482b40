//! Root's part of a unit: before the service starts and when it is reloaded, copies the files that
//! the service needs but may not read into the unit's directory, readable only for the service.
//!
//! Users other than root may be able to write the settings, and the directory belongs to the
//! service. So root copies as little as possible:
//!
//! - A file must be in directories that only root can change. If users other than root can write
//!   the settings, it must belong to root and be below the configuration directory
//!   ([`super::walk`]).
//! - Of a file only what its setting is for is copied: certificates, lists, the first private key,
//!   one line with a password, user name and password, or access rules.
//! - A private key is copied only if the settings name the certificate for it. That of a CA
//!   ([`super::authority`]) is not copied, nor one from a configuration directory that others can
//!   change: they can have moved any key of root's there. The device's own key may have signed its
//!   own certificate, where only root can have named it.
//! - Of a directory only those names are copied that the service reads or reports.
//!
//! Faulty content is copied unchanged: the service reports it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::authority;
use super::directory::StagingDirectory;
use super::find::{self, Copy, ListedPath};
use super::original::{self, Unreadable};
use super::secrets::{self, BasicCredentials};
use super::walk::{self, Opened, PathWalk};
use crate::error::Error;
use crate::settings::{self, PathTo, SETTINGS, Values};
use crate::x509::RevocationList;
use crate::x509::certificate::Certificate;
use crate::x509::key::{PrivateKey, Unusable};
use crate::x509::pem::{self, Contents, Fault, Section, SectionKind};

/// Copies what the settings of this program name.
///
/// # Errors
///
/// If no unit gave a directory, or it cannot be written.
pub(crate) fn stage(program: &str, config_dir: &Path) -> Result<(), Error> {
    let directory = find::runtime_directory().ok_or_else(|| {
        Error::Usage("--stage is for the unit of the service, which sets RUNTIME_DIRECTORY".into())
    })?;
    let staged = StagingDirectory::open(&directory)?;
    // The service reports settings that cannot be read.
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
        // The device's own key is needed for nothing but a token over HTTPS.
        let is_needed = !setting.key.starts_with("device.") || asks_over_https(values);
        let is_used = is_needed && setting.used_by.iter().any(|user| user.name() == program);
        let path_to = setting.kind.path_to.filter(|path_to| is_used && *path_to != PathTo::Data);
        if let Some((found, path_to)) = values.found(setting).zip(path_to) {
            named.entry(PathBuf::from(&found.text)).or_default().push(path_to);
        }
    }
    named
}

fn asks_over_https(values: &Values) -> bool {
    let is = |key: &str, text: &str| {
        let found = settings::find(key).and_then(|setting| values.found(setting));
        found.is_some_and(|found| found.text == text)
    };
    !is("c8y.auth_method", "basic") && !is("c8y.proxy.token_source", "mqtt")
}

pub(super) fn hand_over(
    walk: &PathWalk,
    named: &BTreeMap<PathBuf, Vec<PathTo>>,
    mut staged: StagingDirectory,
) -> Result<(), Error> {
    let trusted = named.iter().filter(|(_, meant)| meant.contains(&PathTo::Authorities));
    let trusted: Vec<_> = trusted.flat_map(|(path, _)| certificates(walk, path)).collect();
    let own = named.iter().filter(|(_, meant)| meant.contains(&PathTo::Certificate));
    let own: Vec<_> = own.flat_map(|(path, _)| own_certificates(walk, path)).collect();
    for (path, meant) in named {
        let filter = Filter { meant, trusted: &trusted, own: &own, walk };
        let is_open = walk::is_open_to_all(path);
        let may_be_directory = filter.means(&[PathTo::Authorities, PathTo::RevocationLists]);
        match list(walk, path).filter(|_| may_be_directory) {
            Some(listing) if is_open => {
                for entry in ListedPath::all(path, &listing) {
                    if !entry.is_directory && !walk::is_open_to_all(&entry.path) {
                        put(filter.find(&entry.path), &entry.path, &mut staged)?;
                    }
                }
            }
            Some(listing) => filter.copy_directory(path, &listing, &mut staged)?,
            None if !is_open => put(filter.find(path), path, &mut staged)?,
            // The service can read it itself.
            None => {}
        }
    }
    staged.clear()
}

/// The entries of a directory; `None` if the path does not lead to one.
fn list(walk: &PathWalk, path: &Path) -> Option<Vec<u8>> {
    find::list(walk.open(path).ok()?.file.as_fd()).ok()
}

/// The certificates in a file or in the files of a directory.
fn certificates(walk: &PathWalk, path: &Path) -> Vec<Vec<u8>> {
    // A file that all users can read may be anywhere: it is not copied, only compared.
    let entries = if walk::is_open_to_all(path) {
        find::entries(path).ok().flatten()
    } else {
        list(walk, path).map(|listing| ListedPath::all(path, &listing))
    };
    let files = match entries {
        Some(entries) => entries.into_iter().map(|entry| entry.path).collect(),
        None => vec![path.to_owned()],
    };
    let read = files.iter().filter_map(|file| match walk.open(file) {
        Ok(opened) => original::read_opened(opened.file).ok(),
        Err(_) if walk::is_open_to_all(file) => original::read(file).ok(),
        Err(_) => None,
    });
    let contents = read.map(|bytes| pem::read(&bytes));
    contents
        .flat_map(|found| found.certificates().map(<[u8]>::to_vec).collect::<Vec<_>>())
        .collect()
}

/// The certificates by which a service identifies itself. If other users can have written the
/// settings, they can have made a certificate for any key, so only a file of root counts.
fn own_certificates(walk: &PathWalk, path: &Path) -> Vec<Vec<u8>> {
    let bytes = match walk.open(path) {
        Ok(opened) => original::read_opened(opened.file),
        Err(_) if walk.is_roots_alone && walk::is_open_to_all(path) => original::read(path),
        Err(error) => Err(error),
    };
    let contents = pem::read(&bytes.unwrap_or_default());
    let parsed = contents.certificates().filter(|der| Certificate::parse(der).is_ok());
    parsed.map(<[u8]>::to_vec).collect()
}

/// Stores what was found there, or why nothing was.
fn put(
    found: Result<Vec<u8>, Unreadable>,
    path: &Path,
    staged: &mut StagingDirectory,
) -> Result<(), Error> {
    match found {
        Ok(content) => staged.put(Copy::Content, path, &content),
        // The service finds this fault itself.
        Err(Unreadable::Missing) if path.parent().is_some_and(walk::is_open_to_all) => Ok(()),
        Err(reason) => staged.put(Copy::Reason, path, reason.to_string().as_bytes()),
    }
}

/// The part of a file that may be copied.
struct Filter<'a> {
    meant: &'a [PathTo],
    /// Certificates with which the service verifies peers.
    trusted: &'a [Vec<u8>],
    /// Certificates by which the service identifies itself.
    own: &'a [Vec<u8>],
    walk: &'a PathWalk,
}

impl Filter<'_> {
    /// Copies the files of a directory that the service cannot open, without those that the service
    /// ignores.
    fn copy_directory(
        &self,
        path: &Path,
        listing: &[u8],
        staged: &mut StagingDirectory,
    ) -> Result<(), Error> {
        /// The service names at most this many unusable files, and counts the others.
        const NAMED: usize = 3;
        let mut odd = 0;
        let mut kept = Vec::new();
        for ListedPath { path: mut name, is_directory } in ListedPath::all(path, listing) {
            // In a directory of lists another directory is an error.
            if is_directory && !self.means(&[PathTo::RevocationLists]) {
                continue;
            } else if !is_directory {
                let found = self.find(&name);
                let contents = found.as_ref().map(|copy| pem::read(copy)).unwrap_or_default();
                let is_odd = contents.sections.is_empty() || !contents.faults.is_empty();
                let is_meant = contents.sections.iter().any(|section| match section.kind {
                    SectionKind::Certificate => self.means(&[PathTo::Authorities]),
                    SectionKind::RevocationList => self.means(&[PathTo::RevocationLists]),
                    _ => false,
                });
                if !is_meant && !is_odd {
                    continue;
                }
                odd += usize::from(!is_meant);
                let is_named = is_meant || odd <= NAMED;
                if !is_named {
                    name = path.join(format!("odd file {odd}"));
                }
                if !is_named || !walk::is_open_to_all(&name) {
                    put(found, &name, staged)?;
                }
            }
            kept.extend(name.file_name().unwrap_or_default().as_bytes());
            kept.extend(if is_directory { &b"/\0"[..] } else { b"\0" });
        }
        staged.put(Copy::Listing, path, &kept)
    }

    fn find(&self, path: &Path) -> Result<Vec<u8>, Unreadable> {
        let Opened { file, directory, is_others } = self.walk.open(path)?;
        let bytes = original::read_opened(file)?;
        if self.means(&[PathTo::Credentials]) {
            return secrets::credentials(&bytes).map(BasicCredentials::restate);
        } else if self.means(&[PathTo::Password]) {
            return secrets::password(&bytes).map(Into::into);
        } else if self.means(&[PathTo::Rules]) {
            return secrets::rules(bytes);
        }
        let mut contents = pem::read(&bytes);
        let place = self.place_of_key(&contents);
        if let Some(place) = place {
            let key = &contents.sections[place];
            self.check(path, &contents, key, directory.as_fd(), is_others)?;
            if !self.is_own(&key.der)? {
                // The service reports that the key does not belong to its certificate. It gets a
                // new key, for which it reports the same.
                let (_, new) = PrivateKey::generate().map_err(|_| io::Error::from(Errno::IO))?;
                contents.sections[place].der = new;
            }
        }
        let key = place.map(|place| &contents.sections[place]);
        Ok(self.restate(&contents, key))
    }

    /// The index of the private key to copy; `None` if the service reports another fault first.
    fn place_of_key(&self, contents: &Contents) -> Option<usize> {
        let is_key = |section: &Section| section.kind == SectionKind::PrivateKey;
        let place = contents.sections.iter().position(is_key)?;
        let has_no_certificate = self.own.is_empty() && self.means(&[PathTo::Certificate]);
        let is_meant = self.means(&[PathTo::PrivateKey, PathTo::DeviceKey])
            && !has_no_certificate
            && !contents.faults.iter().any(Fault::is_damage)
            && PrivateKey::new(&contents.sections[place].der).err() != Some(Unusable::Unknown);
        is_meant.then_some(place)
    }

    /// Whether a private key is that of a certificate by which the service identifies itself.
    fn is_own(&self, key: &[u8]) -> Result<bool, Unreadable> {
        let mut verdict = Err(Unreadable::NotHandedOver(
            "is not copied for the service by root: it holds a private key, and the settings name \
             no certificate for it: set one that root can read and that others cannot change"
                .to_owned(),
        ));
        for owner in self.own.iter().filter_map(|der| Certificate::parse(der).ok()) {
            verdict = match PrivateKey::of(owner.key, key) {
                Ok(key) if key.public().is_ok_and(|public| public == owner.key.content()) => {
                    return Ok(true);
                }
                Ok(_) => Ok(false),
                Err(unusable) => Err(Unreadable::Unfit(unusable.to_string())),
            };
        }
        verdict
    }

    /// Fails if a private key is that of a CA, or may be.
    fn check(
        &self,
        path: &Path,
        contents: &Contents,
        key: &Section,
        directory: BorrowedFd<'_>,
        is_others: bool,
    ) -> Result<(), Unreadable> {
        let refusal = |what: String| {
            let message = format!("is not copied for the service by root: it holds {what}");
            Err(Unreadable::NotHandedOver(message))
        };
        let path_to = path.parent().unwrap_or(path);
        if is_others {
            return Err(walk::key_among_others(path));
        }
        let trusted = self.trusted.iter().map(Vec::as_slice);
        if self.meant == [PathTo::DeviceKey] && self.walk.is_roots_alone {
            return match authority::owns(trusted, &key.der) {
                true => refusal("the private key of a CA that this service trusts".to_owned()),
                false => Ok(()),
            };
        }
        let own = self.own.iter().map(Vec::as_slice);
        let known = contents.certificates().chain(trusted).chain(own);
        let mut is_authoritys =
            authority::owns(known, &key.der) || authority::is_in(directory, &key.der)?;
        // For a link, the directory of its target is searched too.
        if path.is_symlink() {
            is_authoritys |= authority::is_in(self.walk.open(path_to)?.file.as_fd(), &key.der)?;
        }
        if is_authoritys {
            return refusal(format!(
                "the private key of a CA (line {}): use another key, for example that of \
                 `tedge certs server NAME`",
                key.line
            ));
        }
        Ok(())
    }

    /// The sections that the setting is for, and the other ones without their content.
    fn restate(&self, contents: &Contents, key: Option<&Section>) -> Vec<u8> {
        contents.restate(|section| match section.kind {
            SectionKind::Certificate => {
                self.means(&[PathTo::Certificate, PathTo::Authorities])
                    && Certificate::parse(&section.der).is_ok()
            }
            SectionKind::RevocationList => {
                self.means(&[PathTo::RevocationLists])
                    && RevocationList::parse(&section.der).is_ok()
            }
            SectionKind::PrivateKey => key == Some(section),
            _ => false,
        })
    }

    fn means(&self, any: &[PathTo]) -> bool {
        any.iter().any(|path_to| self.meant.contains(path_to))
    }
}
