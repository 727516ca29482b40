//! Certificates of authorities (CAs): which signatures are trusted.

use std::ops::Range;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use super::pinned::Pins;
use super::source::{Source, guess};
use crate::error::Error;
use crate::x509::certificate::Certificate;
use crate::x509::pem::SectionKind;
use crate::x509::{Name, Time};

/// The maximum number of warnings about single files. Further ones are only counted.
const COMPLAINTS: usize = 3;

/// More authorities than this are probably the public ones.
pub(super) const MANY: usize = 16;

/// The authorities in a file or a directory, each once.
pub(super) struct Authorities {
    pub(super) store: RootCertStore,
    /// For each root of the store, its certificates.
    pub(super) certificates: Vec<Vec<Vec<u8>>>,
    /// The certificates of peers that are trusted without a CA.
    pub(super) pins: Pins,
    pub(super) warnings: Vec<String>,
}

/// Which certificates count as authorities.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Accept {
    /// Only those that may sign others: the owner of a server certificate in the same directory
    /// must not be able to sign clients.
    Authorities,
    /// Also a peer's own certificate, which is pinned.
    Anybody,
}

impl Authorities {
    pub(super) fn load(source: &Source, accept: Accept) -> Result<Self, Error> {
        let files = source.files()?;
        let mut loading = Loading {
            accept,
            is_directory: files.is_directory,
            store: RootCertStore::empty(),
            certificates: Vec::new(),
            pins: Pins::default(),
            complaints: Vec::new(),
            minor: Vec::new(),
        };
        // Subdirectories are ignored, as openssl does: /etc/ssl/certs/java.
        let mut found = FoundCertificates::default();
        for file in &files.sources {
            loading.file(file, &mut found)?;
        }
        for (file, line, range) in found.certificates {
            loading.certificate(file, &found.encoded[range], line);
        }
        loading.finish(source)
    }

    /// Whether one of them has a certificate whose issuer has this name.
    pub(super) fn are_issued_by(&self, name: Name<'_>) -> bool {
        let mut certificates = self.certificates.iter().flatten();
        certificates.any(|der| Certificate::parse(der).is_ok_and(|read| read.issuer == name))
    }
}

/// The certificates of all files in one block of memory, which is freed completely. Single blocks
/// would lie between the kept roots and prevent the return of whole pages.
#[derive(Default)]
struct FoundCertificates<'a> {
    encoded: Vec<u8>,
    /// The file, the line, and where in `encoded` the certificate is.
    certificates: Vec<(&'a Source, usize, Range<usize>)>,
}

impl<'a> FoundCertificates<'a> {
    fn add(&mut self, file: &'a Source, line: usize, der: &[u8]) {
        let start = self.encoded.len();
        self.encoded.extend_from_slice(der);
        self.certificates.push((file, line, start..self.encoded.len()));
    }
}

struct Loading {
    accept: Accept,
    is_directory: bool,
    store: RootCertStore,
    certificates: Vec<Vec<Vec<u8>>>,
    pins: Pins,
    complaints: Vec<String>,
    /// Faults that some public CAs always have. They are reported only if there are few CAs.
    minor: Vec<String>,
}

impl Loading {
    /// A directory may contain other files: one bad file in it is a warning.
    fn file<'a>(
        &mut self,
        file: &'a Source,
        found: &mut FoundCertificates<'a>,
    ) -> Result<(), Error> {
        let contents = match file.contents() {
            Ok(contents) => contents,
            Err(why) if self.is_directory && !why.is_shortage() => {
                self.complaints.push(file.say(why));
                return Ok(());
            }
            Err(why) => return Err(file.unreadable(why)),
        };
        for fault in &contents.faults {
            if fault.is_damage() && !self.is_directory {
                return Err(file.error(fault));
            }
            self.complaints.push(file.say(fault));
        }
        for section in &contents.sections {
            if section.kind == SectionKind::Certificate {
                found.add(file, section.line, &section.der);
            }
        }
        // Keys, requests and lists may be in the same directory.
        let is_elsewhere = self.is_directory && !contents.sections.is_empty();
        if contents.first(SectionKind::Certificate).is_none()
            && contents.faults.is_empty()
            && !is_elsewhere
        {
            self.complaints
                .push(file.say(format_args!("holds no certificate{}", guess(&contents))));
        }
        Ok(())
    }

    fn certificate(&mut self, file: &Source, der: &[u8], line: usize) {
        let say = |what: std::fmt::Arguments<'_>| file.say(format_args!("{what} (line {line})"));
        let described = match Certificate::parse(der) {
            Ok(described) => described,
            Err(error) => {
                let what = say(format_args!("holds a certificate that is {error}"));
                return self.complaints.push(what);
            }
        };
        let subject = described.subject;
        if self.accept == Accept::Authorities && !described.is_authority() {
            // A directory may contain a CA and the certificates that it signed.
            if !self.is_directory || subject == described.issuer {
                self.complaints.push(say(format_args!(
                    "holds a certificate that is not a CA's, which is ignored: {subject}"
                )));
            }
            return;
        }
        let algorithms = crate::crypto::provider().signature_verification_algorithms;
        if !described.key.can_be_verified(algorithms) {
            return self.minor.push(say(format_args!(
                "holds a CA that is ignored, since its key ({}) is not supported: \
                 {subject}",
                described.key
            )));
        }
        if let Err(error) = self.store.add(CertificateDer::from(der)) {
            return self.complaints.push(say(format_args!(
                "holds a certificate that cannot be used ({error}): {subject}"
            )));
        }
        if self.accept == Accept::Anybody {
            self.pins.add(der);
        }
        // Two certificates of one name and key are one authority.
        let roots = &self.store.roots;
        let known = roots.iter().position(|known| Some(known) == roots.last()).unwrap_or_default();
        if known + 1 < roots.len() {
            self.store.roots.pop();
        } else {
            self.certificates.push(Vec::new());
            if described.not_after < Time::now() {
                self.minor.push(say(format_args!(
                    "holds a CA that expired on {} and is still trusted: {subject}",
                    described.not_after
                )));
            }
        }
        // Only CAs for clients are looked up in revocation lists.
        if self.accept == Accept::Authorities {
            self.certificates[known].push(der.to_vec());
        }
    }

    fn finish(mut self, source: &Source) -> Result<Authorities, Error> {
        if self.store.is_empty() {
            let first = self.complaints.iter().chain(&self.minor).next();
            return Err(match first {
                Some(first) if !self.is_directory => Error::Configuration(first.clone()),
                first => {
                    let why = first.map(|first| format!(" ({first})")).unwrap_or_default();
                    source.error(format_args!("holds no usable CA certificate{why}"))
                }
            });
        }
        if self.store.len() <= MANY {
            self.complaints.append(&mut self.minor);
        }
        let more = self.complaints.len().saturating_sub(COMPLAINTS);
        self.complaints.truncate(COMPLAINTS);
        if more > 0 {
            self.complaints.push(source.say(format_args!("has {more} more such certificates")));
        }
        self.store.roots.shrink_to_fit();
        Ok(Authorities {
            store: self.store,
            certificates: self.certificates,
            pins: self.pins,
            warnings: self.complaints,
        })
    }
}
