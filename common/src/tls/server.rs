//! A server's side of TLS: its levels of security, as files name them, and their reload.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::compress::CompressionCache;
use rustls::crypto::ring::Ticketer;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ServerConfig, ServerConnection};
use rustls_pki_types::UnixTime;

use super::admission::Admission;
use super::authorities::{Accept, Authorities};
use super::fingerprint::Fingerprint;
use super::identity::Identity;
use super::source::Source;
use crate::error::Error;
use crate::x509::Time;
use crate::x509::certificate::Certificate;

/// Which files make a server's identity and say who may connect, and the keys that name them.
#[derive(Clone, Debug)]
pub struct ServerFiles {
    /// What the four keys begin with: `http` for `http.cert_path` and so on.
    pub prefix: &'static str,
    /// The certificate, and its chain after it.
    pub cert_path: Option<PathBuf>,
    /// The private key of the certificate.
    pub key_path: Option<PathBuf>,
    /// A file or a directory with the CAs that vouch for clients.
    pub ca_path: Option<PathBuf>,
    /// A file or a directory with the lists of certificates that they have revoked.
    pub crl_path: Option<PathBuf>,
}

/// A server's configuration, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct ServerIdentity {
    /// What connections are accepted with.
    pub config: Arc<ServerConfig>,
    /// Whose certificate it is: `CN=localhost, OU=device, O=thin-edge`.
    pub subject: String,
    /// Until when it is valid.
    pub not_after: Time,
    /// How many CAs vouch for clients. 0: no client certificate is asked for.
    pub authorities: usize,
    /// What a person should look into, a sentence each.
    pub warnings: Vec<String>,
    /// What the files looked like before they were read.
    fingerprint: Fingerprint,
}

impl fmt::Display for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate {}, valid until {}", self.subject, self.not_after)?;
        match self.authorities {
            0 => Ok(()),
            1 => f.write_str(", clients need a certificate by 1 CA"),
            many => write!(f, ", clients need a certificate by one of {many} CAs"),
        }
    }
}

impl ServerFiles {
    /// Reads all of them. `None` means plain HTTP: no file is named.
    ///
    /// The error names the key, the file and what is wrong with it. Blocks on the disk.
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
        let provider = crate::crypto::provider();
        let identity = Identity::load(&certificate, &private_key, &provider)?;
        let mut warnings = identity.warnings;
        let admission = match &self.ca_path {
            None => None,
            Some(path) => {
                let source_of_lists = self.crl_path.as_ref().map(|path| source("crl_path", path));
                let ca_path = source("ca_path", path);
                let authorities = Authorities::load(&ca_path, Accept::Authorities)?;
                warnings.extend(authorities.warnings);
                let count = authorities.store.len();
                let admission = Admission::new(
                    &ca_path,
                    authorities.store,
                    source_of_lists.as_ref(),
                    &provider,
                    &mut warnings,
                )?;
                Some((admission, count))
            }
        };

        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| certificate.error(format_args!("cannot be used: {error}")))?;
        let authorities = admission.as_ref().map_or(0, |(_, count)| *count);
        let builder = match admission {
            Some((admission, _)) => builder.with_client_cert_verifier(admission),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key)));
        remember_sessions(&mut config)
            .map_err(|error| certificate.error(format_args!("cannot be used: {error}")))?;
        config.alpn_protocols = vec![super::HTTP.to_vec()];
        config.cert_compression_cache = Arc::new(CompressionCache::Disabled);
        // The provider has the suites in the order in which this machine is quick at them.
        config.ignore_client_order = true;
        Ok(Some(ServerIdentity {
            config: Arc::new(config),
            subject: identity.subject,
            not_after: identity.not_after,
            authorities,
            warnings,
            fingerprint,
        }))
    }

    fn fingerprint(&self) -> Fingerprint {
        let paths = [&self.cert_path, &self.key_path, &self.ca_path, &self.crl_path];
        Fingerprint::take(paths.into_iter().flatten().map(PathBuf::as_path))
    }
}

/// Sessions are remembered by the clients, in tickets under a key that dies with this
/// configuration: that costs no memory here, and nobody resumes what a reload has ended.
fn remember_sessions(config: &mut ServerConfig) -> Result<(), rustls::Error> {
    config.ticketer = Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // Such a ticket can be used more than once, so one is enough.
    config.send_tls13_tickets = 1;
    Ok(())
}

/// Whether the client's certificate still holds, once a handshake is done.
///
/// Of a session that is resumed rustls does not look at it again, and each resumption gives a new
/// ticket: without this, whoever came once in time could come for ever.
pub fn recheck(connection: &ServerConnection) -> Result<(), rustls::Error> {
    recheck_at(connection, Time::now())
}

fn recheck_at(connection: &ServerConnection, now: Time) -> Result<(), rustls::Error> {
    for der in connection.peer_certificates().unwrap_or_default() {
        let certificate = Certificate::parse(der).map_err(|_| CertificateError::BadEncoding)?;
        if certificate.not_after < now {
            let since_1970 = |time: Time| {
                UnixTime::since_unix_epoch(Duration::from_secs(time.unix().unsigned_abs()))
            };
            return Err(CertificateError::ExpiredContext {
                time: since_1970(now),
                not_after: since_1970(certificate.not_after),
            }
            .into());
        }
    }
    Ok(())
}

