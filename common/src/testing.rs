//! For tests: certificates that the openssl command makes in a separate directory, and handshakes
//! in memory.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rustls::client::WantsClientCert;
use rustls::{AlertDescription, ClientConfig, ClientConnection, ConfigBuilder, RootCertStore};
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::tls::{ClientFiles, ServerFiles};

/// A directory that is removed at the end of the test.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tls-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        #[allow(clippy::disallowed_methods)]
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        read(&self.path(name))
    }

    /// Runs `openssl` with these words in the directory.
    pub(crate) fn openssl(&self, words: &str) -> String {
        self.run("openssl", &words.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program).args(arguments).current_dir(&self.0).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `NAME.crt` and `NAME.key`: a CA as the documentation makes it, but for the kind of key.
    pub(crate) fn ca(&self, name: &str) {
        self.openssl(&format!(
            "req -new -x509 -days 100 -extensions v3_ca -nodes {P256} \
             -subj /O=thin-edge/OU=device/CN={name} -keyout {name}.key -out {name}.crt"
        ));
    }

    /// `NAME.crt` and `NAME.key` with the documentation's extensions, signed by `ca`.
    pub(crate) fn issue(&self, ca: &str, name: &str, key: &str, days: &str) {
        self.request(name, key);
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {ca}.crt -CAkey {ca}.key -extfile v3.ext \
             -CAcreateserial -out {name}.crt -days {days}"
        ));
    }

    /// The same, but valid in January 2020 only.
    pub(crate) fn issue_expired(&self, ca: &str, name: &str) {
        self.request(name, EC_KEY);
        self.write("index.txt", "");
        self.write("ca.cnf", CA_CONFIGURATION);
        self.write("serial", "1000\n");
        self.openssl(&format!(
            "ca -batch -config ca.cnf -cert {ca}.crt -keyfile {ca}.key -md sha256 \
             -startdate 20200101000000Z -enddate 20200201000000Z -notext -extfile v3.ext \
             -in {name}.csr -out {name}.crt -outdir . -policy any"
        ));
    }

    fn request(&self, name: &str, key: &str) {
        let (command, options) = key.split_once(' ').unwrap();
        self.openssl(&format!("{command} -out {name}.key {options}"));
        self.openssl(&format!(
            "req -new -out {name}.csr -key {name}.key \
             -subj /O=thin-edge/OU=device/SN={name}/CN=localhost"
        ));
        self.write("v3.ext", EXTENSIONS);
    }

    /// `CA.crl`, on which these certificates are.
    pub(crate) fn revoke(&self, ca: &str, names: &[&str], options: &str) -> PathBuf {
        self.write("index.txt", "");
        self.write("crlnumber", "01\n");
        self.write("ca.cnf", CA_CONFIGURATION);
        let with = format!("ca -config ca.cnf -cert {ca}.crt -keyfile {ca}.key -md sha256");
        for name in names {
            self.openssl(&format!("{with} -revoke {name}.crt"));
        }
        self.openssl(&format!("{with} -gencrl {options} -out {ca}.crl"));
        self.path(&format!("{ca}.crl"))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) const P256: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";

/// How openssl makes a key, where `-out` is still to be put in.
pub(crate) const EC_KEY: &str = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256";

const EXTENSIONS: &str = "authorityKeyIdentifier=keyid
basicConstraints=CA:FALSE
keyUsage = digitalSignature, keyAgreement
extendedKeyUsage = serverAuth, clientAuth
subjectAltName=DNS:gateway,DNS:localhost,IP:192.168.1.6,IP:::1
";

const CA_CONFIGURATION: &str = "[ca]
default_ca = here
[here]
database = index.txt
crlnumber = crlnumber
serial = serial
default_crl_days = 30
[any]
commonName = supplied
";

#[allow(clippy::disallowed_methods)]
pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// Files of the directory as settings name them; an empty name is an unset one.
pub(crate) fn files(dir: &Dir, [cert, key, ca, crl]: [&str; 4]) -> ServerFiles {
    let path = |name: &str| (!name.is_empty()).then(|| dir.path(name));
    ServerFiles {
        prefix: "http",
        cert_path: path(cert),
        key_path: path(key),
        ca_path: path(ca),
        crl_path: path(crl),
    }
}

/// The files of a client that trusts these roots, and has no certificate.
pub(crate) fn client_files(dir: &Dir, roots: &str) -> ClientFiles {
    ClientFiles {
        roots: dir.path(roots),
        roots_key: "c8y.root_cert_path",
        cert_file: None,
        key_file: None,
        auth_prefix: "http.client.auth",
        protocol: Some("http/1.1"),
    }
}

/// A client that trusts `ca.crt`.
pub(crate) fn client_of(
    dir: &Dir,
    version: &'static SupportedProtocolVersion,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&dir.read("ca.crt")).unwrap()).unwrap();
    ClientConfig::builder_with_provider(crate::crypto::provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
}

/// The same, which shows `NAME.crt`.
pub(crate) fn client(dir: &Dir, name: Option<&str>) -> ClientConfig {
    show(client_of(dir, &version::TLS13), dir, name)
}

/// A client that shows `NAME.crt`, or none.
pub(crate) fn show(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    dir: &Dir,
    name: Option<&str>,
) -> ClientConfig {
    match name {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = CertificateDer::pem_slice_iter(&dir.read(&format!("{name}.crt")))
                .collect::<Result<_, _>>()
                .unwrap();
            let key = PrivateKeyDer::from_pem_slice(&dir.read(&format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

/// Both ends after a handshake in memory, or why it came to none.
pub(crate) fn shake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> Result<(ServerConnection, ClientConnection), rustls::Error> {
    let (mut server, mut client) = connect(server, client);
    exchange(&mut server, &mut client)?;
    Ok((server, client))
}

/// What the client hears of its refusal.
pub(crate) fn alert(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> Option<AlertDescription> {
    let (mut server, mut client) = connect(server, client);
    exchange(&mut server, &mut client).unwrap_err();
    let mut bytes = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut bytes).unwrap();
    }
    client.read_tls(&mut Cursor::new(bytes)).unwrap();
    match client.process_new_packets() {
        Err(rustls::Error::AlertReceived(alert)) => Some(alert),
        _ => None,
    }
}

fn connect(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> (ServerConnection, ClientConnection) {
    let server = ServerConnection::new(Arc::clone(server)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    (server, ClientConnection::new(Arc::clone(client), name).unwrap())
}

fn exchange(
    server: &mut ServerConnection,
    client: &mut ClientConnection,
) -> Result<(), rustls::Error> {
    for _ in 0..5 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut sent = Cursor::new(bytes);
        while server.read_tls(&mut sent).unwrap() > 0 {
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut sent = Cursor::new(bytes);
        while client.read_tls(&mut sent).unwrap() > 0 {
            client.process_new_packets()?;
        }
    }
    Ok(())
}
