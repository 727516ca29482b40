//! A correct client, rustls. A test can change its records before they are sent.
//!
//! The test can cut, join, damage, repeat, drop and insert records. With the secrets of the
//! session, it can also encrypt messages that rustls would never send.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, Error, KeyLog,
    SignatureScheme,
};

use super::hello::ALERT;
use super::seal::Seal;
use super::verdict::{Verdict, connect, split};
use crate::support::certificates::Pair;

/// Which version of TLS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tls12,
    Tls13,
}

/// Who the client says that it is.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    None,
    Given(Arc<CertifiedKey>),
}

impl Identity {
    pub(crate) fn of(pair: &Pair) -> Self {
        Self::with_chain(chain(pair), pair)
    }

    /// Any chain in front of this key, fitting or not.
    pub(crate) fn with_chain(chain: Vec<CertificateDer<'static>>, pair: &Pair) -> Self {
        let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
        let key = ring::sign::any_supported_type(&key).unwrap();
        Self::Given(Arc::new(CertifiedKey::new(chain, key)))
    }

    /// The key that goes with the chain.
    pub(crate) fn key(&self) -> Arc<dyn SigningKey> {
        match self {
            Self::None => panic!("there is none"),
            Self::Given(certified) => Arc::clone(&certified.key),
        }
    }
}

/// The certificates in a file.
pub(crate) fn chain(pair: &Pair) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(&pair.cert).unwrap().collect::<Result<_, _>>().unwrap()
}

/// One connection.
pub(crate) struct Session {
    client: ClientConnection,
    socket: TcpStream,
    secrets: Arc<Secrets>,
    /// All that the server has sent, as it came.
    heard: Vec<u8>,
    /// What of it was for the application.
    plain: Vec<u8>,
    /// How many answers the test knows of.
    seen: usize,
    kind: Kind,
}

impl Session {
    /// Connects, and says nothing yet.
    pub(crate) fn new(address: SocketAddr, kind: Kind, identity: Identity) -> Self {
        Self::wishing(address, kind, identity, |_| {})
    }

    /// The same with a configuration of the test's own.
    pub(crate) fn wishing(
        address: SocketAddr,
        kind: Kind,
        identity: Identity,
        change: impl FnOnce(&mut ClientConfig),
    ) -> Self {
        let secrets = Arc::new(Secrets::default());
        let mut config = config(kind, identity, &secrets);
        change(&mut config);
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = connect(address);
        Self { client, socket, secrets, heard: Vec::new(), plain: Vec::new(), seen: 0, kind }
    }