/// The server's current configuration, swapped whole on reload.
#[derive(Debug)]
pub struct ReloadingServer {
    files: ServerFiles,
    current: Mutex<Arc<ServerConfig>>,
    fingerprint: Mutex<Fingerprint>,
}

impl ReloadingServer {
    /// Serves with what was loaded from these files.
    pub fn new(files: ServerFiles, loaded: &ServerIdentity) -> Self {
        let current = Mutex::new(Arc::clone(&loaded.config));
        Self { files, current, fingerprint: Mutex::new(loaded.fingerprint) }
    }

    /// What the next connection is accepted with.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&lock(&self.current))
    }

    /// Reads the files again. On an error the old configuration stays. Blocks on the disk.
    pub fn reload(&self) -> Result<ServerIdentity, Error> {
        // First the fingerprint: what changes while it is read is noticed the next time. It is taken
        // here too so that files which do not load are tried again only when they change again.
        *lock(&self.fingerprint) = self.files.fingerprint();
        let loaded = self.files.load()?.ok_or_else(|| {
            Error::Configuration(format!("{}.cert_path is not set", self.files.prefix))
        })?;
        *lock(&self.current) = Arc::clone(&loaded.config);
        Ok(loaded)
    }

    /// Whether any of the files has changed since they were last read, successfully or not.
    ///
    /// Looks at sizes and times only. Blocks on the disk.
    pub fn changed(&self) -> bool {
        *lock(&self.fingerprint) != self.files.fingerprint()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use rustls::HandshakeKind;

    use super::*;
    use crate::testing::{Dir, EC_KEY, client, files, shake};
    use crate::tls::explain;

    #[test]
    fn a_reload_ends_the_sessions_of_the_revoked() {
        let dir = Dir::new();
        dir.ca("ca");
        for name in ["server", "child"] {
            dir.issue("ca", name, EC_KEY, "100");
        }
        dir.revoke("ca", &[], "");
        let named = files(&dir, ["server.crt", "server.key", "ca.crt", "ca.crl"]);
        let server = ReloadingServer::new(named.clone(), &named.load().unwrap().unwrap());
        let child = Arc::new(client(&dir, Some("child")));
        shake(&server.current(), &child).unwrap();
        let (resumed, _) = shake(&server.current(), &child).unwrap();
        assert_eq!(resumed.handshake_kind(), Some(HandshakeKind::Resumed));
        assert!(!server.changed());

        dir.revoke("ca", &["child"], "");
        assert!(server.changed());
        server.reload().unwrap();
        assert!(!server.changed());
        let refused = shake(&server.current(), &child).unwrap_err();
        assert_eq!(explain(&refused), "its certificate is revoked");
    }

    #[test]
    fn a_session_ends_with_the_certificate_of_the_client() {
        let dir = Dir::new();
        dir.ca("ca");
        for name in ["server", "child"] {
            dir.issue("ca", name, EC_KEY, "1");
        }
        let named = files(&dir, ["server.crt", "server.key", "ca.crt", ""]);
        let server = named.load().unwrap().unwrap().config;
        let child = Arc::new(client(&dir, Some("child")));
        shake(&server, &child).unwrap();
        let (resumed, _) = shake(&server, &child).unwrap();
        assert_eq!(resumed.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(recheck(&resumed), Ok(()));
        let late = recheck_at(&resumed, Time::now().plus_days(2)).unwrap_err();
        assert!(explain(&late).starts_with("its certificate has expired on "));
    }

    #[test]
    fn a_reload_that_fails_keeps_the_old_configuration() {
        let dir = Dir::new();
        dir.ca("ca");
        dir.issue("ca", "server", EC_KEY, "100");
        let named = files(&dir, ["server.crt", "server.key", "", ""]);
        let server = ReloadingServer::new(named.clone(), &named.load().unwrap().unwrap());
        let old = server.current();
        dir.write("server.key", "");
        assert!(server.changed());
        assert!(server.reload().is_err());
        assert!(Arc::ptr_eq(&server.current(), &old));
        assert!(!server.changed(), "it is tried again when the file changes again");
        shake(&server.current(), &Arc::new(client(&dir, None))).unwrap();
    }

    #[test]
    fn sees_a_change_inside_of_a_directory() {
        let dir = Dir::new();
        dir.ca("ca");
        dir.issue("ca", "server", EC_KEY, "100");
        let one = dir.write("cas/one.pem", dir.read("ca.crt"));
        let named = files(&dir, ["server.crt", "server.key", "cas", ""]);
        let server = ReloadingServer::new(named.clone(), &named.load().unwrap().unwrap());
        assert!(!server.changed());
        // The same inode, size and mtime.
        dir.run("cp", &["-p", "cas/one.pem", "before"]);
        dir.write("cas/one.pem", dir.read("ca.crt"));
        dir.run("touch", &["-r", "before", "cas/one.pem"]);
        assert!(server.changed());
        server.reload().unwrap();
        std::fs::remove_file(one).unwrap();
        assert!(server.changed());
    }
}
