//! The configuration with which a server accepts connections. It is replaced as a whole after its
//! files have changed. Also checks whether clients of open connections would still be accepted.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::admission::Admission;
use super::fingerprint::Fingerprint;
use super::server::{ServerFiles, ServerIdentity};
use crate::error::Error;
use crate::x509::certificate::Certificate;

/// The server's current configuration. A reload replaces it as a whole.
#[derive(Debug)]
pub struct ReloadingServer {
    files: ServerFiles,
    current: Mutex<CurrentConfig>,
    fingerprint: Mutex<Fingerprint>,
}

#[derive(Clone, Debug)]
struct CurrentConfig {
    config: Arc<ServerConfig>,
    admission: Option<Arc<Admission>>,
    names: Arc<[String]>,
}

/// The client of an open connection, as its certificates name it.
pub(crate) struct VerifiedClient {
    certificates: Vec<CertificateDer<'static>>,
    /// The configuration that accepted the client last. This does not keep it alive: a connection
    /// may stay open for days, and old keys and lists should be freed after a reload.
    judged_by: Mutex<Weak<ServerConfig>>,
    /// When the first of the certificates expires that were valid at the last check, in Unix
    /// seconds.
    expires: AtomicI64,
    /// The same number for the same certificate, for as long as the process runs.
    pub(crate) digest: u64,
}

impl VerifiedClient {
    fn first_expiry(&self, after: i64) -> i64 {
        let read = self.certificates.iter().flat_map(|der| Certificate::parse(der));
        let expiries = read.map(|certificate| certificate.not_after.unix());
        expiries.filter(|expiry| *expiry >= after).min().unwrap_or(i64::MAX)
    }
}

impl ReloadingServer {
    /// Serves with the configuration that was loaded from these files.
    pub fn new(files: ServerFiles, loaded: &ServerIdentity) -> Self {
        let current = Mutex::new(CurrentConfig::of(loaded));
        Self { files, current, fingerprint: Mutex::new(loaded.fingerprint) }
    }

    /// The configuration for the next connection.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&lock(&self.current).config)
    }

    /// Whether clients must have a certificate.
    pub fn asks_for_certificates(&self) -> bool {
        lock(&self.current).admission.is_some()
    }

    /// Whether the certificate is for this host, a name in lower case.
    pub fn is_for(&self, host: &str) -> bool {
        let is_below = |domain: &str| {
            let label = host.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.'));
            label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
        };
        lock(&self.current).names.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => is_below(domain),
            None => name == host,
        })
    }

    /// The client of a connection that was accepted with `config`, if it has a certificate.
    pub(crate) fn client(
        &self,
        session: &ServerConnection,
        config: &Arc<ServerConfig>,
    ) -> Option<VerifiedClient> {
        let certificates = session.peer_certificates()?.to_vec();
        let mut hasher = DefaultHasher::new();
        certificates.first().hash(&mut hasher);
        let client = VerifiedClient {
            certificates,
            judged_by: Mutex::new(Arc::downgrade(config)),
            expires: AtomicI64::new(0),
            digest: hasher.finish(),
        };
        // The client of a resumed session was checked when the session began.
        client.expires.store(client.first_expiry(i64::MIN), Relaxed);
        Some(client)
    }

    /// Whether a client would still be accepted. The files may have been loaded again since, or one
    /// of its certificates may have expired.
    ///
    /// # Errors
    ///
    /// The reason why the client would be refused.
    pub(crate) fn judge(&self, client: &VerifiedClient) -> Result<(), rustls::Error> {
        self.judge_at(client, UnixTime::now())
    }

    fn judge_at(&self, client: &VerifiedClient, now: UnixTime) -> Result<(), rustls::Error> {
        let CurrentConfig { config, admission, .. } = lock(&self.current).clone();
        let mut judged_by = lock(&client.judged_by);
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if judged_by.as_ptr() == Arc::as_ptr(&config) && seconds <= client.expires.load(Relaxed) {
            return Ok(());
        }
        if let (Some(admission), [end_entity, intermediates @ ..]) =
            (admission, &*client.certificates)
        {
            admission.judge(end_entity, intermediates, now)?;
        }
        client.expires.store(client.first_expiry(seconds), Relaxed);
        *judged_by = Arc::downgrade(&config);
        Ok(())
    }

    /// Reads the files again. On an error the old configuration stays. Blocks on the disk.
    pub fn reload(&self) -> Result<ServerIdentity, Error> {
        // The fingerprint is taken before the files are read, so that a change in between is
        // noticed the next time. It is kept even if they have a fault: they are tried again only
        // after another change.
        let fingerprint = self.files.fingerprint();
        let loaded = self.files.load();
        if !matches!(loaded, Err(Error::Failed(_))) {
            *lock(&self.fingerprint) = fingerprint;
        }
        let loaded = loaded?.ok_or_else(|| {
            Error::Configuration(format!("{}.cert_path is not set", self.files.prefix))
        })?;
        *lock(&self.current) = CurrentConfig::of(&loaded);
        Ok(loaded)
    }

    /// Whether any of the files has changed since they were last read, successfully or not.
    ///
    /// Looks at sizes and times only. Blocks on the disk.
    pub fn changed(&self) -> bool {
        *lock(&self.fingerprint) != self.files.fingerprint()
    }
}

