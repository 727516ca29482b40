//! TLS on the client: which servers it trusts, and the certificate it presents on request.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::authorities::{Accept, Authorities};
use super::identity::Identity;
use super::pinned::Verifier;
use super::source::Source;
use crate::error::Error;

/// Sessions kept for resumption: 8 tickets of each of 4 servers.
const SESSIONS: usize = 32;
/// The directory in which update-ca-certificates(8) stores the CAs that the system trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs";

/// The files of a client's configuration, and the settings that name them.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// A file or a directory with the CAs that sign servers. A server's own certificate is accepted
    /// too.
    pub roots: PathBuf,
    /// The setting that names it, `c8y.root_cert_path`.
    pub roots_key: &'static str,
    /// The certificate to show, and its chain after it.
    pub cert_file: Option<PathBuf>,
    /// The private key of the certificate.
    pub key_file: Option<PathBuf>,
    /// The prefix of the keys `cert_file` and `key_file`: `http.client.auth`.
    pub auth_prefix: &'static str,
    /// The application protocol to agree on (ALPN), `http/1.1`; `None` for MQTT, which has none.
    pub protocol: Option<&'static str>,
}

/// A client's configuration, and its warnings.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// The configuration for connections. Sessions are resumed as long as it is kept.
    pub config: Arc<ClientConfig>,
    /// The verifier of servers.
    pub verifier: Arc<dyn ServerCertVerifier>,
    /// The number of CAs that sign servers.
    pub authorities: usize,
    /// Warnings, one sentence each.
    pub warnings: Vec<String>,
}

impl ClientFiles {
    /// Reads all files. The error names the key, the file and the fault. Blocks on the disk.
    pub fn load(&self) -> Result<ClientIdentity, Error> {
        self.load_with(None)
    }

    /// The same, and also trusts the CAs that the system trusts.
    pub fn load_with_system(&self) -> Result<ClientIdentity, Error> {
        self.load_with(Some(Path::new(SYSTEM_ROOTS)))
    }

    fn load_with(&self, more: Option<&Path>) -> Result<ClientIdentity, Error> {
        let roots = Source::new(self.roots_key.to_owned(), &self.roots);
        let identity = self.identity()?;
        let identity = match &identity {
            Some([certificate, key]) => Some(Identity::load(certificate, key)?),
            None => None,
        };
        let Authorities { mut store, pins, mut warnings, .. } =
            Authorities::load(&roots, Accept::Anybody)?;
        // Faults of the system's CAs are not reported.
        let more = more.filter(|more| *more != self.roots);
        let more = more.map(|more| Source::new("the CAs of the system".to_owned(), more));
        if let Some(Ok(more)) = more.map(|more| Authorities::load(&more, Accept::Authorities)) {
            store.roots.extend(more.store.roots);
        }
        let authorities = store.len();
        let unfit = |error: &dyn Display| roots.error(format_args!("cannot be used: {error}"));
        let provider = crate::crypto::provider();
        let usual =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
                .build()
                .map_err(|error| unfit(&error))?;
        let verifier: Arc<dyn ServerCertVerifier> = Arc::new(Verifier { usual, pins });
        let key = identity.map(|identity| {
            warnings.extend(identity.warnings);
            identity.key
        });
        let config = configure(provider, Arc::clone(&verifier), key, self.protocol);
        let mut config = config.map_err(|error| unfit(&error))?;
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(ClientIdentity { config: Arc::new(config), verifier, authorities, warnings })
    }

    fn identity(&self) -> Result<Option<[Source; 2]>, Error> {
        let key = |name: &str| format!("{}.{name}", self.auth_prefix);
        let (is_set, is_not) = match (&self.cert_file, &self.key_file) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(private_key)) => {
                return Ok(Some([
                    Source::new(key("cert_file"), certificate),
                    Source::new(key("key_file"), private_key),
                ]));
            }
            (Some(_), None) => ("cert_file", "key_file"),
            (None, Some(_)) => ("key_file", "cert_file"),
        };
        Err(Error::Configuration(format!("{} is set, but {} is not", key(is_set), key(is_not))))
    }
}

/// A configuration for the servers that `verifier` accepts, which shows the certificate of `key`.
pub(super) fn configure(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    key: Option<CertifiedKey>,
    protocol: Option<&str>,
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match key {
        None => builder.with_no_client_auth(),
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
    };
    config.alpn_protocols = protocol.map(|name| name.into()).into_iter().collect();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use rustls::{HandshakeKind, ProtocolVersion};

    use super::*;
    use crate::testing::{Dir, EC_KEY, client_files, files, shake};
    use crate::tls::explain;

    fn client(dir: &Dir, roots: &str, name: &str) -> ClientFiles {
        let file = |end: &str| Some(dir.path(&format!("{name}.{end}")));
        ClientFiles { cert_file: file("crt"), key_file: file("key"), ..client_files(dir, roots) }
    }

    #[test]
    fn shows_its_certificate_and_resumes_the_session() {
        let dir = Dir::new();
        dir.ca("ca");
        for name in ["server", "child"] {
            dir.issue("ca", name, EC_KEY, "100");
        }
        let server = files(&dir, ["server.crt", "server.key", "ca.crt", ""]);
        let server = server.load().unwrap().unwrap().config;
        let config = client(&dir, "ca.crt", "child").load().unwrap().config;

        let (first, _) = shake(&server, &config).unwrap();
        assert_eq!(first.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(first.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
        let (second, _) = shake(&server, &config).unwrap();
        assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
    }

    #[test]
    fn trusts_only_servers_that_its_roots_vouch_for() {
        let dir = Dir::new();
        for ca in ["ca", "stranger"] {
            dir.ca(ca);
        }
        dir.issue("ca", "server", EC_KEY, "100");
        let server = files(&dir, ["server.crt", "server.key", "", ""]);
        let server = server.load().unwrap().unwrap().config;
        let config = client_files(&dir, "stranger.crt").load().unwrap().config;
        let refused = shake(&server, &config).unwrap_err();
        assert_eq!(explain(&refused), "its certificate is signed by an unknown authority");
    }

    #[test]
    fn says_what_is_wrong_with_its_files() {
        let dir = Dir::new();
        dir.ca("ca");
        let message = |files: ClientFiles| files.load().unwrap_err().to_string();
        let nowhere = message(client_files(&dir, "nowhere"));
        assert!(nowhere.starts_with("c8y.root_cert_path: "), "{nowhere}");
        assert!(nowhere.ends_with("/nowhere does not exist"), "{nowhere}");
        let missing = message(client(&dir, "ca.crt", "nobody"));
        assert!(missing.starts_with("http.client.auth.cert_file: "), "{missing}");
        let mut half = client(&dir, "ca.crt", "ca");
        half.key_file = None;
        let half = message(half);
        assert_eq!(half, "http.client.auth.cert_file is set, but http.client.auth.key_file is not");
    }
}
