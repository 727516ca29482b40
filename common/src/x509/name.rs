//! Distinguished names (X.501): compared, and in words: `CN=localhost, OU=device, O=thin-edge`.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

use super::der::{
    BMP_STRING, DerReader, IA5_STRING, Malformed, OID, PRINTABLE_STRING, SEQUENCE, SET, T61_STRING,
    UNIVERSAL_STRING, UTF8_STRING, VISIBLE_STRING,
};
use crate::escape::is_unsafe;

/// A subject or an issuer, still in its encoding.
///
/// Names are compared as openssl does, by RFC 5280, 7.1: neither the type of a string counts, nor
/// the case of ASCII letters, nor how many blanks are around its words.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a>(&'a [u8]);

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || is_same(self.0, other.0) == Ok(true)
    }
}

impl Eq for Name<'_> {}

fn is_same(one: &[u8], other: &[u8]) -> Result<bool, Malformed> {
    let [mut one, mut other] = [one, other].map(DerReader::new);
    while !one.is_empty() && !other.is_empty() {
        let [set, others] =
            [Attribute::read_all(one.enter(SET)?)?, Attribute::read_all(other.enter(SET)?)?];
        let has = |attribute: &Attribute<'_>| others.iter().any(|other| attribute.is_same(other));
        if set.len() != others.len() || !set.iter().all(has) {
            return Ok(false);
        }
    }
    Ok(one.is_empty() && other.is_empty())
}

impl<'a> Name<'a> {
    /// A name of this content, that is without the outer tag and length.
    pub fn new(content: &'a [u8]) -> Self {
        Self(content)
    }

    /// The content of the encoding, without the outer tag and length.
    pub fn content(self) -> &'a [u8] {
        self.0
    }

    /// The last common name (CN) in it.
    pub fn common_name(self) -> Option<Cow<'a, str>> {
        let mut found = None;
        let mut sets = DerReader::new(self.0);
        while let Ok(mut set) = sets.enter(SET) {
            while let Ok(attribute) = Attribute::read(&mut set) {
                if attribute.kind == COMMON_NAME {
                    found = Some(attribute.text());
                }
            }
        }
        found
    }
}

impl Display for Name<'_> {
    /// The most specific part first, as RFC 4514 has it, with a space after each comma.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(no name)");
        }
        let mut parts = Vec::new();
        let mut sets = DerReader::new(self.0);
        while !sets.is_empty() {
            let Ok(set) = sets.enter(SET) else {
                return f.write_str("(damaged name)");
            };
            parts.push(set);
        }
        for (index, mut set) in parts.into_iter().rev().enumerate() {
            let mut separator = if index == 0 { "" } else { ", " };
            while let Ok(attribute) = Attribute::read(&mut set) {
                f.write_str(separator)?;
                attribute.fmt(f)?;
                separator = " + ";
            }
        }
        Ok(())
    }
}

const COMMON_NAME: &[u8] = &[0x55, 4, 3];

struct Attribute<'a> {
    kind: &'a [u8],
    tag: u8,
    value: &'a [u8],
}

impl<'a> Attribute<'a> {
    fn read(set: &mut DerReader<'a>) -> Result<Self, Malformed> {
        let mut pair = set.enter(SEQUENCE)?;
        let kind = pair.take(OID)?;
        let value = pair.any()?;
        Ok(Self { kind, tag: value.tag, value: value.content })
    }

    fn read_all(mut set: DerReader<'a>) -> Result<Vec<Self>, Malformed> {
        let mut attributes = Vec::new();
        while !set.is_empty() {
            attributes.push(Self::read(&mut set)?);
        }
        Ok(attributes)
    }

    fn is_same(&self, other: &Self) -> bool {
        if self.kind != other.kind || !self.is_text() || !other.is_text() {
            return (self.kind, self.tag, self.value) == (other.kind, other.tag, other.value);
        }
        let [text, others] = [self, other].map(|attribute| attribute.text().to_ascii_lowercase());
        text.split_ascii_whitespace().eq(others.split_ascii_whitespace())
    }

    fn is_text(&self) -> bool {
        /// The types that openssl converts; others are compared byte by byte.
        const TYPES: [u8; 7] = [
            UTF8_STRING,
            PRINTABLE_STRING,
            T61_STRING,
            IA5_STRING,
            VISIBLE_STRING,
            UNIVERSAL_STRING,
            BMP_STRING,
        ];
        TYPES.contains(&self.tag)
    }

    fn text(&self) -> Cow<'a, str> {
        match self.tag {
            UNIVERSAL_STRING => {
                let units = self.value.chunks_exact(4).map(|unit| {
                    char::from_u32(u32::from_be_bytes([unit[0], unit[1], unit[2], unit[3]]))
                });
                units.map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
            BMP_STRING => char::decode_utf16(
                self.value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])),
            )
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
            UTF8_STRING => String::from_utf8_lossy(self.value),
            // The older string types agree on ASCII, and in practice hold Latin-1 beyond it.
            _ => match std::str::from_utf8(self.value) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => self.value.iter().map(|&byte| char::from(byte)).collect(),
            },
        }
    }

    /// The short name as the openssl command writes it.
    fn label(&self) -> Option<&'static str> {
        Some(match self.kind {
            COMMON_NAME => "CN",
            [0x55, 4, 4] => "SN",
            [0x55, 4, 5] => "serialNumber",
            [0x55, 4, 6] => "C",
            [0x55, 4, 7] => "L",
            [0x55, 4, 8] => "ST",
            [0x55, 4, 9] => "street",
            [0x55, 4, 10] => "O",
            [0x55, 4, 11] => "OU",
            [0x55, 4, 12] => "title",
            [0x55, 4, 42] => "GN",
            [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
            [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
            _ => return None,
        })
    }

    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label() {
            Some(label) => f.write_str(label)?,
            None => ObjectId(self.kind).fmt(f)?,
        }
        f.write_char('=')?;
        write_escaped(f, &self.text())
    }
}

