//! Who we are to a peer: a certificate with its chain, and the private key that belongs to it.

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys};
use rustls_pki_types::pem::{PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::source::Source;
use crate::error::Error;
use crate::x509::Time;
use crate::x509::certificate::Certificate;

/// A certificate that ends sooner than this is worth a warning.
const SOON: i64 = 14;

/// How the verifier says that a certificate has no extensions.
pub(super) const OLD_VERSION: &str = "UnsupportedCertVersion";

/// A certificate and its key, fit for each other.
pub(super) struct Identity {
    pub(super) key: CertifiedKey,
    pub(super) subject: String,
    pub(super) not_after: Time,
    pub(super) warnings: Vec<String>,
}

impl Identity {
    /// Reads the chain from one file and the key from the other, or from the same.
    pub(super) fn load(
        certificate: &Source,
        key: &Source,
        provider: &CryptoProvider,
    ) -> Result<Self, Error> {
        let chain = chain(certificate)?;
        let first = chain.first().map(AsRef::as_ref).unwrap_or_default();
        let described = Certificate::parse(first)
            .map_err(|malformed| certificate.error(format_args!("is {malformed}")))?;
        let subject = described.subject.to_string();
        let not_after = described.not_after;
        let warnings = warn(certificate, &described, Time::now());

        let signing = provider.key_provider.load_private_key(private_key(key)?).map_err(|_| {
            key.error(
                "holds a key of a kind that cannot be used; RSA of 2048 bits or more, \
                       P-256, P-384 and Ed25519 can",
            )
        })?;
        let key_pair = CertifiedKey::new(chain, signing);
        match key_pair.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(key.error(format_args!(
                    "does not belong to the first certificate in {} ({}): {subject}",
                    certificate.path.display(),
                    certificate.key,
                )));
            }
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(cause))) => {
                return Err(match cause.0.to_string().as_str() {
                    OLD_VERSION => certificate.error(
                        "is of X.509 version 1, which names no host: sign it again with extensions \
                         (openssl x509 -req -extfile …)",
                    ),
                    other => certificate.error(format_args!("cannot be used: {other}")),
                });
            }
            Err(other) => return Err(certificate.error(format_args!("cannot be used: {other}"))),
        }
        Ok(Self { key: key_pair, subject, not_after, warnings })
    }
}

fn chain(source: &Source) -> Result<Vec<CertificateDer<'static>>, Error> {
    let mut chain = Vec::new();
    source
        .each_section(|kind, der| {
            if kind == SectionKind::Certificate {
                chain.push(CertificateDer::from(der));
            }
        })
        .map_err(|what| source.error(what))?;
    if chain.is_empty() {
        return Err(source.error(format_args!("holds no certificate{}", source.guess())));
    }
    Ok(chain)
}

fn private_key(source: &Source) -> Result<PrivateKeyDer<'static>, Error> {
    let mut found = None;
    let read = source.each_section(|kind, der| {
        if found.is_none() {
            found = PrivateKeyDer::from_pem(kind, der);
        }
    });
    match (found, read) {
        (Some(key), Ok(())) => Ok(key),
        (_, Err(what)) if !source.mentions("ENCRYPTED") => Err(source.error(what)),
        _ => Err(source.error(format_args!("holds no private key{}", source.guess()))),
    }
}

fn warn(source: &Source, certificate: &Certificate<'_>, now: Time) -> Vec<String> {
    let (from, until) = (certificate.not_before, certificate.not_after);
    let what = if now < from {
        format!("is not valid before {from}, and this device's clock says {now}: check the clock")
    } else if now > until {
        format!(
            "has expired on {until}, by this device's clock, which says {now}: renew it, or check \
             the clock"
        )
    } else if now.plus_days(SOON) > until {
        format!("expires on {until}, and this device's clock says {now}: renew it")
    } else {
        return Vec::new();
    };
    vec![source.say(what)]
}
