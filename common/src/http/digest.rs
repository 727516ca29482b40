//! Checks `Content-Digest` and `Repr-Digest` (RFC 9530).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName};
use ring::digest::{Algorithm, Context, SHA256, SHA512};

/// RFC 9651, section 4.2.7: padding is optional.
pub const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const FIELDS: [(HeaderName, &str); 2] = [
    (HeaderName::from_static("content-digest"), "Content-Digest"),
    (HeaderName::from_static("repr-digest"), "Repr-Digest"),
];

/// The digests that are expected, and those of what has arrived.
#[derive(Default)]
pub struct Digests {
    expected: Vec<Expected>,
    hashes: Vec<Context>,
}

struct Expected {
    field: &'static str,
    algorithm: &'static Algorithm,
    digest: Vec<u8>,
}

impl Digests {
    /// Ignores algorithms other than sha-256 and sha-512.
    ///
    /// # Errors
    /// The name of a field that is malformed.
    pub fn expected_by(fields: &HeaderMap) -> Result<Self, &'static str> {
        let mut digests = Self { expected: Vec::new(), hashes: Vec::new() };
        for (name, field) in FIELDS {
            for line in fields.get_all(name) {
                let members = line.to_str().ok().and_then(parse).ok_or(field)?;
                for (algorithm, digest) in members {
                    digests.expect(field, algorithm, digest);
                }
            }
        }
        Ok(digests)
    }

    /// Whether none is expected.
    pub fn are_none(&self) -> bool {
        self.expected.is_empty()
    }

    fn expect(&mut self, field: &'static str, algorithm: &str, digest: Vec<u8>) {
        let algorithm = match algorithm {
            "sha-256" => &SHA256,
            "sha-512" => &SHA512,
            _ => return,
        };
        // Of two members with one key the last counts (RFC 9651, section 4.2.2).
        self.expected.retain(|other| other.field != field || other.algorithm != algorithm);
        self.expected.push(Expected { field, algorithm, digest });
        if self.hashes.iter().all(|hash| hash.algorithm() != algorithm) {
            self.hashes.push(Context::new(algorithm));
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, content: &[u8]) {
        for hash in &mut self.hashes {
            hash.update(content);
        }
    }

    /// Whether the content has the expected digests.
    ///
    /// # Errors
    /// The name of a field whose digest it does not have.
    pub fn verify(self) -> Result<(), &'static str> {
        let found: Vec<_> = self.hashes.into_iter().map(Context::finish).collect();
        let is_found = |expected: &&Expected| {
            !found.iter().any(|found| {
                found.algorithm() == expected.algorithm && found.as_ref() == expected.digest
            })
        };
        match self.expected.iter().find(is_found) {
            Some(Expected { field, .. }) => Err(field),
            None => Ok(()),
        }
    }
}

/// A dictionary of byte sequences (RFC 9651, section 3.2).
fn parse(line: &str) -> Option<Vec<(&str, Vec<u8>)>> {
    let mut members = Vec::new();
    for member in line.split(',') {
        let (key, value) = member.trim_matches([' ', '\t']).split_once('=')?;
        let is_key = key.starts_with(|c: char| c.is_ascii_lowercase() || c == '*')
            && key
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*'));
        let (encoded, parameters) = value.strip_prefix(':')?.split_once(':')?;
        if !is_key || !(parameters.is_empty() || parameters.starts_with(';')) {
            return None;
        }
        members.push((key, BASE64.decode(encoded).ok()?));
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const SHA256_ABC: &str = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";
    const SHA512_ABC: &str = "sha-512=:3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==:";
    const WRONG: &str = "sha-256=:AAAA:";

    fn check(lines: &[(&'static str, &str)]) -> Result<(), &'static str> {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let mut digests = Digests::expected_by(&fields)?;
        digests.update(b"a");
        digests.update(b"bc");
        digests.verify()
    }

    #[test]
    fn accepts_content_that_has_the_digest() {
        let both = format!("{SHA256_ABC}, {SHA512_ABC}");
        let with_unknown = format!("md5=:AAAA:,\t{SHA256_ABC}");
        let twice = format!("{WRONG}, {SHA256_ABC}");
        let parameters = format!("{SHA256_ABC};a=b");
        let unpadded = SHA256_ABC.replace("=:u", "|").replace("=:", ":").replace('|', "=:u");
        for line in [SHA256_ABC, SHA512_ABC, &both, &with_unknown, &twice, &parameters, &unpadded] {
            for field in ["content-digest", "repr-digest"] {
                assert!(check(&[(field, line)]).is_ok(), "{line}");
            }
        }
        assert!(check(&[]).is_ok());
        assert!(check(&[("content-digest", "crc32c=:AAAA:")]).is_ok());
        assert!(check(&[("content-digest", SHA256_ABC), ("repr-digest", SHA512_ABC)]).is_ok());
    }

    #[test]
    fn refuses_other_content() {
        let one_of_two = format!("{SHA512_ABC}, {WRONG}");
        for (field, line) in
            [("content-digest", WRONG), ("repr-digest", WRONG), ("content-digest", &one_of_two)]
        {
            assert!(check(&[(field, line)]).is_err(), "{line}");
        }
        let other_field = check(&[("content-digest", SHA256_ABC), ("repr-digest", WRONG)]);
        assert_eq!(other_field, Err("Repr-Digest"));
    }

    #[test]
    fn refuses_a_field_that_cannot_be_parsed() {
        for line in [
            "",
            "sha-256",
            "sha-256=abc",
            "sha-256=:abc",
            "sha-256=:a:",
            "sha-256=:*:",
            "SHA-256=:AAAA:",
            "sha-256=:AAAA:x",
            "sha-256=:AAAA:,",
            "sha-256 = :AAAA:",
        ] {
            let mut fields = HeaderMap::new();
            fields.append("content-digest", HeaderValue::from_static(line));
            assert_eq!(Digests::expected_by(&fields).err(), Some("Content-Digest"), "{line}");
        }
    }
}
