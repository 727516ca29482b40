//! Makes keys, certificates and signing requests.
//!
//! Written by hand over ring: rcgen with its reader of requests adds 281 KB to a program, and 20
//! crates. It writes nothing to disk and knows no setting.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls::SignatureScheme;
use rustls::sign::{Signer, SigningKey};
use rustls_pki_types::{AlgorithmIdentifier, PrivateKeyDer, PrivatePkcs8KeyDer, alg_id};

use super::certificate::PublicKey;
use super::der::{
    BIT_STRING, BOOLEAN, GENERALIZED_TIME, INTEGER, Malformed, OCTET_STRING, OID, Reader, SEQUENCE,
    SET, UTC_TIME, UTF8_STRING,
};
use super::name::Name;
use super::time::Time;
use crate::net::Host;

/// A private key that signs, of any kind that a server may have.
pub struct Key(Arc<dyn SigningKey>);

/// What a certificate allows.
#[derive(Clone, Copy, Debug)]
pub enum Use<'a> {
    /// To sign others.
    Authority,
    /// To be a server under these names, and a client too.
    Server(&'a [Host]),
    /// To be a client.
    Client,
}

/// A part of a subject.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// O.
    Organization(&'a str),
    /// OU.
    Unit(&'a str),
    /// SN, as the documentation's commands call it: a surname to X.500.
    Surname(&'a str),
    /// CN.
    CommonName(&'a str),
}

/// A certificate to be.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Whose it shall be: the content of a name.
    pub subject: &'a [u8],
    /// The key it speaks of.
    pub key: PublicKey<'a>,
    /// Valid from.
    pub not_before: Time,
    /// Valid until.
    pub not_after: Time,
    /// What for.
    pub purpose: Use<'a>,
}

/// Who signs: a name, a key, and the hash by which the issuer's certificate names that key.
#[derive(Clone, Copy)]
pub struct Issuer<'a> {
    /// The subject of its certificate.
    pub name: Name<'a>,
    /// Its key.
    pub key: &'a Key,
    /// The key's identifier, where the certificate has one.
    pub key_id: Option<&'a [u8]>,
}

/// ring cannot do what was asked of it, or has no randomness to do it with.
#[derive(Clone, Copy, Debug)]
pub struct Unable;

impl Key {
    /// A new P-256 key, and its PKCS #8 encoding to be kept secret.
    pub fn generate() -> Result<(Self, Vec<u8>), Unable> {
        let random = SystemRandom::new();
        let encoded = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map_err(|_| Unable)?
            .as_ref()
            .to_vec();
        let key = Self::new(PrivatePkcs8KeyDer::from(encoded.clone()).into())?;
        Ok((key, encoded))
    }

    /// A key that exists already.
    pub fn new(encoded: PrivateKeyDer<'static>) -> Result<Self, Unable> {
        crate::crypto::provider()
            .key_provider
            .load_private_key(encoded)
            .map(Self)
            .map_err(|_| Unable)
    }

    /// The SubjectPublicKeyInfo of the other half.
    pub fn public(&self) -> Result<Vec<u8>, Unable> {
        let encoded = self.0.public_key().ok_or(Unable)?;
        Reader::new(&encoded).take(SEQUENCE).map(<[u8]>::to_vec).map_err(|Malformed| Unable)
    }

    /// The encoded identifier of the algorithm that it signs with.
    fn algorithm(&self) -> Result<Vec<u8>, Unable> {
        let scheme = self.signer()?.scheme();
        let known = SCHEMES.iter().find(|(known, _)| *known == scheme).ok_or(Unable)?;
        Ok(sequence(&[known.1.as_ref()]))
    }

    fn signer(&self) -> Result<Box<dyn Signer>, Unable> {
        self.0.choose_scheme(&SCHEMES.map(|(scheme, _)| scheme)).ok_or(Unable)
    }

    /// These fields, signed: a certificate or a request in DER.
    fn sign(&self, fields: &[&[u8]]) -> Result<Vec<u8>, Unable> {
        let message = sequence(fields);
        let signature = self.signer()?.sign(&message).map_err(|_| Unable)?;
        Ok(sequence(&[&message, &self.algorithm()?, &bits(&signature)]))
    }
}

/// How each kind of key signs, in the order in which they are tried.
const SCHEMES: [(SignatureScheme, AlgorithmIdentifier); 4] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, alg_id::ECDSA_SHA256),
    (SignatureScheme::ECDSA_NISTP384_SHA384, alg_id::ECDSA_SHA384),
    (SignatureScheme::RSA_PKCS1_SHA256, alg_id::RSA_PKCS1_SHA256),
    (SignatureScheme::ED25519, alg_id::ED25519),
];

