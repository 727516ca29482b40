//! Revocation lists: reads them from files, checks whether each can be relied on, and looks up
//! certificates.

use rustls::RootCertStore;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::TrustAnchor;

use super::authorities::Authorities;
use super::source::{Files, Source, guess};
use crate::error::Error;
use crate::x509::certificate::Certificate;
use crate::x509::pem::SectionKind;
use crate::x509::{IndexedList, Name, PublicKey, RevocationList, Time};

/// All lists that a setting names.
#[derive(Debug, Default)]
pub(super) struct Lists(Vec<IndexedList>);

impl Lists {
    /// Reads all lists. A list that cannot be parsed stops the start: ignoring it would admit
    /// revoked clients.
    pub(super) fn load(
        source: &Source,
        authorities: &Authorities,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let Files { is_directory, sources, directories } = source.files()?;
        // Hidden directories are those of tools: `..data`, `.git`.
        let is_hidden = |directory: &&Source| {
            directory.path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.')
        };
        if let Some(directory) = directories.iter().find(|directory| !is_hidden(directory)) {
            return Err(directory.error(
                "is a directory, and lists in it would not be read: move them to its parent directory",
            ));
        }
        let (mut lists, mut is_any_ours) = (Vec::new(), false);
        for file in &sources {
            let contents = file.contents().map_err(|why| file.unreadable(why))?;
            if let Some(fault) = contents.faults.first() {
                return Err(file.error(fault));
            }
            let is_other = is_directory && !contents.sections.is_empty();
            if contents.first(SectionKind::RevocationList).is_none() && !is_other {
                let guess = guess(&contents);
                return Err(file.error(format_args!("holds no revocation list{guess}")));
            }
            for section in contents.sections {
                if section.kind == SectionKind::RevocationList {
                    is_any_ours |= check(file, &section.der, section.line, authorities, warnings)?;
                    let list = IndexedList::new(section.der).map_err(|what| file.error(what))?;
                    lists.push(list);
                }
            }
        }
        if lists.is_empty() {
            return Err(source.error("holds no revocation list"));
        }
        if !is_any_ours {
            return Err(source.error(
                "holds no list of a CA in ca_path, so revoked clients would be admitted: add the \
                 list of your CA, or its certificate to ca_path",
            ));
        }
        Ok(Self(lists))
    }

    /// Whether any list contains the number, whoever issued it.
    pub(super) fn has(&self, serial: &[u8]) -> bool {
        self.0.iter().any(|list| list.holds(serial))
    }

    /// Whether a list of this issuer contains the number: one with its name, or one that a key of
    /// it signed. The list of a CA also covers the certificates of its older keys. On the other hand
    /// some tools encode the name in a list differently from the CA's certificate.
    pub(super) fn has_of<'a>(
        &self,
        serial: &[u8],
        issuer: Name<'_>,
        keys: impl Iterator<Item = PublicKey<'a>> + Clone,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> bool {
        let is_signed =
            |list: &IndexedList| keys.clone().any(|key| list.is_signed_by(key, algorithms));
        // First the number, since verifying the signature takes longer.
        self.0.iter().any(|list| list.holds(serial) && (list.issuer() == issuer || is_signed(list)))
    }

    /// The indices, in order, of the revoked roots: each of their certificates is on a list of
    /// its issuer. If that is not trusted, the list counts though it cannot be verified.
    pub(super) fn revoked_authorities(
        &self,
        Authorities { store: roots, certificates, .. }: &Authorities,
    ) -> Vec<usize> {
        let algorithms = crate::crypto::provider().signature_verification_algorithms;
        let is_revoked = |der: &Vec<u8>| {
            let Ok(read) = Certificate::parse(der) else { return false };
            let keys = keys(roots, read.issuer).filter(|key| read.is_signed_by(*key, algorithms));
            self.has(read.serial) && self.has_of(read.serial, read.issuer, keys, algorithms)
        };
        let all = certificates.iter().enumerate();
        all.filter(|(_, of_one)| !of_one.is_empty() && of_one.iter().all(is_revoked))
            .map(|(index, _)| index)
            .collect()
    }
}

/// Whether a list is that of a trusted CA, or of the issuer of one. A list that cannot be relied on
/// is an error.
fn check(
    file: &Source,
    der: &[u8],
    line: usize,
    authorities: &Authorities,
    warnings: &mut Vec<String>,
) -> Result<bool, Error> {
    let roots = &authorities.store;
    let algorithms = crate::crypto::provider().signature_verification_algorithms;
    let list = RevocationList::parse(der).map_err(|malformed| {
        file.error(format_args!("holds a list that is {malformed} (line {line})"))
    })?;
    let issuer = list.issuer;
    if let Some(what) = list.unfit {
        return Err(file.error(format_args!("holds {what}: {issuer} (line {line})")));
    }
    // By the key, since some tools encode the name differently from the CA's certificate.
    let mut named = keys(roots, issuer).peekable();
    let is_named = named.peek().is_some();
    let mut all = named.chain(roots.roots.iter().map(key));
    let is_trusted = all.any(|key| list.is_signed_by(key, algorithms));
    if is_named && !is_trusted {
        return Err(file.error(format_args!(
            "holds a list that is not signed by the trusted CA of this name; if this CA has a new \
             key, sign the list again: {issuer} (line {line})"
        )));
    } else if !is_trusted {
        warnings.push(file.say(format_args!(
            "holds a list of a CA that is not in ca_path: it is used, but its signature is not \
             verified: {issuer} (line {line})"
        )));
    }
    if let Some(due) = list.next_update.filter(|due| *due < Time::now()) {
        warnings.push(file.say(format_args!(
            "holds a list that expired on {due} and is still used: {issuer} (line {line})"
        )));
    }
    Ok(is_trusted || authorities.are_issued_by(issuer))
}

/// The keys of the roots of this name.
fn keys<'a>(
    roots: &'a RootCertStore,
    name: Name<'_>,
) -> impl Iterator<Item = PublicKey<'a>> + Clone {
    let named = roots.roots.iter().filter(move |root| Name::new(&root.subject) == name);
    named.map(key)
}

fn key<'a>(root: &'a TrustAnchor<'_>) -> PublicKey<'a> {
    PublicKey::new(&root.subject_public_key_info)
}
