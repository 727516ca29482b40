//! The names of a client, as its certificate states them.

use crate::journal;
use crate::x509::certificate::{AlternativeName, Certificate};

/// The maximum number of names that count. If a certificate has more, the log says so. Public CAs
/// issue no such certificate.
const MOST: usize = 100;

/// The names of a client; none without a certificate.
#[derive(Clone, Debug, Default)]
pub struct Names(Box<[ClientName]>);

#[derive(Clone, Debug)]
pub(super) struct ClientName {
    pub(super) text: String,
    /// Whether `{who}` can be replaced by it.
    pub(super) is_part: bool,
}

impl Names {
    /// The names in a verified certificate: its DNS names, URIs and email addresses. If it has none
    /// of these, its last common name. Names that are not UTF-8 are ignored.
    pub fn of(certificate: &[u8]) -> Self {
        let Ok(certificate) = Certificate::parse(certificate) else { return Self::default() };
        let alternative = certificate.extensions.alternative_names.iter();
        let mut alternative = alternative
            .filter_map(|name| match *name {
                // rfc822Name and uniformResourceIdentifier.
                AlternativeName::Dns(text) | AlternativeName::Other(0x81 | 0x86, text) => {
                    Some(text)
                }
                _ => None,
            })
            .peekable();
        if alternative.peek().is_some() {
            let texts = alternative.by_ref().take(MOST).flat_map(std::str::from_utf8);
            let names = Self(texts.map(ClientName::new).collect());
            if alternative.next().is_some() {
                let complaint = format!(
                    "its certificate has more than {MOST} names: only the first {MOST} count"
                );
                journal::complain(&complaint, &certificate.subject);
            }
            return names;
        }
        // The replacement character stands for lost bytes. Names that differ in these bytes would
        // be equal.
        let common = certificate.common_name();
        let common = common.iter().filter(|name| !name.contains(char::REPLACEMENT_CHARACTER));
        Self(common.map(|name| ClientName::new(name)).collect())
    }

    /// A single name.
    pub fn one(name: &str) -> Self {
        Self([ClientName::new(name)].into())
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, ClientName> {
        self.0.iter()
    }
}

impl ClientName {
    fn new(text: &str) -> Self {
        let is_part = !text.is_empty()
            && text != "*"
            && !text.contains("..")
            && !text.contains(|character: char| character == '/' || character.is_control());
        Self { text: text.to_owned(), is_part }
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;
    use crate::testing::Dir;

    fn names(subject: &str, alternative: &str) -> Vec<String> {
        texts(&certificate(subject, alternative))
    }

    fn texts(certificate: &[u8]) -> Vec<String> {
        Names::of(certificate).iter().map(|name| name.text.clone()).collect()
    }

    /// A certificate that openssl makes.
    fn certificate(subject: &str, alternative: &str) -> Vec<u8> {
        let dir = Dir::new();
        let extension = format!("subjectAltName={alternative}");
        let mut arguments = vec!["req", "-x509", "-newkey", "ec", "-pkeyopt"];
        arguments.extend(["ec_paramgen_curve:P-256", "-nodes", "-keyout", "key", "-out", "crt"]);
        arguments.extend(["-subj", subject, "-utf8"]);
        if !alternative.is_empty() {
            arguments.extend(["-addext", &extension]);
        }
        dir.run("openssl", &arguments);
        CertificateDer::from_pem_slice(&dir.read("crt")).unwrap().to_vec()
    }

    #[test]
    fn alternative_names_come_before_the_common_name() {
        assert_eq!(names("/CN=child1", ""), ["child1"]);
        assert_eq!(names("/CN=child1", "DNS:child2"), ["child2"]);
        let all = "email:a@b.example,URI:urn:child:3,DNS:child3,IP:192.0.2.1";
        assert_eq!(names("/CN=child1", all), ["a@b.example", "urn:child:3", "child3"]);
        assert_eq!(names("/CN=child1", "IP:192.0.2.1"), ["child1"]);
        assert_eq!(names("/CN=child1/CN=child2", ""), ["child2"]);
        assert_eq!(names("/O=thin-edge", ""), [""; 0]);
        assert_eq!(names("/CN=сhild1", ""), ["сhild1"], "Cyrillic es");
        let many: Vec<_> = (0..101).map(|number| format!("DNS:n{number}")).collect();
        assert_eq!(names("/CN=child1", &many.join(",")).len(), 100);
    }

    #[test]
    fn a_name_that_is_no_single_part_of_a_path_is_none() {
        for name in ["", "*", "/", "a/b", "..", "a..b", "a\0", "a\n", "\u{9b}31m"] {
            assert!(!ClientName::new(name).is_part, "{name:?}");
        }
        for name in ["a", "a.b", "main:device:child1", "Gerät", "a b", "**"] {
            assert!(ClientName::new(name).is_part, "{name:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_not_taken_for_another_name() {
        let made = [certificate("/CN=child1X", ""), certificate("/CN=a", "DNS:child1X")];
        for (byte, expected) in [(b'X', vec!["child1X"]), (0, vec!["child1\0"]), (0xff, vec![])] {
            for certificate in &made {
                let mut changed = certificate.clone();
                for at in 6..changed.len() {
                    if changed[..=at].ends_with(b"child1X") {
                        changed[at] = byte;
                    }
                }
                assert_eq!(texts(&changed), expected);
            }
        }
    }

    #[test]
    fn no_certificate_is_no_name() {
        assert!(Names::of(b"").iter().next().is_none());
    }
}
