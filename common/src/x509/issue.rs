//! Makes certificates and signing requests.
//!
//! Written by hand with ring: rcgen with its reader of requests would add 281 KB to a program, and
//! 20 crates. Writes nothing to disk and knows no setting.

use std::net::IpAddr;

use ring::rand::{SecureRandom, SystemRandom};

use super::der::{
    BIT_STRING, BOOLEAN, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, UTC_TIME,
    UTF8_STRING, element, sequence,
};
use super::key::{PrivateKey, Unable};
use super::name::Name;
use super::signature::PublicKey;
use super::time::Time;
use crate::net::Host;

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
pub enum SubjectAttribute<'a> {
    /// O.
    Organization(&'a str),
    /// OU.
    Unit(&'a str),
    /// SN, as the documentation's commands call it: a surname to X.500.
    Surname(&'a str),
    /// CN.
    CommonName(&'a str),
}

/// A certificate that is not signed yet.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The content of the subject's name.
    pub subject: &'a [u8],
    /// The subject's public key.
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
    pub key: &'a PrivateKey,
    /// The key's identifier, where the certificate has one.
    pub key_id: Option<&'a [u8]>,
}

impl Draft<'_> {
    /// The certificate in DER. An authority that is its own issuer signs itself.
    pub fn sign(&self, issuer: Issuer<'_>) -> Result<Vec<u8>, Unable> {
        let mut serial = [0; 20];
        SystemRandom::new().fill(&mut serial).map_err(|_| Unable)?;
        // Positive, and without a leading zero.
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
        // A bit string: how many bits of the byte are unused, and the byte.
        let (key_usage, purposes): (_, &[u8]) = match self.purpose {
            // keyCertSign and cRLSign.
            Use::Authority => ([1, 0x06], &[]),
            // digitalSignature and keyAgreement.
            Use::Server(_) => ([3, 0x88], &[SERVER_AUTH, CLIENT_AUTH]),
            Use::Client => ([7, 0x80], &[CLIENT_AUTH]),
        };
        list.push(extension(15, true, &element(BIT_STRING, &[&key_usage])));
        if !is_authority {
            let purposes: Vec<_> = purposes
                .iter()
                .map(|purpose| element(OID, &[&[0x2b, 6, 1, 5, 5, 7, 3, *purpose]]))
                .collect();
            list.push(extension(37, false, &element(SEQUENCE, &slices(&purposes))));
        }
        if let Use::Server(hosts) = self.purpose {
            let names: Vec<_> = hosts.iter().map(alternative_name).collect();
            list.push(extension(17, false, &element(SEQUENCE, &slices(&names))));
        }
        element(SEQUENCE, &slices(&list))
    }
}

/// A certificate signing request in DER.
pub fn request(subject: &[u8], key: &PrivateKey) -> Result<Vec<u8>, Unable> {
    key.sign(&[
        &element(INTEGER, &[&[0]]),
        &sequence(&[subject]),
        &sequence(&[&key.public()?]),
        &element(0xa0, &[]),
    ])
}

/// The content of a name, from its least specific part on.
pub fn subject(parts: &[SubjectAttribute<'_>]) -> Vec<u8> {
    let sets = parts.iter().map(|part| {
        let (kind, text) = match part {
            SubjectAttribute::CommonName(text) => (3, text),
            SubjectAttribute::Surname(text) => (4, text),
            SubjectAttribute::Organization(text) => (10, text),
            SubjectAttribute::Unit(text) => (11, text),
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

fn alternative_name(host: &Host) -> Vec<u8> {
    match host {
        Host::Name(name) => element(0x82, &[name.as_bytes()]),
        Host::Address(IpAddr::V4(address)) => element(0x87, &[&address.octets()]),
        Host::Address(IpAddr::V6(address)) => element(0x87, &[&address.octets()]),
    }
}

/// The last arcs of the purposes in extendedKeyUsage.
const SERVER_AUTH: u8 = 1;
const CLIENT_AUTH: u8 = 2;

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

fn slices(parts: &[Vec<u8>]) -> Vec<&[u8]> {
    parts.iter().map(Vec::as_slice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dir;
    use crate::x509::certificate::Certificate;
    use crate::x509::{CertificateRequest, Malformed, pem};

    const FROM: Time = Time::from_unix(1_700_000_000);

    fn draft<'a>(subject: &'a [u8], key: &'a [u8], purpose: Use<'a>) -> Draft<'a> {
        let key = PublicKey::new(key);
        Draft { subject, key, not_before: FROM, not_after: FROM.plus_days(36_500), purpose }
    }

    /// Writes `ca.crt`, `leaf.crt` and `leaf.csr`.
    fn make(dir: &Dir, purpose: Use<'_>) {
        let (ca, _) = PrivateKey::generate().unwrap();
        let (ca_name, ca_key) =
            (subject(&[SubjectAttribute::CommonName("tedge-ca")]), ca.public().unwrap());
        let id = key_id(PublicKey::new(&ca_key));
        let issuer = Issuer { name: Name::new(&ca_name), key: &ca, key_id: Some(&id) };
        let root = draft(&ca_name, &ca_key, Use::Authority).sign(issuer).unwrap();
        dir.write("ca.crt", pem::encode("CERTIFICATE", &root));

        let (key, _) = PrivateKey::generate().unwrap();
        let name = subject(&[
            SubjectAttribute::Organization("Grüße, & Söhne"),
            SubjectAttribute::CommonName("leaf"),
        ]);
        let leaf = draft(&name, &key.public().unwrap(), purpose).sign(issuer).unwrap();
        dir.write("leaf.crt", pem::encode("CERTIFICATE", &leaf));
        dir.write("leaf.csr", pem::encode("CERTIFICATE REQUEST", &request(&name, &key).unwrap()));

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
        let (key, _) = PrivateKey::generate().unwrap();
        let name = subject(&[SubjectAttribute::CommonName("child")]);
        let mut der = request(&name, &key).unwrap();
        let read = CertificateRequest::parse(&der).unwrap();
        assert!(read.is_signed_by_its_key(algorithms));
        assert_eq!(read.subject.content(), name);
        let last = der.len() - 1;
        der[last] ^= 1;
        assert!(!CertificateRequest::parse(&der).unwrap().is_signed_by_its_key(algorithms));
        der.pop();
        assert_eq!(CertificateRequest::parse(&der).err(), Some(Malformed));
    }
}
