//! Certificates of authorities (CAs): whose signature is believed.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::SectionKind;

use super::pinned::Pins;
use super::source::Source;
use crate::error::Error;
use crate::x509::Time;
use crate::x509::certificate::Certificate;

/// More complaints about single files than this are only counted.
const COMPLAINTS: usize = 3;

/// More authorities than this are not a person's own choice, but the public ones.
pub(super) const MANY: usize = 16;

/// The authorities that a file or a directory names, each once.
pub(super) struct Authorities {
    pub(super) store: RootCertStore,
    /// Those certificates that are CAs' own.
    pub(super) pins: Pins,
    pub(super) warnings: Vec<String>,
}

/// Whom to take for an authority.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Accept {
    /// Only who may sign others: a stray certificate of a server must not make its owner a judge
    /// over clients.
    Authorities,
    /// A peer's own certificate too, pinned in this way.
    Anybody,
}

impl Authorities {
    pub(super) fn load(source: &Source, accept: Accept) -> Result<Self, Error> {
        let files = source.files()?;
        let mut loading = Loading {
            accept,
            is_directory: files.is_directory,
            store: RootCertStore::empty(),
            pins: Pins::default(),
            complaints: Vec::new(),
            expired: Vec::new(),
        };
        let mut seen = HashSet::new();
        for file in &files.sources {
            // /etc/ssl/certs has two links to each file.
            let identity = fs::metadata(&file.path).map(|file| (file.dev(), file.ino()));
            if identity.is_ok_and(|identity| !seen.insert(identity)) {
                continue;
            }
            if let Err(what) = loading.file(file) {
                if !files.is_directory {
                    return Err(file.error(what));
                }
                loading.complaints.push(file.say(what));
            }
        }
        loading.finish(source)
    }
}

struct Loading {
    accept: Accept,
    is_directory: bool,
    store: RootCertStore,
    pins: Pins,
    complaints: Vec<String>,
    expired: Vec<String>,
}

impl Loading {
    fn file(&mut self, file: &Source) -> Result<(), String> {
        let mut holds_something = false;
        file.each_section(|kind, der| {
            holds_something = true;
            if kind == SectionKind::Certificate {
                if let Err(what) = self.certificate(file, &der) {
                    self.complaints.push(file.say(what));
                }
            }
        })?;
        // Keys, requests and lists that lie in the same directory are nobody's mistake.
        if holds_something && self.is_directory {
            return Ok(());
        }
        if holds_something || file.mentions("-----BEGIN ") {
            Ok(())
        } else {
            Err(format!("holds no certificate{}", file.guess()))
        }
    }

    fn certificate(&mut self, file: &Source, der: &[u8]) -> Result<(), String> {
        let described =
            Certificate::parse(der).map_err(|e| format!("holds a certificate that is {e}"))?;
        let subject = described.subject;
        let is_own_issuer = subject == described.issuer;
        // A CA that says nothing of itself is an old root, and so signed by itself.
        let is_authority = described.extensions.is_authority.unwrap_or(is_own_issuer);
        if self.accept == Accept::Authorities && !is_authority {
            // Beside the CA's own certificate stand those that it signed, where all of them lie
            // in one directory.
            return if self.is_directory && !is_own_issuer {
                Ok(())
            } else {
                Err(format!("holds a certificate that is no CA's, left out: {subject}"))
            };
        }
        self.store.add(CertificateDer::from(der)).map_err(|error| {
            format!("holds a certificate that cannot be used ({error}): {subject}")
        })?;
        if is_authority {
            self.pins.add(der);
        }
        // Two certificates of one name and key are one authority.
        let added = self.store.roots.last();
        if self.store.roots.iter().filter(|known| Some(*known) == added).count() > 1 {
            self.store.roots.pop();
        } else if described.not_after < Time::now() {
            self.expired.push(file.say(format_args!(
                "holds a CA that has expired on {}, trusted still: {subject}",
                described.not_after
            )));
        }
        Ok(())
    }

    fn finish(mut self, source: &Source) -> Result<Authorities, Error> {
        if self.store.is_empty() {
            let why =
                self.complaints.first().map(|first| format!(" ({first})")).unwrap_or_default();
            return Err(source.error(format_args!("holds no usable CA certificate{why}")));
        }
        // Of the public ones some have always expired, and nobody here can mend that.
        if self.store.len() <= MANY {
            self.complaints.append(&mut self.expired);
        }
        let more = self.complaints.len().saturating_sub(COMPLAINTS);
        self.complaints.truncate(COMPLAINTS);
        if more > 0 {
            self.complaints.push(source.say(format_args!("has {more} more such certificates")));
        }
        self.store.roots.shrink_to_fit();
        Ok(Authorities { store: self.store, pins: self.pins, warnings: self.complaints })
    }
}
