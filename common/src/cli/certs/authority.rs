//! The local CA: a key and a certificate in the directory, made here or with the openssl commands
//! of the documentation.

use super::read::{invalid, section};
use super::store::{CA, Store};
use crate::error::Error;
use crate::x509::Time;
use crate::x509::certificate::Certificate;
use crate::x509::issue::{Draft, Issuer};
use crate::x509::key::{Key, Unable};
use crate::x509::pem::Kind;

/// Whoever signs.
pub(super) struct Authority {
    key: Key,
    certificate: Vec<u8>,
    pub(super) not_after: Time,
}

impl Authority {
    /// The CA of a directory, unless its key is not there.
    pub(super) fn load(store: &Store) -> Result<Option<Self>, Error> {
        let names = [format!("{CA}.key"), format!("{CA}.crt")];
        let [key_path, certificate_path] = names.each_ref().map(|name| store.dir.join(name));
        let Some(key) = store.read(&names[0])? else { return Ok(None) };
        let Some(certificate) = store.read(&names[1])? else {
            return Err(invalid(&certificate_path, "does not exist"));
        };
        let kind = Kind::PrivateKey;
        let secret = section(&key_path, &key, kind, "private key without a passphrase")?;
        let certificate =
            section(&certificate_path, &certificate, Kind::Certificate, "certificate")?;
        let described = Certificate::parse(&certificate)
            .map_err(|error| invalid(&certificate_path, format_args!("is {error}")))?;
        let key = Key::of(described.key, &secret).map_err(|what| invalid(&key_path, what))?;
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