impl VerifiedClient {
    /// The client's own certificate.
    pub(crate) fn certificate(&self) -> &[u8] {
        self.certificates.first().map_or(&[], |certificate| certificate)
    }
}

impl CurrentConfig {
    fn of(loaded: &ServerIdentity) -> Self {
        Self {
            config: Arc::clone(&loaded.config),
            admission: loaded.admission.clone(),
            names: Arc::clone(&loaded.names),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, HandshakeKind};

    use super::*;
    use crate::testing::{Dir, EC_KEY, client, files, shake};
    use crate::tls::explain;

    /// A server with mutual TLS and perhaps a list, and a client that it accepts.
    fn server_and_child(list: &str) -> (Dir, ReloadingServer, Arc<rustls::ClientConfig>) {
        let dir = Dir::new();
        dir.ca("ca");
        for name in ["server", "child"] {
            dir.issue("ca", name, EC_KEY, "100");
        }
        dir.revoke("ca", &[], "");
        let named = files(&dir, ["server.crt", "server.key", "ca.crt", list]);
        let server = ReloadingServer::new(named.clone(), &named.load().unwrap().unwrap());
        let child = Arc::new(client(&dir, Some("child")));
        (dir, server, child)
    }

    #[test]
    fn a_reload_ends_the_sessions_of_the_revoked() {
        let (dir, server, child) = server_and_child("ca.crl");
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
    fn an_open_connection_is_judged_by_the_list_of_today() {
        let (dir, server, child) = server_and_child("ca.crl");
        let (connection, _) = shake(&server.current(), &child).unwrap();
        let old = server.current();
        let accepted = server.client(&connection, &old).unwrap();
        let kept = Arc::downgrade(&old);
        drop(old);
        server.reload().unwrap();
        assert!(kept.upgrade().is_none(), "what was loaded before is still in memory");
        assert_eq!(server.judge(&accepted), Ok(()));
        dir.revoke("ca", &["child"], "");
        assert_eq!(server.judge(&accepted), Ok(()), "the new list is not read yet");
        server.reload().unwrap();
        assert_eq!(server.judge(&accepted), Err(CertificateError::Revoked.into()));
    }

    #[test]
    fn an_open_connection_is_judged_by_the_clock_of_today() {
        let (_dir, server, child) = server_and_child("");
        let (connection, _) = shake(&server.current(), &child).unwrap();
        let accepted = server.client(&connection, &server.current()).unwrap();
        let after = |days: u64| {
            let later = UnixTime::now().as_secs() + days * 24 * 3600;
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(later))
        };
        assert_eq!(server.judge_at(&accepted, after(99)), Ok(()));
        let refused = server.judge_at(&accepted, after(101)).unwrap_err();
        assert!(explain(&refused).starts_with("its certificate has expired"), "{refused}");
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
