//! TLS on the server: its levels of security, as configured by files, and their reload.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::compress::CompressionCache;
use rustls::crypto::ring::Ticketer;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;

use super::admission::Admission;
use super::authorities::{Accept, Authorities};
use super::fingerprint::Fingerprint;
use super::identity::Identity;
use super::source::Source;
use super::tickets::Tickets;
use crate::error::Error;
use crate::x509::Time;

/// The files of a server's configuration, and the settings that name them.
#[derive(Clone, Debug)]
pub struct ServerFiles {
    /// The prefix of the four keys: `http` for `http.cert_path` and so on.
    pub prefix: &'static str,
    /// The certificate, and its chain after it.
    pub cert_path: Option<PathBuf>,
    /// The private key of the certificate.
    pub key_path: Option<PathBuf>,
    /// A file or a directory with the CAs that sign clients.
    pub ca_path: Option<PathBuf>,
    /// A file or a directory with the revocation lists of these CAs.
    pub crl_path: Option<PathBuf>,
}

/// A server's configuration, its description and its warnings.
#[derive(Clone, Debug)]
pub struct ServerIdentity {
    /// The configuration for connections.
    pub config: Arc<ServerConfig>,
    /// The subject of its certificate: `CN=localhost, OU=device, O=thin-edge`.
    pub subject: String,
    /// The expiry of its certificate.
    pub not_after: Time,
    /// The host names of its certificate, in lower case.
    pub(super) names: Arc<[String]>,
    /// The number of CAs that sign clients. 0: clients need no certificate.
    pub authorities: usize,
    /// Warnings, one sentence each.
    pub warnings: Vec<String>,
    pub(super) admission: Option<Arc<Admission>>,
    /// The state of the files before they were read.
    pub(super) fingerprint: Fingerprint,
}

impl fmt::Display for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate {}, valid until {}", self.subject, self.not_after)?;
        match self.authorities {
            0 => Ok(()),
            1 => f.write_str(", clients need a certificate from 1 CA"),
            many => write!(f, ", clients need a certificate from one of {many} CAs"),
        }
    }
}

impl ServerFiles {
    /// Reads all files. `None` means plain HTTP: no file is set.
    ///
    /// The error names the key, the file and the fault. Blocks on the disk.
    pub fn load(&self) -> Result<Option<ServerIdentity>, Error> {
        let key = |name: &str| format!("{}.{name}", self.prefix);
        let source = |name, path: &PathBuf| Source::new(key(name), path);
        let missing = |is_set, needs| {
            Error::Configuration(format!("{} is set, but {} is not", key(is_set), key(needs)))
        };
        let (certificate, private_key) = match (&self.cert_path, &self.key_path) {
            (Some(certificate), Some(private_key)) => {
                (source("cert_path", certificate), source("key_path", private_key))
            }
            (Some(_), None) => return Err(missing("cert_path", "key_path")),
            (None, Some(_)) => return Err(missing("key_path", "cert_path")),
            (None, None) if self.ca_path.is_some() => {
                return Err(missing("ca_path", "cert_path"));
            }
            (None, None) if self.crl_path.is_some() => {
                return Err(missing("crl_path", "cert_path"));
            }
            (None, None) => return Ok(None),
        };
        if self.crl_path.is_some() && self.ca_path.is_none() {
            return Err(missing("crl_path", "ca_path"));
        }

        let fingerprint = self.fingerprint();
        let identity = Identity::load(&certificate, &private_key)?;
        let mut warnings = identity.warnings;
        if !identity.names_host {
            warnings.push(certificate.say(
                "names no host in subjectAltName, so most clients refuse it: sign it again with \
                 that extension",
            ));
        }
        let admission = match &self.ca_path {
            None => None,
            Some(path) => {
                let ca_path = source("ca_path", path);
                let lists = self.crl_path.as_ref().map(|path| source("crl_path", path));
                let mut authorities = Authorities::load(&ca_path, Accept::Authorities)?;
                warnings.append(&mut authorities.warnings);
                Some(Admission::new(&ca_path, authorities, lists.as_ref(), &mut warnings)?)
            }
        };

        let unfit = |error| certificate.error(format_args!("cannot be used: {error}"));
        let builder = ServerConfig::builder_with_provider(crate::crypto::provider())
            .with_safe_default_protocol_versions()
            .map_err(unfit)?;
        let builder = match &admission {
            Some(admission) => builder.with_client_cert_verifier(Arc::clone(admission) as Arc<_>),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key)));
        remember_sessions(&mut config, admission.as_ref()).map_err(unfit)?;
        config.alpn_protocols = vec![super::HTTP.to_vec()];
        config.cert_compression_cache = Arc::new(CompressionCache::Disabled);
        // The provider's first suites are the fastest on this machine.
        config.ignore_client_order = true;
        Ok(Some(ServerIdentity {
            config: Arc::new(config),
            subject: identity.subject,
            not_after: identity.not_after,
            names: identity.names.into(),
            authorities: admission.as_ref().map_or(0, |admission| admission.roots.len()),
            warnings,
            admission,
            fingerprint,
        }))
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let paths = [&self.cert_path, &self.key_path, &self.ca_path, &self.crl_path];
        Fingerprint::take(&paths.map(|path| path.as_deref()))
    }
}

