//! Why a certificate was refused, if rustls has no error for it.

use std::fmt;

use rustls::CertificateError;

/// A key in a presented certificate whose signatures cannot be verified.
#[derive(Debug)]
pub(super) struct WeakKey(pub(super) String);

impl fmt::Display for WeakKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "its certificate, or that of its CA, has a key that cannot be verified here ({}): RSA \
             of 2048 to 8192 bits, P-256, P-384 and Ed25519 can",
            self.0
        )
    }
}

impl std::error::Error for WeakKey {}

/// What the verifier said, where rustls has no word of its own for it.
pub(super) fn cause(error: &CertificateError) -> Option<&webpki::Error> {
    match error {
        CertificateError::Other(cause) => cause.0.downcast_ref(),
        _ => None,
    }
}
