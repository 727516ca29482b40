//! Reads and writes DER (X.690), the encoding of certificates, one element at a time.
//!
//! Each length is checked against the available bytes, so no input causes a panic, recursion or
//! allocation. Knows tags and lengths, but not their meaning in certificates.

use std::fmt;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const PRINTABLE_STRING: u8 = 0x13;
pub(super) const T61_STRING: u8 = 0x14;
pub(super) const IA5_STRING: u8 = 0x16;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const VISIBLE_STRING: u8 = 0x1a;
pub(super) const UNIVERSAL_STRING: u8 = 0x1c;
pub(super) const BMP_STRING: u8 = 0x1e;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// The bytes are not of the expected structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not well-formed (damaged, or the file has other content)")
    }
}

impl std::error::Error for Malformed {}

/// One element: its tag, its content, and both with the length between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

/// What is left to read of a constructed element.
#[derive(Clone, Copy, Debug)]
pub(super) struct DerReader<'a>(&'a [u8]);

impl<'a> DerReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its offset in `whole`, if it is a part of that.
    pub(super) fn position_in(&self, whole: &[u8]) -> Option<usize> {
        let offset = (self.0.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
        (offset + self.0.len() <= whole.len()).then_some(offset)
    }

    /// Whether the next element has this tag.
    pub(super) fn is_at(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// The next element, whatever it is.
    pub(super) fn any(&mut self) -> Result<Element<'a>, Malformed> {
        let (&tag, rest) = self.0.split_first().ok_or(Malformed)?;
        // Tags above 30 take further bytes. Nothing in a certificate has one.
        if tag & 0x1f == 0x1f {
            return Err(Malformed);
        }
        let (&first, rest) = rest.split_first().ok_or(Malformed)?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) =
                    rest.split_at_checked(usize::from(first & 0x7f)).ok_or(Malformed)?;
                let length = digits.iter().fold(0u64, |sum, &digit| sum << 8 | u64::from(digit));
                (usize::try_from(length).map_err(|_| Malformed)?, rest)
            }
            // The indefinite form is BER.
            _ => return Err(Malformed),
        };
        let (content, after) = rest.split_at_checked(length).ok_or(Malformed)?;
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Ok(Element { tag, content, whole })
    }

    /// The content of the next element, which has to have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        if self.is_at(tag) { Ok(self.any()?.content) } else { Err(Malformed) }
    }

    /// The content of the next element if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Malformed> {
        if self.is_at(tag) { Ok(Some(self.any()?.content)) } else { Ok(None) }
    }

    /// A reader of the next element, which has to have this tag.
    pub(super) fn enter(&mut self, tag: u8) -> Result<Self, Malformed> {
        self.take(tag).map(Self)
    }

    /// The bytes of a bit string that has no unused bits: a key, a signature.
    pub(super) fn octets_of_bits(&mut self) -> Result<&'a [u8], Malformed> {
        self.take(BIT_STRING)?.strip_prefix(&[0]).ok_or(Malformed)
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// An element of this tag, with these parts one after the other as its content.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
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

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_short_and_long_lengths() {
        let mut long = vec![OCTET_STRING, 0x82, 0x01, 0x00];
        long.extend([7; 256]);
        long.extend([INTEGER, 1, 5]);
        let mut reader = DerReader::new(&long);
        assert_eq!(reader.take(OCTET_STRING), Ok(&[7; 256][..]));
        assert_eq!(reader.take(INTEGER), Ok(&[5][..]));
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn refuses_lengths_beyond_the_end_and_indefinite_ones() {
        for bytes in [
            &[SEQUENCE, 2, 0][..],
            &[SEQUENCE, 0x80, 0, 0],
            &[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff, 0],
            &[SEQUENCE, 0x88, 0, 0, 0, 0, 0, 0, 0, 1, 0],
            &[SEQUENCE, 0x82, 1],
            &[SEQUENCE],
            &[0x1f, 1, 0],
            &[],
        ] {
            assert!(DerReader::new(bytes).any().is_err(), "{bytes:x?}");
        }
    }
}
