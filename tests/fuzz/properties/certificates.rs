//! The input is taken for a certificate, a revocation list and a request in DER, and for PEM.
//! Whatever is read stands in the input, is shown in one line, and can be certified anew.

use std::sync::OnceLock;

use crate::x509::certificate::{Certificate, Serial};
use crate::x509::issue::{Draft, Issuer, Use};
use crate::x509::key::PrivateKey;
use crate::x509::pem::{self, SectionKind};
use crate::x509::{CertificateRequest, IndexedList, Name, PublicKey, RevocationList, Time};

/// Panics where something does not hold.
pub fn check(input: &[u8]) {
    let contents = pem::read(input);
    for section in &contents.sections {
        assert!(section.der.len() <= input.len());
        match section.kind {
            SectionKind::Certificate | SectionKind::RevocationList | SectionKind::Request => {
                check_der(&section.der)
            }
            SectionKind::PrivateKey => drop(PrivateKey::new(&section.der).map(|key| key.public())),
            SectionKind::EncryptedKey | SectionKind::Parameters => {}
        }
    }
    let faults = |contents: &pem::Contents| {
        contents.faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let restated = pem::read(&contents.restate(|_| true));
    assert_eq!(faults(&restated), faults(&contents));
    assert_eq!(restated.sections, contents.sections);
    check_der(input);
}

fn check_der(der: &[u8]) {
    let algorithms = crate::crypto::provider().signature_verification_algorithms;
    if let Ok(read) = Certificate::parse(der) {
        is_exact(der, |der| Certificate::parse(der).is_ok());
        check_certificate(der, &read);
        let _ = read.is_signed_by(read.key, algorithms);
        certify_anew(read.subject, read.key, read.not_before, read.not_after);
    }
    if let Ok(read) = CertificateRequest::parse(der) {
        is_exact(der, |der| CertificateRequest::parse(der).is_ok());
        check_name(der, read.subject);
        stands_in(der, read.key.content());
        let _ = read.is_signed_by_its_key(algorithms);
        certify_anew(read.subject, read.key, Time::from_unix(0), Time::from_unix(1));
    }
    if let Ok(read) = RevocationList::parse(der) {
        is_exact(der, |der| RevocationList::parse(der).is_ok());
        check_name(der, read.issuer);
        if let Some(time) = read.next_update {
            check_time(time);
        }
        let indexed = IndexedList::new(der.to_vec()).unwrap();
        let digits = |number: &[u8]| {
            let zeros = number.iter().take_while(|digit| **digit == 0).count();
            number[zeros..].to_vec()
        };
        for serial in read.serials().take(100).chain([&[1][..], &[5], &[0, 5], &[]]) {
            let is_on_it = read.serials().any(|listed| digits(listed) == digits(serial));
            assert_eq!(indexed.holds(serial), is_on_it, "{serial:?}");
        }
    }
}

/// Neither less nor more of it is read as the same.
fn is_exact(der: &[u8], reads: impl Fn(&[u8]) -> bool) {
    assert!(!reads(&der[..der.len() - 1]), "the last byte does not count");
    assert!(!reads(&[der, &[0]].concat()), "a byte more does not count");
}

fn check_certificate(der: &[u8], read: &Certificate<'_>) {
    for part in [read.serial, read.key.content()] {
        stands_in(der, part);
    }
    check_name(der, read.subject);
    check_name(der, read.issuer);
    check_time(read.not_before);
    check_time(read.not_after);
    is_one_line(&Serial(read.serial).to_string());
    is_one_line(&read.key.to_string());
    for name in &read.extensions.alternative_names {
        is_one_line(&name.to_string());
    }
    for purpose in read.extensions.purposes() {
        is_one_line(&purpose);
    }
    if let Some(id) = read.extensions.key_id {
        stands_in(der, id);
    }
    assert_eq!(read.common_name(), read.subject.common_name());
}

fn check_name(der: &[u8], name: Name<'_>) {
    stands_in(der, name.content());
    is_one_line(&name.to_string());
    if let Some(text) = name.common_name() {
        assert!(text.len() <= 3 * der.len());
    }
}

fn check_time(time: Time) {
    let [year, month, day, hour, minute, second] = time.civil();
    // A leap second at the end of the last day of 9999 is the next year.
    assert!((0..=10_000).contains(&year), "{time}");
    assert!((1..=12).contains(&month) && (1..=31).contains(&day), "{time}");
    assert!(hour < 24 && minute < 60 && second < 60, "{time}");
    is_one_line(&time.to_string());
}

fn stands_in(whole: &[u8], part: &[u8]) {
    let (whole, part) = (whole.as_ptr_range(), part.as_ptr_range());
    assert!(whole.start <= part.start && part.end <= whole.end, "read from elsewhere");
}

fn is_one_line(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// A certificate with these contents says them again.
fn certify_anew(subject: Name<'_>, key: PublicKey<'_>, not_before: Time, not_after: Time) {
    static KEY: OnceLock<PrivateKey> = OnceLock::new();
    let ours = KEY.get_or_init(|| PrivateKey::generate().unwrap().0);
    let public = ours.public().unwrap();
    let draft =
        Draft { subject: subject.content(), key, not_before, not_after, purpose: Use::Client };
    if not_before.civil()[0] > 9999 || not_after.civil()[0] > 9999 {
        return;
    }
    let der = draft.sign(Issuer { name: subject, key: ours, key_id: None }).unwrap();
    let read = Certificate::parse(&der).unwrap();
    assert_eq!((read.subject, read.issuer, read.key), (subject, subject, key));
    assert_eq!((read.not_before, read.not_after), (not_before, not_after));
    let algorithms = crate::crypto::provider().signature_verification_algorithms;
    assert!(read.is_signed_by(PublicKey::new(&public), algorithms));
}
