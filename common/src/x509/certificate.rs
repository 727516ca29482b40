//! Reads certificates (X.509, RFC 5280), and requests for them (PKCS #10, RFC 2986), far enough to
//! describe them and to find out who signed them.
//!
//! Does not decide whether a certificate is trusted: rustls does. Written by hand, since an X.509
//! crate is larger than all our other code for certificates. No input causes a panic, and only the
//! list of alternative names is allocated.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

use rustls::crypto::WebPkiSupportedAlgorithms;

use super::der::{BOOLEAN, DerReader, INTEGER, Malformed, OCTET_STRING, OID, SEQUENCE};
use super::name::{Name, ObjectId, write_escaped};
use super::signature::{Algorithm, PublicKey, Signed};
use super::time::Time;

/// The content of a certificate.
#[derive(Clone, Debug)]
pub struct Certificate<'a> {
    /// The issuer's number for it: an integer, as bytes.
    pub serial: &'a [u8],
    /// Who signed it.
    pub issuer: Name<'a>,
    /// The subject.
    pub subject: Name<'a>,
    /// The beginning of its validity.
    pub not_before: Time,
    /// The end of its validity.
    pub not_after: Time,
    /// The public key in it.
    pub key: PublicKey<'a>,
    /// What an issuer allows its owner to do.
    pub extensions: Extensions<'a>,
    signed: Signed<'a>,
}

/// The extensions that are described or checked.
#[derive(Clone, Debug, Default)]
pub struct Extensions<'a> {
    /// The names under which its owner can be reached.
    pub alternative_names: Vec<AlternativeName<'a>>,
    /// Whether it may sign others, if it states that.
    pub is_authority: Option<bool>,
    /// The hash by which its children point to its key.
    pub key_id: Option<&'a [u8]>,
    /// The content of extendedKeyUsage: object identifiers.
    purposes: Option<&'a [u8]>,
}

/// One entry of subjectAltName.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlternativeName<'a> {
    /// A host name.
    Dns(&'a [u8]),
    /// An IPv4 or IPv6 address, 4 or 16 bytes.
    Ip(&'a [u8]),
    /// Another kind, with its tag.
    Other(u8, &'a [u8]),
}

impl<'a> Certificate<'a> {
    /// Reads one certificate in DER.
    pub fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let (signed, mut fields) = Signed::parse(der)?;
        fields.optional(0xa0)?; // The version.
        let serial = fields.take(INTEGER)?;
        fields.take(SEQUENCE)?;
        let issuer = Name::new(fields.take(SEQUENCE)?);
        let mut validity = fields.enter(SEQUENCE)?;
        let not_before = Time::read(&mut validity)?;
        let not_after = Time::read(&mut validity)?;
        let subject = Name::new(fields.take(SEQUENCE)?);
        let key = PublicKey::new(fields.take(SEQUENCE)?);
        fields.optional(0x81)?;
        fields.optional(0x82)?;
        let extensions = match fields.optional(0xa3)? {
            Some(list) => Extensions::parse(DerReader::new(list).take(SEQUENCE)?)?,
            None => Extensions::default(),
        };
        Ok(Self { serial, issuer, subject, not_before, not_after, key, extensions, signed })
    }

    /// The certificate at the start of these bytes.
    pub fn at_start(bytes: &'a [u8]) -> Option<&'a [u8]> {
        let der = DerReader::new(bytes).any().ok()?.whole;
        Self::parse(der).is_ok().then_some(der)
    }

    /// The last common name of its subject: of a device's certificate, the device's id.
    pub fn common_name(&self) -> Option<Cow<'a, str>> {
        self.subject.common_name()
    }

    /// Whether its owner may sign others. Old roots do not state it, but are signed by themselves.
    pub fn is_authority(&self) -> bool {
        self.extensions.is_authority.unwrap_or(self.subject == self.issuer)
    }

    /// Whether this key made its signature.
    pub fn is_signed_by(&self, key: PublicKey<'_>, algorithms: WebPkiSupportedAlgorithms) -> bool {
        self.signed.is_by(key, algorithms)
    }
}

impl<'a> Extensions<'a> {
    /// Reads the content of a SEQUENCE of extensions.
    pub(super) fn parse(list: &'a [u8]) -> Result<Self, Malformed> {
        let mut extensions = Self::default();
        let mut list = DerReader::new(list);
        while !list.is_empty() {
            let mut extension = list.enter(SEQUENCE)?;
            let kind = extension.take(OID)?;
            extension.optional(BOOLEAN)?;
            let mut value = DerReader::new(extension.take(OCTET_STRING)?);
            match kind {
                [0x55, 29, 14] => extensions.key_id = Some(value.take(OCTET_STRING)?),
                [0x55, 29, 17] => {
                    extensions.alternative_names = AlternativeName::read_all(&mut value)?;
                }
                [0x55, 29, 19] => {
                    let flag = value.enter(SEQUENCE)?.optional(BOOLEAN)?;
                    extensions.is_authority = Some(flag.is_some_and(|flag| flag != [0]));
                }
                [0x55, 29, 37] => extensions.purposes = Some(value.take(SEQUENCE)?),
                _ => {}
            }
        }
        Ok(extensions)
    }

    /// The allowed purposes, in words; empty if all are allowed.
    pub fn purposes(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut purposes = DerReader::new(self.purposes.unwrap_or_default());
        while let Ok(purpose) = purposes.take(OID) {
            words.push(match purpose {
                [0x2b, 6, 1, 5, 5, 7, 3, 1] => "server".to_owned(),
                [0x2b, 6, 1, 5, 5, 7, 3, 2] => "client".to_owned(),
                other => ObjectId(other).to_string(),
            });
        }
        words
    }
}

impl<'a> AlternativeName<'a> {
    fn read_all(value: &mut DerReader<'a>) -> Result<Vec<Self>, Malformed> {
        let mut names = Vec::new();
        let mut list = value.enter(SEQUENCE)?;
        while !list.is_empty() {
            let name = list.any()?;
            names.push(match name.tag {
                0x82 => Self::Dns(name.content),
                0x87 if matches!(name.content.len(), 4 | 16) => Self::Ip(name.content),
                tag => Self::Other(tag, name.content),
            });
        }
        Ok(names)
    }
}

impl fmt::Display for AlternativeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Dns(name) => write_escaped(f, &String::from_utf8_lossy(name)),
            Self::Ip(bytes) => match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
                (Ok(v4), _) => Ipv4Addr::from(v4).fmt(f),
                (_, Ok(v6)) => Ipv6Addr::from(v6).fmt(f),
                _ => f.write_str("(damaged address)"),
            },
            Self::Other(0x81 | 0x86, text) => write_escaped(f, &String::from_utf8_lossy(text)),
            Self::Other(..) => f.write_str("(a name of another kind)"),
        }
    }
}

