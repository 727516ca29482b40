//! Public keys and signatures: who signed what, with which algorithm.

use std::fmt;

use rustls::crypto::WebPkiSupportedAlgorithms;

use super::der::{BIT_STRING, DerReader, INTEGER, Malformed, OID, SEQUENCE};
use super::name::ObjectId;

/// A public key: the content of a SubjectPublicKeyInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey<'a>(&'a [u8]);

/// Something signed: a certificate, a request for one, a revocation list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    /// The part that is signed, with its tag and length.
    message: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> PublicKey<'a> {
    /// A key of this content of a SubjectPublicKeyInfo, without its tag and length.
    pub fn new(content: &'a [u8]) -> Self {
        Self(content)
    }

    /// A key of a whole SubjectPublicKeyInfo.
    pub fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        DerReader::new(der).take(SEQUENCE).map(Self)
    }

    /// The content of the SubjectPublicKeyInfo, without its tag and length.
    pub fn content(self) -> &'a [u8] {
        self.0
    }

    /// The key itself, without its kind.
    pub fn bits(self) -> Option<&'a [u8]> {
        self.parts().ok().map(|(_, bits)| bits)
    }

    /// Whether signatures by this key can be verified. RSA keys of less than 2048 or more than
    /// 8192 bits cannot.
    pub fn can_be_verified(self, algorithms: WebPkiSupportedAlgorithms) -> bool {
        let Ok((kind, key)) = self.parts() else { return false };
        algorithms.all.iter().any(|known| known.public_key_alg_id().as_ref() == kind)
            && rsa_bits(key).is_none_or(|bits| (2048..=8192).contains(&bits))
    }

    /// The content of the AlgorithmIdentifier, and the key itself.
    pub(super) fn parts(self) -> Result<(&'a [u8], &'a [u8]), Malformed> {
        let mut parts = DerReader::new(self.0);
        Ok((parts.take(SEQUENCE)?, parts.octets_of_bits()?))
    }
}

impl fmt::Display for PublicKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            Ok((algorithm, key)) => write_kind(f, algorithm, rsa_bits(key)),
            Err(Malformed) => f.write_str("(damaged key)"),
        }
    }
}

/// The size of the modulus in an RSAPublicKey (RFC 8017, A.1.1).
fn rsa_bits(key: &[u8]) -> Option<usize> {
    let mut parts = DerReader::new(key).enter(SEQUENCE).ok()?;
    parts.take(INTEGER).ok().map(bit_length)
}

/// The bits of a positive integer, rounded up to whole bytes.
pub(super) fn bit_length(digits: &[u8]) -> usize {
    digits.strip_prefix(&[0]).unwrap_or(digits).len() * 8
}

/// The kind of a key in words: `RSA 2048`, `P-256`.
pub(super) fn write_kind(
    f: &mut impl fmt::Write,
    algorithm: &[u8],
    rsa_bits: Option<usize>,
) -> fmt::Result {
    let mut algorithm = DerReader::new(algorithm);
    match algorithm.take(OID).unwrap_or_default() {
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1] => {
            write!(f, "RSA {}", rsa_bits.unwrap_or_default())
        }
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10] => f.write_str("RSA-PSS"),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1] => {
            write_curve(f, algorithm.take(OID).unwrap_or_default())
        }
        [0x2b, 0x65, 0x70] => f.write_str("Ed25519"),
        [0x2b, 0x65, 0x71] => f.write_str("Ed448"),
        other => write!(f, "{}", ObjectId(other)),
    }
}

/// The name of an elliptic curve.
pub(super) fn write_curve(f: &mut impl fmt::Write, curve: &[u8]) -> fmt::Result {
    match curve {
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7] => f.write_str("P-256"),
        [0x2b, 0x81, 4, 0, 0x22] => f.write_str("P-384"),
        [0x2b, 0x81, 4, 0, 0x23] => f.write_str("P-521"),
        [] => f.write_str("elliptic curve with explicit parameters"),
        curve => write!(f, "elliptic curve {}", ObjectId(curve)),
    }
}

/// A signature algorithm, by the content of its AlgorithmIdentifier, in words:
/// `ECDSA with SHA-512`.
pub struct Algorithm<'a>(pub &'a [u8]);

impl fmt::Display for Algorithm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HASHES: [&str; 4] = ["SHA-224", "SHA-256", "SHA-384", "SHA-512"];
        match DerReader::new(self.0).take(OID).unwrap_or_default() {
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] => f.write_str("ECDSA with SHA-1"),
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, hash @ 1..=4] => {
                write!(f, "ECDSA with {}", HASHES[usize::from(hash - 1)])
            }
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4] => f.write_str("RSA with MD5"),
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5] => f.write_str("RSA with SHA-1"),
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10] => f.write_str("RSA-PSS"),
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, hash @ 11..=14] => {
                // 11 to 13 are the longer ones, and SHA-224 came last.
                write!(f, "RSA with {}", HASHES[usize::from((hash - 10) % 4)])
            }
            [0x2b, 0x65, 0x70] => f.write_str("Ed25519"),
            [0x2b, 0x65, 0x71] => f.write_str("Ed448"),
            other => ObjectId(other).fmt(f),
        }
    }
}

impl<'a> Signed<'a> {
    /// Takes apart what is signed and by which signature; also a reader of the signed fields.
    pub(super) fn parse(der: &'a [u8]) -> Result<(Self, DerReader<'a>), Malformed> {
        let mut outer = DerReader::new(der);
        let mut parts = outer.enter(SEQUENCE)?;
        outer.end()?;
        let message = parts.any()?;
        if message.tag != SEQUENCE {
            return Err(Malformed);
        }
        let algorithm = parts.take(SEQUENCE)?;
        let signature =
            if parts.is_at(BIT_STRING) { parts.octets_of_bits()? } else { return Err(Malformed) };
        parts.end()?;
        Ok((Self { message: message.whole, algorithm, signature }, DerReader::new(message.content)))
    }

    pub(super) fn algorithm(&self) -> Algorithm<'a> {
        Algorithm(self.algorithm)
    }

    /// Whether signatures of this algorithm can be verified at all with a key of this kind.
    pub(super) fn can_be_verified(
        &self,
        key: PublicKey<'_>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> bool {
        let Ok((kind, _)) = key.parts() else { return false };
        key.can_be_verified(algorithms)
            && algorithms.all.iter().any(|known| {
                known.signature_alg_id().as_ref() == self.algorithm
                    && known.public_key_alg_id().as_ref() == kind
            })
    }

    /// Whether this key made the signature.
    pub(super) fn is_by(&self, key: PublicKey<'_>, algorithms: WebPkiSupportedAlgorithms) -> bool {
        let Ok((key_algorithm, key)) = key.parts() else { return false };
        algorithms
            .all
            .iter()
            .filter(|algorithm| {
                algorithm.signature_alg_id().as_ref() == self.algorithm
                    && algorithm.public_key_alg_id().as_ref() == key_algorithm
            })
            .any(|algorithm| algorithm.verify_signature(key, self.message, self.signature).is_ok())
    }
}
