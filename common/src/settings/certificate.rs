//! The name in a certificate's subject, which is the name of the device. Checks nothing.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// The common name of the first certificate in this PEM text.
pub fn common_name(pem: &[u8]) -> Option<String> {
    /// 2.5.4.3, id-at-commonName (RFC 5280, appendix A.1), as it is encoded.
    const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, certificate, _) = element(&certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    // Version (tagged, may be absent), serial number, algorithm, issuer, validity.
    let (tag, _, after) = element(rest)?;
    if tag == 0xa0 {
        rest = after;
    }
    for _ in 0..4 {
        rest = element(rest)?.2;
    }
    let (_, mut subject, _) = element(rest)?;
    let mut name = None;
    while let Some((_, set, after)) = element(subject) {
        subject = after;
        let mut set = set;
        while let Some((_, attribute, after)) = element(set) {
            set = after;
            if let Some(value) = attribute.strip_prefix(COMMON_NAME) {
                name = String::from_utf8(element(value)?.1.to_vec()).ok();
            }
        }
    }
    name.filter(|name| !name.is_empty())
}

/// The first element of a DER text: tag, content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        ..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