/// A serial number as the openssl command prints it.
pub struct Serial<'a>(pub &'a [u8]);

impl fmt::Display for Serial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0 {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        };
        for digit in digits {
            write!(f, "{digit:02X}")?;
        }
        if digits.is_empty() { f.write_char('0') } else { Ok(()) }
    }
}

/// A request for a certificate. Its extensions are not read: the issuer decides what the
/// certificate allows.
#[derive(Clone, Copy, Debug)]
pub struct CertificateRequest<'a> {
    /// The subject of the certificate.
    pub subject: Name<'a>,
    /// The public key of the certificate.
    pub key: PublicKey<'a>,
    signed: Signed<'a>,
}

impl<'a> CertificateRequest<'a> {
    /// Reads one request in DER.
    pub fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let (signed, mut fields): (_, DerReader<'_>) = Signed::parse(der)?;
        fields.take(INTEGER)?;
        let subject = Name::new(fields.take(SEQUENCE)?);
        let key = PublicKey::new(fields.take(SEQUENCE)?);
        Ok(Self { subject, key, signed })
    }

    /// The algorithm of its signature, if such a signature cannot be verified with this kind of
    /// key.
    pub fn unknown_algorithm(
        &self,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Option<Algorithm<'a>> {
        let is_known = self.signed.can_be_verified(self.key, algorithms);
        (!is_known).then(|| self.signed.algorithm())
    }

    /// Whether the owner of the key signed the request.
    pub fn is_signed_by_its_key(&self, algorithms: WebPkiSupportedAlgorithms) -> bool {
        self.signed.is_by(self.key, algorithms)
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;
    use crate::testing::{Dir, EC_KEY};

    fn der(dir: &Dir, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(&dir.read(name)).unwrap()
    }

    #[test]
    fn reads_what_openssl_made() {
        let dir = Dir::new();
        dir.ca("tedge-ca");
        dir.issue("tedge-ca", "main-agent", "genrsa 2048", "100");
        let der = der(&dir, "main-agent.crt");
        let read = Certificate::parse(&der).unwrap();

        assert_eq!(read.subject.to_string(), "CN=localhost, SN=main-agent, OU=device, O=thin-edge");
        assert_eq!(read.issuer.to_string(), "CN=tedge-ca, OU=device, O=thin-edge");
        assert_eq!(read.common_name().as_deref(), Some("localhost"));
        assert_eq!(read.key.to_string(), "RSA 2048");
        assert_eq!(read.extensions.is_authority, Some(false));
        assert_eq!(read.extensions.purposes(), ["server", "client"]);
        let names: Vec<_> =
            read.extensions.alternative_names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["gateway", "localhost", "192.168.1.6", "::1"]);

        let said = dir.openssl("x509 -in main-agent.crt -noout -serial -dates -dateopt iso_8601");
        let shown = format!(
            "serial={}\nnotBefore={}\nnotAfter={}\n",
            Serial(read.serial),
            read.not_before,
            read.not_after
        );
        assert_eq!(shown.replace('T', " "), said);
    }

    #[test]
    fn tells_who_signed_it() {
        let dir = Dir::new();
        for ca in ["one", "other"] {
            dir.ca(ca);
        }
        dir.issue("one", "leaf", EC_KEY, "1");
        let [one, other, leaf] = ["one.crt", "other.crt", "leaf.crt"].map(|name| der(&dir, name));
        let [one, other, leaf] = [&one, &other, &leaf].map(|der| Certificate::parse(der).unwrap());
        let algorithms = crate::crypto::provider().signature_verification_algorithms;

        assert!(leaf.is_signed_by(one.key, algorithms));
        assert!(!leaf.is_signed_by(other.key, algorithms));
        assert_eq!(one.extensions.is_authority, Some(true));
        assert!(one.extensions.key_id.is_some());
    }

    #[test]
    fn refuses_every_truncation_and_survives_every_changed_byte() {
        let dir = Dir::new();
        dir.ca("ca");
        dir.issue("ca", "leaf", EC_KEY, "1");
        let der = der(&dir, "leaf.crt").to_vec();
        for length in 0..der.len() {
            assert!(Certificate::parse(&der[..length]).is_err());
        }
        for index in 0..der.len() {
            for change in [1, 0x7f, 0x80, 0xff] {
                let mut changed = der.clone();
                changed[index] ^= change;
                if let Ok(read) = Certificate::parse(&changed) {
                    let _ = format!("{} {} {}", read.subject, read.key, Serial(read.serial));
                    let _ = format!("{:?} {:?}", read.extensions.purposes(), read.common_name());
                }
            }
        }
    }
}
