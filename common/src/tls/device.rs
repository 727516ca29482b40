//! The device's own certificate, which is presented to servers. The files are read for each
//! connection, so a renewed certificate needs no reload.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;

use super::client::configure;
use super::identity::Identity;
use super::source::Source;
use crate::crypto;
use crate::error::Error;
use crate::x509::certificate::Certificate;
use crate::x509::pem;

/// A configuration that presents the device's certificate, and its warnings.
#[derive(Clone, Debug)]
pub struct DeviceIdentity {
    /// The configuration. It resumes no session, since a resumed session would use the old
    /// certificate.
    pub config: Arc<ClientConfig>,
    /// The certificates in PEM, each on one line, if there are more than the device's own.
    pub chain: Option<String>,
    /// The subject and the issuer of the certificate.
    pub subject: String,
    /// Possible faults, such as its expiry, each with the setting and the file.
    pub warnings: Vec<String>,
}

impl DeviceIdentity {
    /// Reads `device.cert_path` and `device.key_path`, for servers that `verifier` accepts. Blocks on
    /// the disk.
    ///
    /// # Errors
    ///
    /// Names the setting, the file and its fault.
    pub fn load(
        verifier: &Arc<dyn ServerCertVerifier>,
        certificate: &Path,
        key: &Path,
    ) -> Result<Self, Error> {
        let certificate = Source::new("device.cert_path".to_owned(), certificate);
        let key = Source::new("device.key_path".to_owned(), key);
        let Identity { key, subject, warnings, .. } = Identity::load(&certificate, &key)?;
        let issuer = key.cert.first().and_then(|first| Certificate::parse(first).ok());
        let issuer = issuer.map(|first| first.issuer.to_string()).unwrap_or_default();
        let pem = |der: &_| pem::encode("CERTIFICATE", der).trim_end().replace('\n', " ");
        let chain = (key.cert.len() > 1).then(|| {
            let blocks: Vec<_> = key.cert.iter().map(|der| pem(der.as_ref())).collect();
            blocks.join(" ")
        });
        let (provider, verifier) = (crypto::provider(), Arc::clone(verifier));
        let mut config = configure(provider, verifier, Some(key), Some("http/1.1"))
            .map_err(|error| certificate.error(error))?;
        config.resumption = Resumption::disabled();
        let subject = format!("{subject}, issued by {issuer}");
        Ok(Self { config: Arc::new(config), chain, subject, warnings })
    }
}