    /// The records that the client would send now.
    pub(crate) fn flight(&mut self) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        // rustls says 3.1 in the first record, for the sake of old servers.
        if bytes.get(2) == Some(&1) {
            bytes[2] = 3;
        }
        split(&bytes).into_iter().map(<[u8]>::to_vec).collect()
    }

    /// Sends bytes; a server that does not want them any more is no failure.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.socket.write_all(bytes.as_ref());
    }

    /// The same, in a packet for each byte.
    pub(crate) fn send_in_drops(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
    }

    /// Listens until the client has something to say again, or is through with the handshake.
    /// A verdict where it ends before that.
    pub(crate) fn listen(&mut self) -> Option<Verdict> {
        loop {
            if let Some(verdict) = self.hear() {
                return Some(verdict);
            }
            if self.client.wants_write() || !self.client.is_handshaking() {
                return None;
            }
        }
    }

    /// The whole handshake.
    pub(crate) fn shake(&mut self) {
        while self.client.is_handshaking() || self.client.wants_write() {
            let flight = self.flight().concat();
            self.send(flight);
            if self.client.is_handshaking() {
                assert_eq!(self.listen(), None, "the handshake has to go on");
            }
        }
    }

    /// The handshake up to the client's second flight, which is returned unsent.
    pub(crate) fn second_flight(&mut self) -> Vec<Vec<u8>> {
        let hello = self.flight().concat();
        self.send(hello);
        assert_eq!(self.listen(), None, "the handshake has to go on");
        self.flight()
    }

    /// Sends a request.
    pub(crate) fn request(&mut self) {
        let records = self.request_records().concat();
        self.send(records);
    }

    /// The records of a request.
    pub(crate) fn request_records(&mut self) -> Vec<Vec<u8>> {
        self.client.writer().write_all(REQUEST).unwrap();
        self.flight()
    }

    /// Listens for the next answer, or for the end in place of it.
    pub(crate) fn status(&mut self) -> Verdict {
        while self.answers() == self.seen {
            if let Some(verdict) = self.hear() {
                return verdict;
            }
            // An update of the keys, say, is answered.
            let flight = self.flight().concat();
            self.send(flight);
        }
        self.seen += 1;
        Verdict::Served
    }

    /// Says no more, and listens to the end.
    pub(crate) fn verdict(&mut self) -> Verdict {
        let _ = self.socket.shutdown(Shutdown::Write);
        loop {
            match self.hear() {
                Some(Verdict::Closed) if self.answers() > self.seen => return Verdict::Served,
                Some(verdict) => return verdict,
                None => {}
            }
        }
    }

    /// How many answers there have been up to now.
    pub(crate) fn answers(&self) -> usize {
        self.plain.windows(9).filter(|bytes| bytes == b"HTTP/1.1 ").count()
    }

    /// How many alerts have come that TLS 1.2 does not hide from those who look on.
    pub(crate) fn alerts(&self) -> usize {
        split(&self.heard).into_iter().filter(|record| record[0] == ALERT).count()
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        let at_once = Some(std::time::Duration::ZERO);
        let _ = rustix::net::sockopt::set_socket_linger(&self.socket, at_once);
    }

    /// Takes what has come; a verdict where nothing comes any more.
    fn hear(&mut self) -> Option<Verdict> {
        let mut buffer = [0; 16 * 1024];
        let count = match self.socket.read(&mut buffer) {
            Ok(0) => return Some(Verdict::Closed),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return Some(Verdict::Closed);
            }
            Err(error) => panic!("neither answered nor closed: {error}"),
        };
        self.heard.extend(&buffer[..count]);
        let mut left = &buffer[..count];
        while !left.is_empty() {
            self.client.read_tls(&mut left).unwrap();
            match self.client.process_new_packets() {
                Ok(state) => {
                    let at = self.plain.len();
                    self.plain.resize(at + state.plaintext_bytes_to_read(), 0);
                    self.client.reader().read_exact(&mut self.plain[at..]).unwrap();
                    if state.peer_has_closed() {
                        return Some(Verdict::Closed);
                    }
                }
                Err(Error::AlertReceived(alert)) => return Some(Verdict::Alert(alert.into())),
                Err(error) => panic!("the server broke the protocol: {error}"),
            }
        }
        None
    }

    /// Seals what the client sends in its second flight: of TLS 1.3 all of it, of TLS 1.2 what
    /// comes after its ChangeCipherSpec. Nothing of it is counted as sent yet.
    pub(crate) fn handshake_seal(&self) -> Seal {
        self.seal("CLIENT_HANDSHAKE_TRAFFIC_SECRET", 0)
    }

    /// Seals what the client sends once the handshake is done.
    pub(crate) fn data_seal(&self) -> Seal {
        // Finished was the first under these keys in TLS 1.2.
        self.seal("CLIENT_TRAFFIC_SECRET_0", 1)
    }

    fn seal(&self, label: &str, sequence: u64) -> Seal {
        let secrets = self.secrets.0.lock().unwrap();
        let of = |label| secrets.iter().find(|(name, ..)| name == label).unwrap();
        match self.kind {
            Kind::Tls13 => Seal::tls13(&of(label).2),
            Kind::Tls12 => {
                let (_, client_random, master) = of("CLIENT_RANDOM");
                // Behind the record's head, the message's, and the version.
                Seal::tls12(master, client_random, &self.heard[11..43], sequence)
            }
        }
    }
}

/// A request that both services answer.
pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn config(kind: Kind, identity: Identity, secrets: &Arc<Secrets>) -> ClientConfig {
    let mut provider = ring::default_provider();
    // The ones that a test can seal with itself.
    provider.cipher_suites.retain(|suite| {
        matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        )
    });
    let version = match kind {
        Kind::Tls12 => &rustls::version::TLS12,
        Kind::Tls13 => &rustls::version::TLS13,
    };
    let builder = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(
            SignatureScheme::ECDSA_NISTP256_SHA256,
        )));
    let mut config = match identity {
        Identity::None => builder.with_no_client_auth(),
        Identity::Given(key) => builder.with_client_cert_resolver(Arc::new(Always(key))),
    };
    config.key_log = Arc::<Secrets>::clone(secrets);
    config.resumption = rustls::client::Resumption::disabled();
    config
}

/// The secrets of a session: label, the client's random bytes, secret.
#[derive(Default)]
struct Secrets(Mutex<Vec<Secret>>);

type Secret = (String, Vec<u8>, Vec<u8>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl KeyLog for Secrets {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let entry = (label.to_owned(), client_random.to_vec(), secret.to_vec());
        self.0.lock().unwrap().push(entry);
    }
}

/// A certificate that is sent whatever the server asks for.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Accepts any server; only the scheme by which it signs matters here.
#[derive(Debug)]
pub(crate) struct Anybody(pub(crate) SignatureScheme);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![self.0]
    }
}