impl Draft<'_> {
    /// The certificate in DER. An authority that is its own issuer signs itself.
    pub fn sign(&self, issuer: Issuer<'_>) -> Result<Vec<u8>, Unable> {
        let mut serial = [0; 20];
        SystemRandom::new().fill(&mut serial).map_err(|_| Unable)?;
        // Positive, and no digit that could be left out.
        serial[0] = serial[0] & 0x3f | 0x40;
        issuer.key.sign(&[
            &element(0xa0, &[&element(INTEGER, &[&[2]])]),
            &element(INTEGER, &[&serial]),
            &issuer.key.algorithm()?,
            &sequence(&[issuer.name.content()]),
            &sequence(&[&time(self.not_before), &time(self.not_after)]),
            &sequence(&[self.subject]),
            &sequence(&[self.key.content()]),
            &element(0xa3, &[&self.extensions(issuer.key_id)]),
        ])
    }

    fn extensions(&self, issuer_key_id: Option<&[u8]>) -> Vec<u8> {
        let mut list = vec![extension(14, false, &element(OCTET_STRING, &[&key_id(self.key)]))];
        if let Some(id) = issuer_key_id {
            list.push(extension(35, false, &sequence(&[&element(0x80, &[id])])));
        }
        let is_authority = matches!(self.purpose, Use::Authority);
        let constraints = if is_authority { sequence(&[&TRUE]) } else { sequence(&[]) };
        list.push(extension(19, true, &constraints));
        let [key_usage, purposes] = match self.purpose {
            // keyCertSign and cRLSign.
            Use::Authority => [[BIT_STRING, 2, 1, 0x06], [0; 4]],
            // digitalSignature and keyAgreement.
            Use::Server(_) => [[BIT_STRING, 2, 3, 0x88], [1, 2, 0, 0]],
            Use::Client => [[BIT_STRING, 2, 7, 0x80], [2, 0, 0, 0]],
        };
        list.push(extension(15, true, &key_usage));
        if !is_authority {
            let purposes = purposes
                .iter()
                .filter(|purpose| **purpose > 0)
                .map(|purpose| element(OID, &[&[0x2b, 6, 1, 5, 5, 7, 3, *purpose]]));
            list.push(extension(
                37,
                false,
                &element(SEQUENCE, &slices(&purposes.collect::<Vec<_>>())),
            ));
        }
        if let Use::Server(hosts) = self.purpose {
            let names: Vec<_> = hosts.iter().map(alternative_name).collect();
            list.push(extension(17, false, &element(SEQUENCE, &slices(&names))));
        }
        element(SEQUENCE, &slices(&list))
    }
}

/// A certificate signing request in DER.
pub fn request(subject: &[u8], key: &Key) -> Result<Vec<u8>, Unable> {
    key.sign(&[
        &element(INTEGER, &[&[0]]),
        &sequence(&[subject]),
        &sequence(&[&key.public()?]),
        &element(0xa0, &[]),
    ])
}

/// The content of a name, from its least specific part on.
pub fn subject(parts: &[Part<'_>]) -> Vec<u8> {
    let sets = parts.iter().map(|part| {
        let (kind, text) = match part {
            Part::CommonName(text) => (3, text),
            Part::Surname(text) => (4, text),
            Part::Organization(text) => (10, text),
            Part::Unit(text) => (11, text),
        };
        let kind = element(OID, &[&[0x55, 4, kind]]);
        let text = element(UTF8_STRING, &[text.as_bytes()]);
        element(SET, &[&sequence(&[&kind, &text])])
    });
    sets.flatten().collect()
}

/// The identifier of a key: as RFC 7093 has it, a part of its SHA-256.
pub fn key_id(key: PublicKey<'_>) -> Vec<u8> {
    let bits = key.bits().unwrap_or_default();
    ring::digest::digest(&ring::digest::SHA256, bits).as_ref()[..20].to_vec()
}

/// PEM: base64 between a BEGIN and an END line.
pub fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    // 48 bytes make a line of 64 characters.
    for line in der.chunks(48) {
        STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn alternative_name(host: &Host) -> Vec<u8> {
    match host {
        Host::Name(name) => element(0x82, &[name.as_bytes()]),
        Host::Address(IpAddr::V4(address)) => element(0x87, &[&address.octets()]),
        Host::Address(IpAddr::V6(address)) => element(0x87, &[&address.octets()]),
    }
}

const TRUE: [u8; 3] = [BOOLEAN, 1, 0xff];

/// An extension of the arc 2.5.29.
fn extension(arc: u8, is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if is_critical { &TRUE } else { &[] };
    sequence(&[&element(OID, &[&[0x55, 29, arc]]), critical, &element(OCTET_STRING, &[value])])
}

fn time(time: Time) -> Vec<u8> {
    let [year, month, day, hour, minute, second] = time.civil();
    let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    if (1950..2050).contains(&year) {
        element(UTC_TIME, &[format!("{:02}{rest}", year % 100).as_bytes()])
    } else {
        element(GENERALIZED_TIME, &[format!("{year:04}{rest}").as_bytes()])
    }
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], bytes])
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, parts)
}

