//! How we identify ourselves to a peer: a certificate with its chain, and its private key.

use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys};
use rustls_pki_types::CertificateDer;

use super::explain::cause;
use super::source::{Source, guess};
use crate::error::Error;
use crate::x509::certificate::{AlternativeName, Certificate};
use crate::x509::key::PrivateKey;
use crate::x509::pem::SectionKind;
use crate::x509::{PublicKey, Time};

/// A certificate that expires in fewer days causes a warning.
const SOON: i64 = 14;

/// A certificate and the key that belongs to it.
pub(super) struct Identity {
    pub(super) key: CertifiedKey,
    pub(super) subject: String,
    pub(super) not_after: Time,
    /// The host names that the certificate is for, in lower case.
    pub(super) names: Vec<String>,
    /// Whether it is for a host name or an address.
    pub(super) names_host: bool,
    pub(super) warnings: Vec<String>,
}

impl Identity {
    /// Reads the chain from one file and the key from the other, or from the same.
    pub(super) fn load(certificate: &Source, key: &Source) -> Result<Self, Error> {
        let mut warnings = Vec::new();
        let chain = chain(certificate, &mut warnings)?;
        let first = chain.first().map(AsRef::as_ref).unwrap_or_default();
        let described = Certificate::parse(first)
            .map_err(|malformed| certificate.error(format_args!("is {malformed}")))?;
        let subject = described.subject.to_string();
        let not_after = described.not_after;
        let alternatives = described.extensions.alternative_names.iter();
        let names_host =
            alternatives.clone().any(|name| !matches!(name, AlternativeName::Other(..)));
        let names = alternatives.filter_map(|name| match name {
            AlternativeName::Dns(name) => Some(String::from_utf8_lossy(name).to_ascii_lowercase()),
            _ => None,
        });
        let names = names.collect();
        warnings.extend(warn(certificate, &described, Time::now()));

        let signing = private_key(key, described.key)?.into_signing();
        let key_pair = CertifiedKey::new(chain, signing);
        match key_pair.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                let another = match fits_another(&key_pair) {
                    true => {
                        ", but to another certificate in it: move that to the start of the file"
                    }
                    false => "; if `tedge certs` was interrupted, type it again with --force",
                };
                return Err(key.error(format_args!(
                    "does not belong to the first certificate in {} ({}): {subject}{another}",
                    certificate.path.display(),
                    certificate.key,
                )));
            }
            Err(rustls::Error::InvalidCertificate(error))
                if cause(&error) == Some(&webpki::Error::UnsupportedCertVersion) =>
            {
                return Err(certificate.error(
                    "is of X.509 version 1, which names no host: sign it again with extensions \
                     (openssl x509 -req -extfile …)",
                ));
            }
            Err(rustls::Error::InvalidCertificate(error))
                if cause(&error) == Some(&webpki::Error::UnsupportedCriticalExtension) =>
            {
                return Err(certificate.error(
                    "cannot be used: it has a critical extension that is unknown to clients",
                ));
            }
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(cause))) => {
                return Err(certificate.error(format_args!("cannot be used: {}", cause.0)));
            }
            Err(other) => return Err(certificate.error(format_args!("cannot be used: {other}"))),
        }
        Ok(Self { key: key_pair, subject, not_after, names, names_host, warnings })
    }
}

fn chain(
    source: &Source,
    warnings: &mut Vec<String>,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let contents = source.contents().map_err(|why| source.unreadable(why))?;
    let has_any = contents.first(SectionKind::Certificate).is_some();
    for fault in &contents.faults {
        if fault.is_damage() || !has_any {
            return Err(source.error(fault));
        }
        warnings.push(source.say(fault));
    }
    if !has_any {
        return Err(source.error(format_args!("holds no certificate{}", guess(&contents))));
    }
    let found =
        contents.sections.into_iter().filter(|found| found.kind == SectionKind::Certificate);
    Ok(found.map(|found| found.der.into()).collect())
}

/// Whether the key is that of any certificate in the chain.
fn fits_another(pair: &CertifiedKey) -> bool {
    let Some(public) = pair.key.public_key() else { return false };
    let Ok(public) = PublicKey::parse(&public) else { return false };
    pair.cert.iter().any(|der| Certificate::parse(der).is_ok_and(|read| read.key == public))
}

fn private_key(source: &Source, owner: PublicKey<'_>) -> Result<PrivateKey, Error> {
    let contents = source.contents().map_err(|why| source.unreadable(why))?;
    let key = contents.first(SectionKind::PrivateKey);
    // Only the first key counts.
    match (key, contents.faults.first()) {
        (_, Some(fault)) if fault.is_damage() || key.is_none() => Err(source.error(fault)),
        (Some(key), _) => PrivateKey::of(owner, &key.der).map_err(|what| source.error(what)),
        (None, _) => Err(source.error(format_args!("holds no private key{}", guess(&contents)))),
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
