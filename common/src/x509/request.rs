//! Reads certificate signing requests (PKCS #10, RFC 2986).

use rustls::crypto::WebPkiSupportedAlgorithms;

use super::der::{INTEGER, Malformed, Reader, SEQUENCE};
use super::name::Name;
use super::signature::{Algorithm, PublicKey, Signed};

/// What somebody asks to have certified. The extensions it asks for are left unread: what its
/// certificate allows is for the signer to say.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Whose certificate it shall be.
    pub subject: Name<'a>,
    /// The key that it shall speak of.
    pub key: PublicKey<'a>,
    signed: Signed<'a>,
}

impl<'a> Request<'a> {
    /// Reads one request in DER.
    pub fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let (signed, mut fields): (_, Reader<'_>) = Signed::parse(der)?;
        fields.take(INTEGER)?;
        let subject = Name::new(fields.take(SEQUENCE)?);
        let key = PublicKey::new(fields.take(SEQUENCE)?);
        Ok(Self { subject, key, signed })
    }

    /// The algorithm of its signature, where that cannot be verified with this kind of key.
    pub fn unknown_algorithm(
        &self,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Option<Algorithm<'a>> {
        let is_known = self.signed.can_be_verified(self.key, algorithms);
        (!is_known).then(|| self.signed.algorithm())
    }

    /// Whether it was made by the owner of the key. Otherwise somebody asks for another's.
    pub fn is_signed_by_its_key(&self, algorithms: WebPkiSupportedAlgorithms) -> bool {
        self.signed.is_by(self.key, algorithms)
    }
}
