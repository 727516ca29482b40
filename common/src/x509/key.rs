//! Private keys, in all common encodings.

use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls::SignatureScheme;
use rustls::sign::{Signer, SigningKey};
use rustls_pki_types::{AlgorithmIdentifier, PrivateKeyDer, alg_id};

use super::der::{BIT_STRING, DerReader, INTEGER, Malformed, OCTET_STRING, OID, SEQUENCE};
use super::der::{element, sequence};
use super::signature::{PublicKey, bit_length, write_curve, write_kind};

/// A private key that signs, of any kind that a server may have.
pub struct PrivateKey(Arc<dyn SigningKey>);

/// ring cannot sign or generate a key, for example without random numbers.
#[derive(Clone, Copy, Debug)]
pub struct Unable;

/// Why a private key cannot be used, as a message that follows the name of its file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// ring signs with no such keys.
    #[error(
        "holds a key of a kind that cannot be used ({0}); RSA of 2048 to 4096 bits, P-256, P-384 \
         and Ed25519 can be used"
    )]
    Kind(String),
    /// It is damaged, or its encoding is unknown.
    #[error("holds a key that is damaged, or of an unknown kind")]
    Unknown,
    /// An EC key without its public part that does not belong to the certificate.
    #[error("holds a key that does not belong to the first certificate")]
    Stranger,
}

impl PrivateKey {
    /// A new P-256 key, and its PKCS #8 encoding to be kept secret.
    pub fn generate() -> Result<(Self, Vec<u8>), Unable> {
        let random = SystemRandom::new();
        let encoded = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map_err(|_| Unable)?
            .as_ref()
            .to_vec();
        let key = Self::new(&encoded).map_err(|_| Unable)?;
        Ok((key, encoded))
    }

    /// An existing key: PKCS #8, PKCS #1 or SEC 1, whatever its label.
    pub fn new(encoded: &[u8]) -> Result<Self, Unusable> {
        PrivateKeyDer::try_from(encoded)
            .ok()
            .and_then(|key| load(key.clone_key()))
            .ok_or_else(|| kind(encoded).map_or(Unusable::Unknown, Unusable::Kind))
    }

    /// The same for the owner of this public key. An EC key may lack its public part (`openssl ec
    /// -no_public`), which is then taken from `owner`.
    pub fn of(owner: PublicKey<'_>, encoded: &[u8]) -> Result<Self, Unusable> {
        Self::new(encoded).or_else(|unusable| match complete(owner, encoded) {
            Ok(whole) => load(PrivateKeyDer::Pkcs8(whole.into())).ok_or(Unusable::Stranger),
            Err(Malformed) => Err(unusable),
        })
    }

    /// The content of the SubjectPublicKeyInfo of its public key.
    pub fn public(&self) -> Result<Vec<u8>, Unable> {
        let encoded = self.0.public_key().ok_or(Unable)?;
        PublicKey::parse(&encoded).map(|key| key.content().to_vec()).map_err(|Malformed| Unable)
    }

    /// The key as a TLS configuration takes it.
    pub(crate) fn into_signing(self) -> Arc<dyn SigningKey> {
        self.0
    }

    /// The encoded identifier of the algorithm that it signs with.
    pub(super) fn algorithm(&self) -> Result<Vec<u8>, Unable> {
        let scheme = self.signer()?.scheme();
        let known = SCHEMES.iter().find(|(known, _)| *known == scheme).ok_or(Unable)?;
        Ok(sequence(&[known.1.as_ref()]))
    }

    fn signer(&self) -> Result<Box<dyn Signer>, Unable> {
        self.0.choose_scheme(&SCHEMES.map(|(scheme, _)| scheme)).ok_or(Unable)
    }

    /// These fields, signed: a certificate or a request in DER.
    pub(super) fn sign(&self, fields: &[&[u8]]) -> Result<Vec<u8>, Unable> {
        let message = sequence(fields);
        let signature = self.signer()?.sign(&message).map_err(|_| Unable)?;
        Ok(sequence(&[&message, &self.algorithm()?, &element(BIT_STRING, &[&[0], &signature])]))
    }
}

/// How each kind of key signs, in the order in which they are tried.
const SCHEMES: [(SignatureScheme, AlgorithmIdentifier); 4] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, alg_id::ECDSA_SHA256),
    (SignatureScheme::ECDSA_NISTP384_SHA384, alg_id::ECDSA_SHA384),
    (SignatureScheme::RSA_PKCS1_SHA256, alg_id::RSA_PKCS1_SHA256),
    (SignatureScheme::ED25519, alg_id::ED25519),
];

fn load(key: PrivateKeyDer<'static>) -> Option<PrivateKey> {
    crate::crypto::provider().key_provider.load_private_key(key).map(PrivateKey).ok()
}

/// A key of an elliptic curve with the public part that it lacks, as PKCS #8 (RFC 5915, RFC 5958).
fn complete(owner: PublicKey<'_>, encoded: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (algorithm, public) = owner.parts()?;
    let mut parts = DerReader::new(encoded).enter(SEQUENCE)?;
    let mut version = parts.take(INTEGER)?;
    if parts.is_at(SEQUENCE) {
        parts.take(SEQUENCE)?;
        parts = DerReader::new(parts.take(OCTET_STRING)?).enter(SEQUENCE)?;
        version = parts.take(INTEGER)?;
    }
    let secret = parts.take(OCTET_STRING)?;
    parts.optional(0xa0)?;
    // The public part exists, so the key has another fault.
    if !parts.is_empty() {
        return Err(Malformed);
    }
    let public = element(BIT_STRING, &[&[0], public]);
    let inner = sequence(&[
        &element(INTEGER, &[version]),
        &element(OCTET_STRING, &[secret]),
        &element(0xa1, &[&public]),
    ]);
    Ok(sequence(&[
        &element(INTEGER, &[&[0]]),
        &sequence(&[algorithm]),
        &element(OCTET_STRING, &[&inner]),
    ]))
}

/// The kind of a private key in words, where it is PKCS #8, PKCS #1 or SEC 1.
fn kind(encoded: &[u8]) -> Option<String> {
    let modulus = |mut parts: DerReader<'_>| parts.take(INTEGER).ok().map(bit_length);
    let mut words = String::new();
    let mut parts = DerReader::new(encoded).enter(SEQUENCE).ok()?;
    parts.take(INTEGER).ok()?;
    if parts.is_at(SEQUENCE) {
        let algorithm = parts.take(SEQUENCE).ok()?;
        let inner = DerReader::new(parts.take(OCTET_STRING).ok()?).enter(SEQUENCE);
        let inner = inner.and_then(|mut inner| inner.take(INTEGER).map(|_| inner)).ok();
        write_kind(&mut words, algorithm, inner.and_then(modulus)).ok()?;
    } else if parts.is_at(INTEGER) {
        words = format!("RSA {}", modulus(parts)?);
    } else {
        parts.take(OCTET_STRING).ok()?;
        let curve = parts.enter(0xa0).ok()?.take(OID).unwrap_or_default();
        write_curve(&mut words, curve).ok()?;
    }
    Some(words)
}