/// The clients keep the sessions, in tickets encrypted with a key of this configuration: they take
/// no memory here, and no old session is resumed after a reload.
fn remember_sessions(
    config: &mut ServerConfig,
    admission: Option<&Arc<Admission>>,
) -> Result<(), rustls::Error> {
    let usual = Ticketer::new()?;
    config.ticketer = match admission {
        None => usual,
        Some(admission) => Arc::new(Tickets {
            usual,
            admission: Arc::clone(admission),
            time: Arc::clone(&config.time_provider),
        }),
    };
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // A client can use a ticket more than once.
    config.send_tls13_tickets = 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::time_provider::TimeProvider;
    use rustls::{AlertDescription, HandshakeKind, version};
    use rustls_pki_types::UnixTime;

    use super::*;
    use crate::testing::{Dir, EC_KEY, alert, client_of, files, shake, show};
    use crate::tls::explain;

    /// A clock that is two days ahead.
    #[derive(Debug)]
    struct Late;

    impl TimeProvider for Late {
        fn current_time(&self) -> Option<UnixTime> {
            let now = UnixTime::now().as_secs();
            Some(UnixTime::since_unix_epoch(Duration::from_secs(now + 2 * 86_400)))
        }
    }

    #[test]
    fn a_session_ends_with_the_certificate_of_the_client_who_is_told_so() {
        let dir = Dir::new();
        dir.ca("ca");
        dir.issue("ca", "server", EC_KEY, "100");
        dir.issue("ca", "child", EC_KEY, "1");
        let named = files(&dir, ["server.crt", "server.key", "ca.crt", ""]);
        for version in [&version::TLS12, &version::TLS13] {
            let loaded = named.load().unwrap().unwrap();
            let child = Arc::new(show(client_of(&dir, version), &dir, Some("child")));
            shake(&loaded.config, &child).unwrap();
            let (resumed, _) = shake(&loaded.config, &child).unwrap();
            assert_eq!(resumed.handshake_kind(), Some(HandshakeKind::Resumed));

            let mut late = (*loaded.config).clone();
            late.time_provider = Arc::new(Late);
            late.ticketer = Arc::new(Tickets {
                usual: Arc::clone(&late.ticketer),
                admission: loaded.admission.unwrap(),
                time: Arc::new(Late),
            });
            let late = Arc::new(late);
            assert_eq!(alert(&late, &child), Some(AlertDescription::CertificateExpired));
            let refused = shake(&late, &child).unwrap_err();
            assert!(explain(&refused).starts_with("its certificate has expired on "));
        }
    }
}
