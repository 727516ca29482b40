//! PEM (RFC 7468) in its common variants, or DER instead: from bytes to sections and faults.
//!
//! Reads everything that is unambiguous: sections that are indented, not separated or after a byte
//! order mark, with old labels. Anything else is a fault with its line number and is never skipped.
//! Knows no file and no setting.

mod text;

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use rustls_pki_types::PrivateKeyDer;

use super::certificate::{Certificate, CertificateRequest};
use super::der::{DerReader, INTEGER, OID, SEQUENCE};
use super::list::RevocationList;
use crate::escape::Escaped;
use text::{HYPHENS, Text, find};

/// The content of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The sections that could be read, in order.
    pub sections: Vec<Section>,
    /// The faults, in order.
    pub faults: Vec<Fault>,
}

/// A section between a BEGIN and an END line, or a file in DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The kind by its label.
    pub kind: SectionKind,
    /// Its content; empty if it is encrypted.
    pub der: Vec<u8>,
    /// The line of BEGIN, from 1.
    pub line: usize,
}

/// The kind of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionKind {
    /// A certificate.
    Certificate,
    /// A revocation list.
    RevocationList,
    /// A request for a certificate.
    Request,
    /// A private key, in any of its three encodings.
    PrivateKey,
    /// A private key that is encrypted with a passphrase.
    EncryptedKey,
    /// Parameters or a public key, which tools write next to a private key.
    Parameters,
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its line, from 1.
    pub line: usize,
    what: Damage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Damage {
    /// No END line follows the BEGIN line with this label.
    CutOff(String),
    NotBase64,
    Marker,
    Unknown(String),
    Utf16,
    Binary,
}

/// How a section begins; a label and five hyphens follow.
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
/// The byte order marks of UTF-16.
const UTF_16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];
/// The label that stands for DER of an unknown kind.
const UNKNOWN_DER: &str = "DER that is not a certificate, list, request or key";

/// Formats that cannot be used, and how to convert them to PEM.
const FOREIGN: [(&str, &str); 6] = [
    ("PKCS7", "`openssl pkcs7 -print_certs -in FILE -out NEW`"),
    ("PKCS #7 SIGNED DATA", "`openssl pkcs7 -print_certs -in FILE -out NEW`"),
    ("CMS", "`openssl pkcs7 -print_certs -in FILE -out NEW`"),
    ("PKCS #7 in DER", "`openssl pkcs7 -inform DER -print_certs -in FILE -out NEW`"),
    ("PKCS #12", "`openssl pkcs12 -nodes -in FILE -out NEW`"),
    ("OPENSSH PRIVATE KEY", "`ssh-keygen -p -m PKCS8 -f FILE`; Ed25519 keys cannot be converted"),
];

/// As openssl reads it: padding and the last bits are ignored.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl fmt::Display for Fault {
    /// A message that follows the name of a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Damage::CutOff(label) => write!(f, "is cut off: no line END {}", Escaped(label)),
            Damage::NotBase64 => f.write_str("is damaged: not base64 between BEGIN and END"),
            Damage::Marker => f.write_str("has a damaged BEGIN or END line"),
            Damage::Unknown(label) => match FOREIGN.iter().find(|(known, _)| known == label) {
                Some((label, command)) => {
                    write!(f, "holds {label}, which cannot be used: convert it with {command}")
                }
                None => write!(f, "holds unknown data: {}", Escaped(label)),
            },
            Damage::Utf16 => f.write_str("is UTF-16: save it as UTF-8"),
            Damage::Binary => f.write_str("holds bytes that are not text"),
        }?;
        write!(f, " (line {})", self.line)
    }
}

impl Fault {
    /// Whether it is damage, and not a section of an unknown kind.
    pub fn is_damage(&self) -> bool {
        !matches!(self.what, Damage::Unknown(_))
    }
}

impl SectionKind {
    fn of_label(label: &str) -> Option<Self> {
        Some(match label {
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => Self::Certificate,
            "X509 CRL" | "CRL" => Self::RevocationList,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Self::Request,
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => Self::PrivateKey,
            "ENCRYPTED PRIVATE KEY" => Self::EncryptedKey,
            other if other.ends_with("PARAMETERS") => Self::Parameters,
            other if other.ends_with("PUBLIC KEY") => Self::Parameters,
            _ => return None,
        })
    }

