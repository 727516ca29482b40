//! The endpoint of device access tokens, as Cumulocity documents it: on a port of its own that
//! demands client certificates, it gives a token to devices whose chain leads to a trusted CA.
//!
//! As at Cumulocity the handshake takes any certificate of which the client has the key; it is
//! judged in HTTP. Of the chain only what stands in `X-Ssl-Cert-Chain` counts.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::body::Content;
use super::connection::{Connection, Ended};

/// Where the token is.
pub(crate) const PATH: &str = "/devicecontrol/deviceAccessToken";

/// Which certificates the tenant trusts.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    /// The CA that was uploaded, PEM.
    pub(crate) authority: PathBuf,
    /// A list of revoked certificates, PEM.
    pub(crate) revoked: Option<PathBuf>,
}

impl Trust {
    fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(&self.authority).unwrap();
        roots.add(authority).unwrap();
        let lists = self.revoked.iter().map(|list| {
            CertificateRevocationListDer::from_pem_slice(&fs::read(list).unwrap()).unwrap()
        });
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        builder.with_crls(lists).allow_unknown_revocation_status().build().unwrap()
    }

    fn judge(&self, shown: &[CertificateDer<'_>], chain: &[CertificateDer<'_>]) -> Result<(), u16> {
        let device = shown.first().ok_or(400_u16)?;
        let above = match chain {
            [] => &[][..],
            [first, above @ ..] if first == device => above,
            _ => return Err(400),
        };
        // A certificate that was uploaded itself.
        if device == &CertificateDer::from_pem_file(&self.authority).unwrap() {
            return Ok(());
        }
        match self.verifier().verify_client_cert(device, above, UnixTime::now()) {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(CertificateError::Other(_))) => Err(422),
            Err(_) => Err(401),
        }
    }
}

/// Answers a request, which brings no token.
pub(super) fn answer(connection: &mut Connection, trust: &Trust) -> Result<(), Ended> {
    connection.read_body()?;
    let request = &connection.request;
    let status = if request.path() != PATH.as_bytes() {
        404
    } else if request.method() != b"POST" {
        405
    } else if request.field("accept") != Some(b"application/json") {
        406
    } else {
        let shown = connection.certificates();
        let chain = request.field("x-ssl-cert-chain").map(certificates).unwrap_or_default();
        trust.judge(&shown, &chain).err().unwrap_or(200)
    };
    let (words, body) = match status {
        200 => {
            let token = connection.cloud.tokens.issue();
            ("OK", serde_json::json!({ "accessToken": token }))
        }
        _ => ("Refused", serde_json::json!({ "error": "security/Unauthorized" })),
    };
    let kind = [("Content-Type", "application/json")];
    let body = Content::from(body.to_string().as_bytes());
    connection.answer(&format!("{status} {words}"), &kind, &body)
}

/// The blocks of a chain in which each line end is one blank.
fn certificates(chain: &[u8]) -> Vec<CertificateDer<'static>> {
    let text = String::from_utf8(chain.to_vec()).unwrap();
    let text = text.replace(' ', "\n").replace("BEGIN\n", "BEGIN ").replace("END\n", "END ");
    CertificateDer::pem_slice_iter(text.as_bytes()).map(|der| der.unwrap().into_owned()).collect()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Demands a certificate, and only the key of it.
#[derive(Debug)]
pub(super) struct Anybody;

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