/// Writes text without control characters, and with escaped commas.
pub(super) fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for character in text.chars() {
        match character {
            ',' | '+' | '\\' | '"' => write!(f, "\\{character}")?,
            other if is_unsafe(other) => write!(f, "{}", other.escape_unicode())?,
            other => f.write_char(other)?,
        }
    }
    Ok(())
}

/// An object identifier in dotted decimals.
pub(super) struct ObjectId<'a>(pub(super) &'a [u8]);

impl Display for ObjectId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arc = 0u64;
        let mut is_first = true;
        for &byte in self.0 {
            arc = arc.wrapping_shl(7) | u64::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                continue;
            }
            if is_first {
                let root = (arc / 40).min(2);
                write!(f, "{root}.{}", arc - root * 40)?;
            } else {
                write!(f, ".{arc}")?;
            }
            is_first = false;
            arc = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: Vec<u8>| {
            let mut der = vec![tag, content.len() as u8];
            der.extend(content);
            der
        };
        let mut pair = wrap(OID, kind.to_vec());
        pair.extend(wrap(tag, value.to_vec()));
        wrap(SET, wrap(SEQUENCE, pair))
    }

    #[test]
    fn shows_the_most_specific_part_first() {
        let mut der = set(&[0x55, 4, 10], UTF8_STRING, b"thin-edge");
        der.extend(set(COMMON_NAME, UTF8_STRING, "Gerät".as_bytes()));
        let name = Name::new(&der);
        assert_eq!(name.to_string(), "CN=Gerät, O=thin-edge");
        assert_eq!(name.common_name().as_deref(), Some("Gerät"));
    }

    #[test]
    fn names_are_the_same_whatever_their_strings_case_and_blanks() {
        let name = |tag, text: &[u8]| {
            [set(&[0x55, 4, 10], 0x13, b"x"), set(COMMON_NAME, tag, text)].concat()
        };
        let text = name(UTF8_STRING, "Device ä CA".as_bytes());
        for (tag, same) in [
            (UTF8_STRING, "  device  ä cA ".as_bytes()),
            (T61_STRING, b"DEVICE \xe4 CA"),
            (BMP_STRING, b"\0D\0e\0v\0i\0c\0e\0 \0\xe4\0 \0C\0A"),
            (
                UNIVERSAL_STRING,
                b"\0\0\0D\0\0\0e\0\0\0v\0\0\0i\0\0\0c\0\0\0e\0\0\0 \0\0\0\xe4\0\0\0 \0\0\0C\0\0\0A",
            ),
        ] {
            assert_eq!(Name::new(&text), Name::new(&name(tag, same)), "{tag:x}");
        }
        let ascii = name(UTF8_STRING, b"a b");
        for tag in [PRINTABLE_STRING, IA5_STRING, VISIBLE_STRING, T61_STRING] {
            assert_eq!(Name::new(&ascii), Name::new(&name(tag, b"A  B")), "{tag:x}");
        }
        for other in [
            name(UTF8_STRING, b"ab"),
            name(0x04, b"a b"),
            name(UTF8_STRING, b"a b")[11..].to_vec(),
            set(COMMON_NAME, UTF8_STRING, b"a b"),
            [&ascii[..], &[0x31]].concat(),
            Vec::new(),
        ] {
            assert_ne!(Name::new(&ascii), Name::new(&other), "{other:x?}");
        }
    }

    #[test]
    fn the_order_in_a_set_of_several_attributes_means_nothing() {
        let [one, other] =
            [set(COMMON_NAME, UTF8_STRING, b"a"), set(&[0x55, 4, 10], UTF8_STRING, b"b")];
        let both = |one: &[u8], other: &[u8]| {
            let pairs = [&one[2..], &other[2..]].concat();
            [&[SET, pairs.len() as u8], &pairs[..]].concat()
        };
        assert_eq!(Name::new(&both(&one, &other)), Name::new(&both(&other, &one)));
        assert_ne!(Name::new(&both(&one, &other)), Name::new(&both(&one, &one)));
        assert_ne!(Name::new(&both(&one, &other)), Name::new(&one));
    }

    #[test]
    fn keeps_hostile_names_on_one_line() {
        let der = set(COMMON_NAME, UTF8_STRING, b"a\n\x1b[31m, CN=b");
        assert_eq!(Name::new(&der).to_string(), "CN=a\\u{a}\\u{1b}[31m\\, CN=b");
        // C1, and marks that turn the direction of writing.
        let der = set(COMMON_NAME, UTF8_STRING, "a\u{9b}31m\u{202e}b\u{2066}".as_bytes());
        assert_eq!(Name::new(&der).to_string(), "CN=a\\u{9b}31m\\u{202e}b\\u{2066}");
    }

    #[test]
    fn reads_older_strings_and_unknown_attributes() {
        assert_eq!(Name::new(&set(COMMON_NAME, BMP_STRING, b"\0A\0\xe9")).to_string(), "CN=Aé");
        assert_eq!(Name::new(&set(COMMON_NAME, 0x14, b"caf\xe9")).to_string(), "CN=café");
        assert_eq!(Name::new(&set(&[0x2b, 6, 1, 4, 1], 0x13, b"x")).to_string(), "1.3.6.1.4.1=x");
        assert_eq!(Name::new(&[]).to_string(), "(no name)");
        assert_eq!(Name::new(&[1, 2, 3]).to_string(), "(damaged name)");
    }
}