fn slices(parts: &[Vec<u8>]) -> Vec<&[u8]> {
    parts.iter().map(Vec::as_slice).collect()
}

/// An element of this tag, with these parts one after the other as its content.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let digits = length.to_be_bytes();
    let digits = &digits[(length.leading_zeros() / 8) as usize..];
    let mut encoded = vec![tag];
    if length >= 0x80 {
        encoded.push(0x80 | digits.len() as u8);
        encoded.extend(digits);
    } else {
        encoded.push(length as u8);
    }
    encoded.extend(parts.concat());
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dir;
    use crate::x509::certificate::Certificate;
    use crate::x509::{Malformed, Request};

    const FROM: Time = Time::from_unix(1_700_000_000);

    fn draft<'a>(subject: &'a [u8], key: &'a [u8], purpose: Use<'a>) -> Draft<'a> {
        let key = PublicKey::new(key);
        Draft { subject, key, not_before: FROM, not_after: FROM.plus_days(36_500), purpose }
    }

    /// Writes `ca.crt`, `leaf.crt` and `leaf.csr`.
    fn make(dir: &Dir, purpose: Use<'_>) {
        let (ca, _) = Key::generate().unwrap();
        let (ca_name, ca_key) = (subject(&[Part::CommonName("tedge-ca")]), ca.public().unwrap());
        let id = key_id(PublicKey::new(&ca_key));
        let issuer = Issuer { name: Name::new(&ca_name), key: &ca, key_id: Some(&id) };
        let root = draft(&ca_name, &ca_key, Use::Authority).sign(issuer).unwrap();
        dir.write("ca.crt", pem("CERTIFICATE", &root));

        let (key, _) = Key::generate().unwrap();
        let name = subject(&[Part::Organization("Grüße, & Söhne"), Part::CommonName("leaf")]);
        let leaf = draft(&name, &key.public().unwrap(), purpose).sign(issuer).unwrap();
        dir.write("leaf.crt", pem("CERTIFICATE", &leaf));
        dir.write("leaf.csr", pem("CERTIFICATE REQUEST", &request(&name, &key).unwrap()));

        let read = Certificate::parse(&leaf).unwrap();
        assert_eq!(read.subject.to_string(), "CN=leaf, O=Grüße\\, & Söhne");
        assert_eq!((read.not_before, read.not_after), (FROM, FROM.plus_days(36_500)));
        assert_eq!(read.extensions.is_authority, Some(false));
    }

    #[test]
    fn openssl_accepts_what_it_makes_at_its_strictest() {
        let dir = Dir::new();
        let hosts = ["gateway", "192.168.1.6", "[fe80::1]"].map(|host| Host::parse(host).unwrap());
        make(&dir, Use::Server(&hosts));
        for check in
            ["-verify_hostname gateway", "-verify_ip 192.168.1.6", "-verify_ip fe80::1", ""]
        {
            for purpose in ["sslserver", "sslclient"] {
                dir.openssl(&format!(
                    "verify -x509_strict -CAfile ca.crt -purpose {purpose} {check} leaf.crt"
                ));
            }
        }
        make(&dir, Use::Client);
        dir.openssl("verify -x509_strict -CAfile ca.crt -purpose sslclient leaf.crt");
        dir.openssl("req -verify -in leaf.csr -noout");
    }

    #[test]
    fn a_request_proves_that_its_maker_has_the_key() {
        let algorithms = crate::crypto::provider().signature_verification_algorithms;
        let (key, _) = Key::generate().unwrap();
        let name = subject(&[Part::CommonName("child")]);
        let mut der = request(&name, &key).unwrap();
        let read = Request::parse(&der).unwrap();
        assert!(read.is_signed_by_its_key(algorithms));
        assert_eq!(read.subject.content(), name);
        let last = der.len() - 1;
        der[last] ^= 1;
        assert!(!Request::parse(&der).unwrap().is_signed_by_its_key(algorithms));
        der.pop();
        assert_eq!(Request::parse(&der).err(), Some(Malformed));
    }
}
