//! Which clients may connect: those with a certificate that a trusted authority has signed and that
//! is on no list.
//!
//! rustls verifies the certificate. Revocation is checked here, because rustls differs from what we
//! promise: it checks only the first list of an issuer, and it refuses all clients if there is a
//! list of another CA of the same name, which is left after a CA is renewed.

use std::iter::once;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::authorities::{Authorities, MANY};
use super::explain::WeakKey;
use super::revocation::Lists;
use super::source::Source;
use crate::error::Error;
use crate::x509::certificate::Certificate;
use crate::x509::{Malformed, Name, PublicKey};

/// The clients that may connect.
#[derive(Debug)]
pub(super) struct Admission {
    verifier: Arc<dyn ClientCertVerifier>,
    pub(super) roots: Arc<RootCertStore>,
    lists: Lists,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Admission {
    /// Builds it and adds warnings. Without lists no client is revoked.
    pub(super) fn new(
        source: &Source,
        authorities: Authorities,
        lists: Option<&Source>,
        warnings: &mut Vec<String>,
    ) -> Result<Arc<Self>, Error> {
        let provider = crate::crypto::provider();
        let algorithms = provider.signature_verification_algorithms;
        let lists = match lists {
            Some(lists) => Lists::load(lists, &authorities, warnings)?,
            None => Lists::default(),
        };
        let revoked = lists.revoked_authorities(&authorities);
        let mut store = authorities.store;
        for index in revoked.into_iter().rev() {
            let root = store.roots.remove(index);
            warnings.push(source.say(format_args!(
                "holds a revoked CA, which is ignored: {}",
                Name::new(&root.subject)
            )));
        }
        let roots = Arc::new(store);
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider);
        // The names of all public CAs would add 46 KB to each handshake.
        if roots.len() > MANY {
            builder = builder.clear_root_hint_subjects();
            warnings.push(source.say(format_args!(
                "holds {} CAs, which seem to be public: a client certificate of any of them is \
                 accepted; a file with only your own CA is safer",
                roots.len()
            )));
        }
        let verifier = builder.build().map_err(|error| match roots.is_empty() {
            true => source.error("holds only revoked CAs"),
            false => source.error(format_args!("cannot be used: {error}")),
        })?;
        Ok(Arc::new(Self { verifier, roots, lists, algorithms }))
    }

    /// Whether the client with this certificate and this chain may connect.
    pub(super) fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .verifier
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(|error| self.weak_key(end_entity, intermediates).unwrap_or(error))?;
        let bad = |_: Malformed| rustls::Error::from(CertificateError::BadEncoding);
        let leaf = Certificate::parse(end_entity).map_err(bad)?;
        if !leaf.key.can_be_verified(self.algorithms) {
            return Err(weak(leaf.key));
        }
        let presented = intermediates.iter().flat_map(|der| Certificate::parse(der));
        let mut serials = presented.map(|certificate| certificate.serial).chain([leaf.serial]);
        // Signatures are verified again only if a serial number is on a list.
        if serials.any(|serial| self.lists.has(serial)) {
            self.find_unrevoked_path(end_entity, intermediates, now)?;
        }
        Ok(verified)
    }

    /// Fails if each path to an authority has a revoked certificate. Certificates on no path do not
    /// count.
    fn find_unrevoked_path(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let is_unrevoked = |path: &VerifiedPath<'_>| self.check_path(path);
        EndEntityCert::try_from(end_entity)
            .and_then(|certificate| {
                certificate
                    .verify_for_usage(
                        self.algorithms.all,
                        &self.roots.roots,
                        intermediates,
                        now,
                        KeyUsage::client_auth(),
                        None,
                        Some(&is_unrevoked),
                    )
                    .map(drop)
            })
            // There is a path, since the certificate was verified before.
            .map_err(|_| CertificateError::Revoked.into())
    }

    fn check_path(&self, path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
        let mut issuer_key = path.anchor().subject_public_key_info.to_vec();
        let leaf: &webpki::Cert<'_> = path.end_entity();
        for certificate in path.intermediate_certificates().rev().chain([leaf]) {
            let key = once(PublicKey::new(&issuer_key));
            let issuer = Name::new(certificate.issuer());
            if self.lists.has_of(certificate.serial(), issuer, key, self.algorithms) {
                return Err(webpki::Error::CertRevoked);
            }
            let spki = certificate.subject_public_key_info();
            let key = PublicKey::parse(&spki).map_err(|_| webpki::Error::BadDer)?;
            issuer_key = key.content().to_vec();
        }
        Ok(())
    }

    /// The reason why rustls found a signature wrong, if it cannot use the key that made it.
    fn weak_key(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Option<rustls::Error> {
        let presented = once(end_entity).chain(intermediates);
        let mut keys = presented.flat_map(|der| Certificate::parse(der)).map(|read| read.key);
        keys.find(|key| !key.can_be_verified(self.algorithms)).map(weak)
    }
}

fn weak(key: PublicKey<'_>) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(WeakKey(key.to_string())))).into()
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
        self.judge(end_entity, intermediates, now)
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
