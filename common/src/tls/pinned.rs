//! A server whose own certificate is among our roots: a CA certificate, as `openssl req -x509`
//! makes it, or one signed by a CA that is not among them. The rules of the public web refuse both;
//! curl and openssl accept them.
//!
//! This is as safe as a root: this certificate was configured to be trusted. All else is verified
//! as usual, and so are the name and the dates of such a certificate.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::explain::cause;
use crate::x509::Time;
use crate::x509::certificate::Certificate;

/// The SHA-256 of certificates: of /etc/ssl/certs whole these are 5 KB.
#[derive(Debug, Default)]
pub(super) struct Pins(Vec<[u8; 32]>);

impl Pins {
    pub(super) fn add(&mut self, certificate: &[u8]) {
        self.0.extend(<[u8; 32]>::try_from(digest(&SHA256, certificate).as_ref()));
    }

    fn contain(&self, certificate: &[u8]) -> bool {
        let digest = digest(&SHA256, certificate);
        self.0.iter().any(|pin| pin == digest.as_ref())
    }
}

/// The usual verifier, and the pinned certificates for servers that no CA has signed.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) usual: Arc<WebPkiServerVerifier>,
    pub(super) pins: Pins,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.usual.verify_server_cert(certificate, chain, name, ocsp, now) {
            Err(error) if has_no_ca(&error) && self.pins.contain(certificate) => {
                verify_pinned(certificate, name, now)
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// Whether the certificate is not signed by a known CA: it is a CA certificate itself, or the CA is
/// unknown.
fn has_no_ca(error: &Error) -> bool {
    let Error::InvalidCertificate(error) = error else { return false };
    *error == CertificateError::UnknownIssuer
        || cause(error) == Some(&webpki::Error::CaUsedAsEndEntity)
}

fn verify_pinned(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let described = Certificate::parse(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let time = Time::from_unix(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    if time < described.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if time > described.not_after {
        return Err(CertificateError::Expired.into());
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    Ok(ServerCertVerified::assertion())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Dir, P256, client_files, files, shake};
    use crate::tls::explain;

    /// `NAME.crt`, signed by itself and a CA, for this host.
    fn own(dir: &Dir, name: &str, host: &str) {
        dir.openssl(&format!(
            "req -x509 -days 100 -nodes {P256} -subj /CN={name} -addext subjectAltName=DNS:{host} \
             -keyout {name}.key -out {name}.crt"
        ));
    }

    fn verdict(dir: &Dir, server: &str, roots: &str) -> Result<(), String> {
        let [certificate, key] = ["crt", "key"].map(|end| format!("{server}.{end}"));
        let server = files(dir, [&certificate, &key, "", ""]).load().unwrap().unwrap().config;
        let client = client_files(dir, roots).load().unwrap().config;
        shake(&server, &client).map(drop).map_err(|error| explain(&error))
    }

    #[test]
    fn trusts_a_ca_s_own_certificate_only_where_it_is_the_very_root_and_names_the_host() {
        let dir = Dir::new();
        for (name, host) in [("edge", "localhost"), ("again", "localhost"), ("other", "elsewhere")]
        {
            own(&dir, name, host);
        }
        assert_eq!(verdict(&dir, "edge", "edge.crt"), Ok(()));
        let refused = verdict(&dir, "other", "other.crt").unwrap_err();
        assert_eq!(refused, "its certificate is not for localhost, but for DnsName(\"elsewhere\")");
        assert!(verdict(&dir, "again", "edge.crt").is_err(), "another certificate is trusted");

        // Of the same name and key as a root, but not that certificate.
        dir.openssl(
            "req -x509 -days 100 -key edge.key -subj /CN=edge -out twin.crt \
             -addext subjectAltName=DNS:localhost",
        );
        dir.run("cp", &["edge.key", "twin.key"]);
        let refused = verdict(&dir, "twin", "edge.crt").unwrap_err();
        assert!(refused.starts_with("its certificate is that of a CA"), "{refused}");
    }

    #[test]
    fn verifies_the_dates_of_a_pinned_certificate() {
        let dir = Dir::new();
        own(&dir, "edge", "localhost");
        let der = rustls_pki_types::pem::PemObject::from_pem_slice(&dir.read("edge.crt")).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let now = UnixTime::now().as_secs();
        for (day, verdict) in [
            (0, Ok(())),
            (-2, Err(CertificateError::NotValidYet.into())),
            (101, Err(CertificateError::Expired.into())),
        ] {
            let time = now.saturating_add_signed(day * 86_400);
            let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(time));
            assert_eq!(verify_pinned(&der, &name, time).map(drop), verdict, "day {day}");
        }
    }
}
