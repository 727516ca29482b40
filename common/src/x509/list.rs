//! Reads revocation lists (RFC 5280, section 5) far enough to look up a certificate in them.
//!
//! A list stays in its encoding, with an index of 4 bytes for each entry: a list of 200,000 entries
//! takes 7 MB and 800 KB for the index. The caller verifies its signature.

use std::ops::Range;

use rustls::crypto::WebPkiSupportedAlgorithms;

use super::der::{BOOLEAN, DerReader, Element, INTEGER, Malformed, OCTET_STRING, OID, SEQUENCE};
use super::der::{GENERALIZED_TIME, UTC_TIME};
use super::name::Name;
use super::signature::{PublicKey, Signed};
use super::time::Time;

/// The content of a revocation list.
#[derive(Clone, Copy, Debug)]
pub struct RevocationList<'a> {
    /// The issuer whose certificates it lists.
    pub issuer: Name<'a>,
    /// When the next list is due, if stated.
    pub next_update: Option<Time>,
    /// What kind of list it is, if it does not name every revoked certificate.
    pub unfit: Option<&'static str>,
    revoked: DerReader<'a>,
    signed: Signed<'a>,
}

impl<'a> RevocationList<'a> {
    /// Reads one list in DER.
    pub fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let (signed, mut fields) = Signed::parse(der)?;
        fields.optional(INTEGER)?;
        fields.take(SEQUENCE)?;
        let issuer = Name::new(fields.take(SEQUENCE)?);
        Time::read(&mut fields)?;
        let has_next = fields.is_at(UTC_TIME) || fields.is_at(GENERALIZED_TIME);
        let next_update = if has_next { Some(Time::read(&mut fields)?) } else { None };
        let revoked = DerReader::new(fields.optional(SEQUENCE)?.unwrap_or_default());
        let unfit = match fields.optional(0xa0)? {
            Some(extensions) => unfit(DerReader::new(extensions).enter(SEQUENCE)?)?,
            None => None,
        };
        let list = Self { issuer, next_update, unfit, revoked, signed };
        let mut entries = revoked;
        while !entries.is_empty() {
            entries.enter(SEQUENCE)?.take(INTEGER)?;
        }
        Ok(list)
    }

    /// The serial numbers of the certificates on it, as they are encoded.
    pub fn serials(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut entries = self.revoked;
        std::iter::from_fn(move || entries.enter(SEQUENCE).ok()?.take(INTEGER).ok())
    }

    /// Whether this key made its signature.
    pub fn is_signed_by(&self, key: PublicKey<'_>, algorithms: WebPkiSupportedAlgorithms) -> bool {
        self.signed.is_by(key, algorithms)
    }

    /// Where the entries' contents are, in the order of their serial numbers.
    fn index(&self, der: &[u8]) -> Result<Box<[u32]>, Malformed> {
        let mut index = Vec::new();
        let mut entries = self.revoked;
        while !entries.is_empty() {
            let offset = entries.enter(SEQUENCE)?.position_in(der).ok_or(Malformed)?;
            index.push(u32::try_from(offset).map_err(|_| Malformed)?);
        }
        index.sort_unstable_by_key(|&offset| serial_at(der, offset));
        Ok(index.into())
    }
}

/// A list for the look-up of each connection's certificate.
#[derive(Debug)]
pub struct IndexedList {
    der: Box<[u8]>,
    issuer: Range<usize>,
    index: Box<[u32]>,
}

impl IndexedList {
    /// Reads one list in DER, and sorts its entries.
    pub fn new(der: Vec<u8>) -> Result<Self, Malformed> {
        let list = RevocationList::parse(&der)?;
        let issuer = list.issuer.content();
        let start = DerReader::new(issuer).position_in(&der).ok_or(Malformed)?;
        let (issuer, index) = (start..start + issuer.len(), list.index(&der)?);
        Ok(Self { der: der.into(), issuer, index })
    }

    /// The issuer whose certificates it lists.
    pub fn issuer(&self) -> Name<'_> {
        Name::new(self.der.get(self.issuer.clone()).unwrap_or_default())
    }

    /// Whether a certificate with this serial number is on it.
    pub fn holds(&self, serial: &[u8]) -> bool {
        let wanted = order(number(serial));
        let compare = |offset: &u32| serial_at(&self.der, *offset).cmp(&wanted);
        self.index.binary_search_by(compare).is_ok()
    }

    /// Whether this key made its signature.
    pub fn is_signed_by(&self, key: PublicKey<'_>, algorithms: WebPkiSupportedAlgorithms) -> bool {
        Signed::parse(&self.der).is_ok_and(|(signed, _)| signed.is_by(key, algorithms))
    }
}

/// The sorted serial number of the entry whose content begins here.
fn serial_at(der: &[u8], offset: u32) -> (usize, &[u8]) {
    let entry = der.get(offset as usize..).unwrap_or_default();
    // The entries were read when the list was parsed.
    order(number(DerReader::new(entry).take(INTEGER).unwrap_or_default()))
}

/// A key to sort by: shorter numbers are smaller.
fn order(number: &[u8]) -> (usize, &[u8]) {
    (number.len(), number)
}

/// The digits of an integer without leading zeros, which some issuers write and others do not.
fn number(mut digits: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = digits {
        digits = rest;
    }
    digits
}

