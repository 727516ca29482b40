//! Which clients may connect: those whom an authority vouches for, and who are on no list.
//!
//! rustls verifies the certificate. What its own look at revocation lists does otherwise than
//! promised is done here: it asks the first list of an issuer only, and takes a list of another
//! CA of the same name, which a renewed CA leaves behind, for a reason to refuse everybody.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::SectionKind;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::authorities::MANY;
use super::source::Source;
use crate::error::Error;
use crate::x509::Name;
use crate::x509::RevocationList;
use crate::x509::Time;
use crate::x509::certificate::{Certificate, PublicKey};

/// Who may connect.
#[derive(Debug)]
pub(super) struct Admission {
    verifier: Arc<dyn ClientCertVerifier>,
    roots: Arc<RootCertStore>,
    lists: Vec<Box<[u8]>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Admission {
    /// Builds it, with warnings of its own. No list means that nobody is revoked.
    pub(super) fn new(
        authorities: &Source,
        roots: RootCertStore,
        lists: Option<&Source>,
        provider: &Arc<CryptoProvider>,
        warnings: &mut Vec<String>,
    ) -> Result<Arc<Self>, Error> {
        let roots = Arc::new(roots);
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
        // Their names would be 46 KB in each handshake.
        if roots.len() > MANY {
            builder = builder.clear_root_hint_subjects();
            warnings.push(authorities.say(format_args!(
                "names {} CAs: public ones, it seems, and each of them can vouch for a client; \
                 a file with your own CA alone is safer",
                roots.len()
            )));
        }
        let verifier = builder
            .build()
            .map_err(|error| authorities.error(format_args!("cannot be used: {error}")))?;
        let algorithms = provider.signature_verification_algorithms;
        let mut admission = Self { verifier, roots, lists: Vec::new(), algorithms };
        if let Some(source) = lists {
            admission.load_lists(source, warnings)?;
        }
        Ok(Arc::new(admission))
    }

    fn load_lists(&mut self, source: &Source, warnings: &mut Vec<String>) -> Result<(), Error> {
        for file in &source.files()?.sources {
            let mut lists = Vec::new();
            file.each_section(|kind, der| {
                if kind == SectionKind::Crl {
                    lists.push(der);
                }
            })
            .map_err(|what| file.error(what))?;
            for der in lists {
                self.check_list(file, &der, warnings)?;
                self.lists.push(der.into());
            }
        }
        if self.lists.is_empty() {
            return Err(source.error(format_args!("holds no revocation list{}", source.guess())));
        }
        Ok(())
    }

    /// A list that cannot be relied on stops the start: to pass it over would let in whom it
    /// keeps out.
    fn check_list(
        &self,
        file: &Source,
        der: &[u8],
        warnings: &mut Vec<String>,
    ) -> Result<(), Error> {
        let list = RevocationList::parse(der)
            .map_err(|malformed| file.error(format_args!("holds a list that is {malformed}")))?;
        if list.is_partial {
            return Err(file.error("holds a delta or an indirect list; a complete one is needed"));
        }
        let issuer = list.issuer;
        let mut keys = self.root_keys(issuer).peekable();
        if keys.peek().is_none() {
            warnings
                .push(file.say(format_args!("is a list of a CA that is not trusted: {issuer}")));
        } else if !keys.any(|key| list.is_signed_by(key, self.algorithms)) {
            return Err(file.error(format_args!(
                "holds a list that is not signed by the trusted CA of this name, but perhaps by \
                 an older one: {issuer}"
            )));
        }
        if let Some(due) = list.next_update.filter(|due| *due < Time::now()) {
            warnings.push(
                file.say(format_args!(
                    "holds a list that has expired on {due}, used still: {issuer}"
                )),
            );
        }
        Ok(())
    }

    fn root_keys(&self, name: Name<'_>) -> impl Iterator<Item = PublicKey<'_>> {
        self.roots
            .roots
            .iter()
            .filter(move |root| root.subject.as_ref() == name.content())
            .map(|root| PublicKey::new(&root.subject_public_key_info))
    }

    /// Whether a list that the certificate's own issuer signed holds it.
    fn is_revoked(&self, certificate: &Certificate<'_>, chain: &[Certificate<'_>]) -> bool {
        self.lists.iter().any(|der| {
            // Serial numbers first: signatures are looked at for nobody but those on a list.
            RevocationList::parse(der).is_ok_and(|list| {
                list.issuer == certificate.issuer
                    && list.holds(certificate.serial)
                    && chain
                        .iter()
                        .filter(|issuer| issuer.subject == list.issuer)
                        .map(|issuer| issuer.key)
                        .chain(self.root_keys(list.issuer))
                        .any(|key| {
                            list.is_signed_by(key, self.algorithms)
                                && certificate.is_signed_by(key, self.algorithms)
                        })
            })
        })
    }
}

impl ClientCertVerifier for Admission {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.verifier.verify_client_cert(end_entity, intermediates, now)?;
        if self.lists.is_empty() {
            return Ok(verified);
        }
        let malformed = |_| rustls::Error::from(CertificateError::BadEncoding);
        let presented = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|der| Certificate::parse(der).map_err(malformed))
            .collect::<Result<Vec<_>, _>>()?;
        if presented.iter().any(|certificate| self.is_revoked(certificate, &presented)) {
            return Err(CertificateError::Revoked.into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
