//! The local CA: a key and a certificate in the directory, made here or by the documentation's
//! openssl commands.

use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::read::{invalid, section, sections};
use super::store::{CA, Store};
use crate::error::Error;
use crate::tls::source::SectionKind;
use crate::x509::Time;
use crate::x509::certificate::Certificate;
use crate::x509::issue::{Draft, Issuer, Key, Unable};

/// Whoever signs.
pub(super) struct Authority {
    key: Key,
    certificate: Vec<u8>,
    pub(super) not_after: Time,
}

impl Authority {
    /// The CA of a directory, unless its key is not there.
    pub(super) fn load(store: &Store) -> Result<Option<Self>, Error> {
        let path = |kind: &str| store.dir.join(format!("{CA}.{kind}"));
        let (key_path, certificate_path) = (path("key"), path("crt"));
        if !key_path.exists() {
            return Ok(None);
        }
        let secret = sections(&key_path)?
            .into_iter()
            .find_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der))
            .ok_or_else(|| invalid(&key_path, "holds no private key without a passphrase"))?;
        let key = Key::new(secret)
            .map_err(|Unable| invalid(&key_path, "holds a key of a kind that cannot be used"))?;
        let certificate = section(&certificate_path, SectionKind::Certificate)?
            .ok_or_else(|| invalid(&certificate_path, "holds no certificate"))?;
        let described = Certificate::parse(&certificate)
            .map_err(|error| invalid(&certificate_path, format_args!("is {error}")))?;
        if key.public().map_err(unable)? != described.key.content() {
            return Err(invalid(&key_path, format_args!("is not the key of {CA}.crt beside it")));
        }
        if described.not_after < Time::now() {
            let when = described.not_after;
            return Err(invalid(
                &certificate_path,
                format_args!("has expired on {when}: renew it with `tedge certs ca --force`"),
            ));
        }
        let not_after = described.not_after;
        Ok(Some(Self { key, certificate, not_after }))
    }

    pub(super) fn sign(&self, draft: &Draft<'_>) -> Result<Vec<u8>, Error> {
        let described = Certificate::parse(&self.certificate)
            .map_err(|error| Error::Failed(format!("{CA}.crt is {error}")))?;
        let issuer =
            Issuer { name: described.subject, key: &self.key, key_id: described.extensions.key_id };
        draft.sign(issuer).map_err(unable)
    }
}

/// The failure of a command that cannot sign.
pub(super) fn unable(Unable: Unable) -> Error {
    Error::Failed("cannot make a key or a signature: the system gives no randomness".to_owned())
}