/// See [`RevocationList::unfit`].
fn unfit(mut extensions: DerReader<'_>) -> Result<Option<&'static str>, Malformed> {
    while !extensions.is_empty() {
        let mut extension = extensions.enter(SEQUENCE)?;
        let kind = extension.take(OID)?;
        let is_critical = extension.optional(BOOLEAN)?.is_some_and(|flag| flag != [0]);
        let value = extension.take(OCTET_STRING)?;
        match kind {
            // The base of a delta list.
            [0x55, 29, 27] => return Ok(Some(INCOMPLETE)),
            // The issuing distribution point.
            [0x55, 29, 28] => {
                let mut point = DerReader::new(value).enter(SEQUENCE)?;
                while !point.is_empty() {
                    match point.any()? {
                        Element { tag: 0x84, content, .. } if content != [0] => {
                            return Ok(Some(INCOMPLETE));
                        }
                        Element { tag: 0x83, .. } => return Ok(Some(SOME_REASONS)),
                        _ => {}
                    }
                }
            }
            // Names of the issuer, the number of the list, the issuer's key, where deltas are.
            [0x55, 29, 18 | 20 | 35 | 46] => {}
            _ if is_critical => return Ok(Some(NOT_UNDERSTOOD)),
            _ => {}
        }
    }
    Ok(None)
}

const INCOMPLETE: &str = "a delta or an indirect list; a complete one is needed";
const SOME_REASONS: &str = "a list for only some revocation reasons; one for all reasons is needed";
const NOT_UNDERSTOOD: &str = "a list with an unknown critical extension";

#[cfg(test)]
mod tests {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

    use super::*;
    use crate::testing::{Dir, EC_KEY, read};
    use crate::x509::certificate::Certificate;
    use crate::x509::der::{BIT_STRING, element, sequence};

    #[test]
    fn finds_what_openssl_revoked() {
        let dir = Dir::new();
        dir.ca("ca");
        for name in ["good", "bad"] {
            dir.issue("ca", name, EC_KEY, "10");
        }
        let list = dir.revoke("ca", &["bad"], "");
        let list = CertificateRevocationListDer::from_pem_slice(&read(&list)).unwrap();
        let list = RevocationList::parse(&list).unwrap();
        let [ca, good, bad] = ["ca.crt", "good.crt", "bad.crt"]
            .map(|name| CertificateDer::from_pem_slice(&dir.read(name)).unwrap());
        let [ca, good, bad] = [&ca, &good, &bad].map(|der| Certificate::parse(der).unwrap());
        let algorithms = crate::crypto::provider().signature_verification_algorithms;

        assert_eq!(list.issuer, ca.subject);
        assert!(list.serials().eq([bad.serial]));
        assert_ne!(good.serial, bad.serial);
        assert!(list.is_signed_by(ca.key, algorithms));
        assert!(!list.is_signed_by(good.key, algorithms));
        assert_eq!(list.unfit, None);
        assert!(list.next_update.unwrap() > Time::now());
    }

    /// A list of serial numbers of five bytes and more, which nobody has signed.
    fn unsigned(serials: impl Iterator<Item = u64>) -> Vec<u8> {
        let time = element(UTC_TIME, &[b"260101000000Z"]);
        let entry = |serial: u64| {
            let number = element(INTEGER, &[&[1], &serial.to_be_bytes()]);
            sequence(&[&number, &time])
        };
        let entries: Vec<u8> = serials.flat_map(entry).collect();
        let kind = sequence(&[&element(OID, &[&[0x2b, 0x65, 0x70]])]);
        let entries = sequence(&[&entries]);
        let fields = sequence(&[&kind, &sequence(&[]), &time, &time, &entries]);
        sequence(&[&fields, &kind, &element(BIT_STRING, &[&[0]])])
    }

    #[test]
    fn a_list_of_200_000_entries_is_looked_up_and_not_walked() {
        const COUNT: u64 = 200_000;
        let serial = |number: u64| [&[1][..], &number.to_be_bytes()].concat();
        // In an order that is not that of the numbers.
        let der = unsigned((0..COUNT).map(|place| place * 7919 % COUNT * 2));
        let indexed = IndexedList::new(der.clone()).unwrap();
        assert_eq!(indexed.index.len() * size_of::<u32>(), 800_000);
        let list = RevocationList::parse(&der).unwrap();
        let started = std::time::Instant::now();
        assert!(!list.serials().any(|listed| listed == serial(1)));
        let walked = started.elapsed();
        let started = std::time::Instant::now();
        for number in 0..1000 {
            let number = number * 399;
            let is_on_it = number % 2 == 0;
            assert_eq!(indexed.holds(&serial(number)), is_on_it, "{number}");
        }
        let looked_up = started.elapsed() / 1000;
        assert!(looked_up * 20 < walked, "{looked_up:?} for one, {walked:?} for a walk");
        assert_eq!(indexed.issuer(), list.issuer);
        assert!(!indexed.holds(&[]));
    }

    #[test]
    fn survives_every_changed_byte() {
        let dir = Dir::new();
        dir.ca("ca");
        dir.issue("ca", "bad", EC_KEY, "10");
        let list = dir.revoke("ca", &["bad"], "");
        let list = CertificateRevocationListDer::from_pem_slice(&read(&list)).unwrap();
        for index in 0..list.len() {
            assert!(RevocationList::parse(&list[..index]).is_err());
            for change in [1, 0x7f, 0x80, 0xff] {
                let mut changed = list.to_vec();
                changed[index] ^= change;
                if let Ok(list) = RevocationList::parse(&changed) {
                    let _ = (list.serials().count(), list.issuer.to_string());
                }
            }
        }
    }
}