    fn of_der(der: &[u8]) -> Option<Self> {
        if Certificate::parse(der).is_ok() {
            Some(Self::Certificate)
        } else if RevocationList::parse(der).is_ok() {
            Some(Self::RevocationList)
        } else if CertificateRequest::parse(der).is_ok() {
            Some(Self::Request)
        } else {
            PrivateKeyDer::try_from(der).is_ok().then_some(Self::PrivateKey)
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::RevocationList => "X509 CRL",
            Self::Request => "CERTIFICATE REQUEST",
            Self::PrivateKey => "PRIVATE KEY",
            Self::EncryptedKey => "ENCRYPTED PRIVATE KEY",
            Self::Parameters => "PARAMETERS",
        }
    }
}

/// Reads all sections of a text, or of DER.
pub fn read(bytes: &[u8]) -> Contents {
    let mut contents = Contents::default();
    if UTF_16.iter().any(|mark| bytes.starts_with(mark)) {
        contents.faults.push(Fault { line: 1, what: Damage::Utf16 });
    } else if !contents.read_der(bytes) {
        contents.read_text(Text { rest: bytes, line: 1 });
    }
    contents
}

/// PEM: base64 between a BEGIN and an END line.
pub fn encode(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    // 48 bytes make a line of 64 characters.
    for line in der.chunks(48) {
        STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

impl Contents {
    /// The first section of this kind.
    pub fn first(&self, kind: SectionKind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind)
    }

    /// The certificates, in DER.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        let found = self.sections.iter().filter(|found| found.kind == SectionKind::Certificate);
        found.map(|found| found.der.as_slice())
    }

    /// A text in which [`read`] finds the same sections and faults in the same lines, without the
    /// content of the sections that are not kept.
    pub fn restate(&self, mut keep: impl FnMut(&Section) -> bool) -> Vec<u8> {
        let sections = self.sections.iter().map(|section| {
            let label = section.kind.label();
            let der = if keep(section) { STANDARD.encode(&section.der) } else { String::new() };
            (section.line, format!("-----BEGIN {label}-----{der}-----END {label}-----"))
        });
        let faults = self.faults.iter().map(|fault| (fault.line, fault.what.restate()));
        if self.faults.iter().any(|fault| fault.what == Damage::Utf16) {
            return UTF_16[0].to_vec();
        }
        let mut items: Vec<_> = sections.chain(faults).collect();
        items.sort_by_key(|(line, _)| *line);
        let mut text = Vec::new();
        let mut at = 1;
        for (line, item) in items {
            text.extend(std::iter::repeat_n(b'\n', line - at));
            text.extend(item.into_bytes());
            at = line;
        }
        text
    }

    /// Whether it is one or several elements of DER, which are then read.
    fn read_der(&mut self, bytes: &[u8]) -> bool {
        let mut reader = DerReader::new(bytes);
        let mut elements = Vec::new();
        while !reader.is_empty() {
            match reader.any() {
                Ok(element) if element.tag == SEQUENCE => elements.push(element.whole),
                _ => return false,
            }
        }
        for &der in &elements {
            match container(der).map_or_else(|| SectionKind::of_der(der).ok_or(UNKNOWN_DER), Err) {
                Ok(kind) => self.sections.push(Section { kind, der: der.to_vec(), line: 1 }),
                Err(label) => self.fault(1, Damage::Unknown(label.to_owned())),
            }
        }
        !elements.is_empty()
    }

    fn read_text(&mut self, mut text: Text<'_>) {
        while let Some(between) = text.take_until(BEGIN) {
            self.look_between(between);
            self.read_section(&mut text);
        }
        self.look_between(text);
    }

    /// Reads a section whose BEGIN comes next.
    fn read_section(&mut self, text: &mut Text<'_>) {
        let line = text.line;
        text.skip(BEGIN.len());
        let Some(label) = text.take_label() else { return self.fault(line, Damage::Marker) };
        let Some(body) = text.take_until(HYPHENS) else {
            return self.fault(line, Damage::CutOff(label));
        };
        let mut end = *text;
        let is_end = end.rest.starts_with(END);
        if is_end {
            end.skip(END.len());
            let found = end.take_label();
            *text = end;
            if found.is_some_and(|found| found == label) {
                return match self.decode(&label, body.rest, line) {
                    Ok(section) => self.sections.push(section),
                    Err(damage) => self.fault(line, damage),
                };
            }
        }
        self.fault(line, Damage::CutOff(label));
    }

    fn decode(&self, label: &str, body: &[u8], line: usize) -> Result<Section, Damage> {
        let kind = SectionKind::of_label(label).ok_or_else(|| Damage::Unknown(label.to_owned()))?;
        // Fields before the content (RFC 1421), which say how it is encrypted.
        let fields = body.iter().rposition(|byte| *byte == b':').map_or(0, |colon| {
            let line_end = body[colon..].iter().position(|byte| *byte == b'\n');
            line_end.map_or(body.len(), |end| colon + end)
        });
        let (fields, body) = body.split_at(fields);
        if kind == SectionKind::EncryptedKey || find(fields, b"ENCRYPTED").is_some() {
            return Ok(Section { kind: SectionKind::EncryptedKey, der: Vec::new(), line });
        }
        let digits: Vec<u8> = body.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
        let mut der = LENIENT.decode(digits).map_err(|_| Damage::NotBase64)?;
        if label == "TRUSTED CERTIFICATE" {
            // What openssl's own purposes follow.
            let end = DerReader::new(&der).any().map_or(der.len(), |element| element.whole.len());
            der.truncate(end);
        }
        // A list counts under any label: if it were ignored, revoked clients would be admitted.
        let is_list = kind != SectionKind::RevocationList && RevocationList::parse(&der).is_ok();
        let kind = if is_list { SectionKind::RevocationList } else { kind };
        Ok(Section { kind, der, line })
    }

    /// Between sections, any text is allowed, except lines that look like damaged BEGIN or END
    /// lines, and content without such lines.
    fn look_between(&mut self, text: Text<'_>) {
        for (number, line) in text.rest.split(|byte| *byte == b'\n').enumerate() {
            if line.contains(&0) {
                return self.fault(text.line + number, Damage::Binary);
            }
            // How the base64 of all DER that is longer than 127 bytes begins.
            if line.trim_ascii().starts_with(b"MI") && line.trim_ascii().iter().all(is_base64) {
                self.fault(text.line + number, Damage::Marker);
            }
            let line = String::from_utf8_lossy(line).to_ascii_uppercase();
            let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
            if has(&["--", "\u{2013}", "\u{2014}"])
                && has(&["BEGIN", "END"])
                && has(&["CERT", "CRL", "KEY", "X509", "PKCS"])
            {
                self.fault(text.line + number, Damage::Marker);
            }
        }
    }

    fn fault(&mut self, line: usize, what: Damage) {
        self.faults.push(Fault { line, what });
    }
}

impl Damage {
    /// A text that contains this fault.
    fn restate(&self) -> String {
        match self {
            Self::CutOff(label) => format!("-----BEGIN {label}----------END ?-----"),
            Self::NotBase64 => "-----BEGIN CRL-----!-----END CRL-----".to_owned(),
            Self::Marker => "--BEGIN CRL".to_owned(),
            Self::Binary => "\0".to_owned(),
            Self::Unknown(label) => format!("-----BEGIN {label}----------END {label}-----"),
            Self::Utf16 => String::new(),
        }
    }
}

/// What contains certificates or keys in a format that cannot be used (RFC 2315, RFC 7292).
fn container(der: &[u8]) -> Option<&'static str> {
    const PKCS_7: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7];
    let mut parts = DerReader::new(der).enter(SEQUENCE).ok()?;
    let has_version = parts.optional(INTEGER).ok()?.is_some();
    let mut parts = if has_version { parts.enter(SEQUENCE).ok()? } else { parts };
    let label = if has_version { "PKCS #12" } else { "PKCS #7 in DER" };
    parts.take(OID).ok()?.starts_with(&PKCS_7).then_some(label)
}

fn is_base64(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}
