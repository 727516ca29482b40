//! Why a handshake failed, in words for the log: a client was refused, or a server was not trusted.

use std::{fmt, io};

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::journal::Refusal;
use crate::x509::Time;
use crate::x509::signature::Algorithm;

/// The fault, as a message that follows the peer's address: "sent no certificate, …".
pub fn explain(error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => {
            "sent no certificate, and ca_path requires one".to_owned()
        }
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => format!("refused us: {}", received(*alert)),
        Error::PeerIncompatible(reason) => incompatible(reason),
        Error::InvalidMessage(_) => "sent a message that is not valid TLS".to_owned(),
        Error::NoApplicationProtocol => {
            "offers only protocols that we do not support (ALPN)".to_owned()
        }
        other => format!("broke the handshake: {other}"),
    }
}

/// The same for an error of a stream, which wraps rustls's error.
pub fn explain_io(error: &io::Error) -> String {
    match inner(error) {
        Some(inner) => explain(inner),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "closed the connection during the handshake".to_owned()
        }
        None => error.to_string(),
    }
}

/// The same for the log.
pub(crate) fn refusal(error: &io::Error) -> Refusal {
    let (kind, is_known) = match inner(error) {
        None => ("transport", false),
        Some(Error::NoCertificatesPresented) => ("no certificate", false),
        Some(Error::InvalidCertificate(error)) => match error {
            CertificateError::Revoked => ("revoked", true),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                ("expired", true)
            }
            CertificateError::UnknownIssuer => ("unknown issuer", false),
            _ => ("certificate", false),
        },
        Some(Error::AlertReceived(_)) => ("alert", false),
        Some(Error::PeerIncompatible(_)) => ("incompatible", false),
        Some(Error::InvalidMessage(_)) => ("message", false),
        Some(_) => ("handshake", false),
    };
    Refusal { words: explain_io(error), kind, is_known }
}

fn inner(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn certificate(error: &CertificateError) -> String {
    let time = |time: &rustls_pki_types::UnixTime| Time::from_unix(time.as_secs() as i64);
    // Cut to the minute, so that equal refusals in a minute are one line in the log.
    let minute = |now: &rustls_pki_types::UnixTime| {
        let mut text = time(now).to_string();
        text.truncate("2026-01-31T23:59".len());
        text + "Z"
    };
    match error {
        CertificateError::ExpiredContext { time: now, not_after } => format!(
            "its certificate has expired on {}, and our clock says {} (check the clock)",
            time(not_after),
            minute(now)
        ),
        CertificateError::Expired => "its certificate has expired (check the clock)".to_owned(),
        CertificateError::NotValidYetContext { time: now, not_before } => format!(
            "its certificate is not valid before {}, and our clock says {} (check the clock)",
            time(not_before),
            minute(now)
        ),
        CertificateError::NotValidYet => {
            "its certificate is not valid yet (check the clock)".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "its certificate is signed by an unknown authority".to_owned()
        }
        CertificateError::Revoked => "its certificate is revoked".to_owned(),
        CertificateError::BadSignature => {
            "its certificate, or its proof that it has the private key, has a wrong signature"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "its certificate is not for {}, but for {}",
            expected.to_str(),
            if presented.is_empty() { "no name at all".to_owned() } else { presented.join(", ") }
        ),
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => {
            "its certificate is made for another purpose (extendedKeyUsage)".to_owned()
        }
        CertificateError::BadEncoding => "its certificate is damaged".to_owned(),
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id, ..
        }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            ..
        } => format!(
            "its certificate is signed with {}, which is not supported. Supported: SHA-256 and \
             SHA-384, by a CA with an RSA key of 2048 bits or more, or a P-256 or P-384 key",
            Algorithm(signature_algorithm_id)
        ),
        CertificateError::Other(other) => match cause(error) {
            Some(webpki::Error::CaUsedAsEndEntity) => "its certificate is that of a CA \
                (basicConstraints CA:TRUE): give it its own certificate, signed by that CA"
                .to_owned(),
            Some(webpki::Error::UnsupportedCertVersion) => {
                "its certificate is of X.509 version 1, without extensions".to_owned()
            }
            Some(webpki::Error::NameConstraintViolation) => "its certificate has a name for which \
                its CA may not sign certificates (nameConstraints)"
                .to_owned(),
            Some(webpki::Error::PathLenConstraintViolated) => "its certificate is signed by a CA \
                that the CA above it does not allow (pathlen in basicConstraints)"
                .to_owned(),
            Some(webpki::Error::UnsupportedCriticalExtension) => "its certificate, or that of its \
                CA, has an unknown critical extension"
                .to_owned(),
            _ => match other.0.downcast_ref::<WeakKey>() {
                Some(weak) => weak.to_string(),
                None => format!("its certificate cannot be used: {}", other.0),
            },
        },
        other => format!("its certificate cannot be used: {other}"),
    }
}

fn received(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "it does not trust the CA of our certificate".to_owned(),
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it does not accept our certificate".to_owned()
        }
        AlertDescription::CertificateExpired => {
            "our certificate has expired, by its clock".to_owned()
        }
        AlertDescription::CertificateRevoked => "our certificate is revoked".to_owned(),
        AlertDescription::CertificateRequired => {
            "it requires a certificate, and we sent none".to_owned()
        }
        AlertDescription::AccessDenied => "it denies us access".to_owned(),
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
            "no version or cipher of TLS in common".to_owned()
        }
        other => format!("TLS alert {other:?}"),
    }
}

fn incompatible(reason: &PeerIncompatible) -> String {
    match reason {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::SupportedVersionsExtensionRequired
        // TLS 1.1 has no such extension, and rustls looks for it first.
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
            "speaks only versions of TLS that are no longer safe; 1.2 or 1.3 is needed".to_owned()
        }
        PeerIncompatible::NoCipherSuitesInCommon => "has no cipher suite in common".to_owned(),
        PeerIncompatible::NoKxGroupsInCommon => "has no key exchange in common".to_owned(),
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            "has no signature algorithm in common that fits the certificate".to_owned()
        }
        other => format!("is not compatible: {other:?}"),
    }
}

/// A key in a presented certificate whose signatures cannot be verified.
#[derive(Debug)]
pub(super) struct WeakKey(pub(super) String);

impl fmt::Display for WeakKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "its certificate, or that of its CA, has a key that is not supported ({}). \
             Supported: RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519",
            self.0
        )
    }
}

impl std::error::Error for WeakKey {}

/// The verifier's message, for errors that rustls does not name itself.
pub(super) fn cause(error: &CertificateError) -> Option<&webpki::Error> {
    match error {
        CertificateError::Other(cause) => cause.0.downcast_ref(),
        _ => None,
    }
}
