//! Certificates, keys and revocation lists, made by `openssl` with the commands of thin-edge.io's
//! page on HTTPS; the page's RSA key is one kind among others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kind of a key, and the format of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// RSA 2048 in PKCS#8, as `openssl genrsa` writes it today.
    Rsa,
    /// RSA 2048 in PKCS#1, as it wrote it before OpenSSL 3.
    RsaPkcs1,
    /// P-256 in PKCS#8.
    P256,
    /// P-256 in SEC1, as `openssl ecparam -genkey` writes it.
    P256Sec1,
    /// P-384 in PKCS#8.
    P384,
    /// Ed25519 in PKCS#8.
    Ed25519,
}

impl Key {
    fn generate(self, file: &Path) {
        let file = text(file);
        match self {
            Self::Rsa => openssl(&["genrsa", "-out", file, "2048"]),
            Self::RsaPkcs1 => openssl(&["genrsa", "-traditional", "-out", file, "2048"]),
            Self::P256 => Self::generate_on("P-256", file),
            Self::P256Sec1 => {
                openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", file]);
            }
            Self::P384 => Self::generate_on("P-384", file),
            Self::Ed25519 => openssl(&["genpkey", "-algorithm", "ED25519", "-out", file]),
        }
    }

    fn generate_on(curve: &str, file: &str) {
        let curve = format!("ec_paramgen_curve:{curve}");
        openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", &curve, "-out", file]);
    }
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// A signing certificate, and the directory where it keeps all that it signs.
pub(crate) struct Authority {
    directory: PathBuf,
    /// `tedge-local-ca.crt` of the page.
    pub(crate) cert: PathBuf,
    key: PathBuf,
}

/// A server's certificate that signs itself, as `openssl req -x509` makes it: that of a CA.
pub(crate) fn self_signed(directory: &Path, name: &str, names: &str) -> Pair {
    let file = |ending: &str| directory.join(format!("{name}.{ending}"));
    let pair = Pair { cert: file("crt"), key: file("key") };
    Key::P256.generate(&pair.key);
    let (subject, names) = (format!("/CN={name}"), format!("subjectAltName={names}"));
    let made = ["req", "-x509", "-days", "100", "-subj", &subject, "-addext", &names];
    openssl(&[&made[..], &["-key", text(&pair.key), "-out", text(&pair.cert)]].concat());
    pair
}

/// How long a certificate or list is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    /// The page's hundred days.
    Page,
    /// So many days from now.
    Days(u32),
    /// It expired years ago.
    Expired,
}

impl Authority {
    /// A new one with a P-256 key; `name` is its file name and its common name.
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        Self::with_key(directory, name, Key::P256)
    }

    /// A new one with a key of this kind.
    pub(crate) fn with_key(directory: &Path, name: &str, kind: Key) -> Self {
        let directory = directory.join(format!("{name}.d"));
        fs::create_dir_all(&directory).unwrap();
        let cert = directory.join(format!("{name}.crt"));
        let key = directory.join(format!("{name}.key"));
        kind.generate(&key);
        let subject = format!("/O=thin-edge/OU=device/CN={name}");
        openssl(&[
            "req",
            "-new",
            "-x509",
            "-days",
            "100",
            "-extensions",
            "v3_ca",
            "-nodes",
            "-subj",
            &subject,
            "-key",
            text(&key),
            "-out",
            text(&cert),
        ]);
        fs::write(directory.join("index.txt"), "").unwrap();
        fs::write(directory.join("crlnumber"), "01\n").unwrap();
        let configuration = format!(
            "[ca]\ndefault_ca = ca\n[ca]\ndatabase = {0}/index.txt\nnew_certs_dir = {0}\n\
             rand_serial = yes\ncrlnumber = {0}/crlnumber\ndefault_md = default\npolicy = any\n\
             unique_subject = no\ncrl_extensions = crl\n\
             [any]\nO = optional\nOU = optional\nSN = optional\nCN = supplied\n\
             [crl]\nauthorityKeyIdentifier = keyid\n",
            text(&directory)
        );
        fs::write(directory.join("ca.conf"), configuration).unwrap();
        Self { directory, cert, key }
    }

    /// A server's certificate for `localhost` and the loopback addresses.
    pub(crate) fn server(&self, name: &str, kind: Key) -> Pair {
        self.issue(name, kind, SERVER, Validity::Page)
    }

    /// A server's certificate for these names: `DNS:one.example,IP:192.0.2.1`.
    pub(crate) fn server_for(&self, name: &str, names: &str) -> Pair {
        let extensions = format!("basicConstraints=CA:FALSE\nsubjectAltName={names}\n");
        self.issue(name, Key::P256, &extensions, Validity::Page)
    }

    /// A server's certificate for these names that expired years ago.
    pub(crate) fn expired_server_for(&self, name: &str, names: &str) -> Pair {
        let extensions = format!("basicConstraints=CA:FALSE\nsubjectAltName={names}\n");
        self.issue(name, Key::P256, &extensions, Validity::Expired)
    }

    /// A server's certificate that is valid for so long.
    pub(crate) fn server_until(&self, name: &str, validity: Validity) -> Pair {
        self.issue(name, Key::P256, SERVER, validity)
    }

    /// A child device's certificate.
    pub(crate) fn client(&self, name: &str, kind: Key) -> Pair {
        self.issue(name, kind, CLIENT, Validity::Page)
    }

    /// A child device's certificate that is valid for so long.
    pub(crate) fn client_until(&self, name: &str, validity: Validity) -> Pair {
        self.issue(name, Key::P256, CLIENT, validity)
    }

    /// A client's certificate with this subject, as `openssl req -subj` takes it, and these
    /// alternative names, as `subjectAltName=` takes them, if any.
    pub(crate) fn client_named(&self, file: &str, subject: &str, alternative: &str) -> Pair {
        let names = if alternative.is_empty() { "" } else { "subjectAltName=" };
        let extensions = format!("{CLIENT}{names}{alternative}\n");
        self.issue_to(file, subject, Key::P256, &extensions, Validity::Page)
    }

    /// An authority below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let lower = Self::new(&self.directory, name);
        let request = lower.directory.join("request.csr");
        let subject = format!("/O=thin-edge/OU=device/CN={name}");
        openssl(&[
            "req",
            "-new",
            "-key",
            text(&lower.key),
            "-subj",
            &subject,
            "-out",
            text(&request),
        ]);
        self.sign(&request, AUTHORITY, Validity::Page, &lower.cert);
        lower
    }

    /// Its own certificate of the past, before it was renewed with the same key.
    pub(crate) fn expired_self(&self) -> PathBuf {
        let [request, cert] = ["old.csr", "old.crt"].map(|name| self.directory.join(name));
        let subject = ["x509", "-x509toreq", "-in", text(&self.cert), "-signkey", text(&self.key)];
        openssl(&[&subject[..], &["-out", text(&request)]].concat());
        self.sign(&request, AUTHORITY, Validity::Expired, &cert);
        cert
    }

    fn issue(&self, name: &str, kind: Key, extensions: &str, validity: Validity) -> Pair {
        let subject = format!("/O=thin-edge/OU=device/SN={name}/CN={name}");
        self.issue_to(name, &subject, kind, extensions, validity)
    }

    fn issue_to(
        &self,
        name: &str,
        subject: &str,
        kind: Key,
        extensions: &str,
        validity: Validity,
    ) -> Pair {
        let file = |ending: &str| self.directory.join(format!("{name}.{ending}"));
        let pair = Pair { cert: file("crt"), key: file("key") };
        kind.generate(&pair.key);
        let request = file("csr");
        openssl(&[
            "req",
            "-out",
            text(&request),
            "-key",
            text(&pair.key),
            "-utf8",
            "-subj",
            subject,
            "-new",
        ]);
        self.sign(&request, extensions, validity, &pair.cert);
        pair
    }

    fn sign(&self, request: &Path, extensions: &str, validity: Validity, cert: &Path) {
        let ext = request.with_extension("ext");
        fs::write(&ext, extensions).unwrap();
        let days = match validity {
            Validity::Page => 100,
            Validity::Days(days) => days,
            Validity::Expired => {
                // `openssl x509` cannot look back; `openssl ca` can.
                return openssl(&[
                    "ca",
                    "-batch",
                    "-notext",
                    "-config",
                    text(&self.directory.join("ca.conf")),
                    "-cert",
                    text(&self.cert),
                    "-keyfile",
                    text(&self.key),
                    "-in",
                    text(request),
                    "-extfile",
                    text(&ext),
                    "-startdate",
                    "20200101000000Z",
                    "-enddate",
                    "20200201000000Z",
                    "-out",
                    text(cert),
                ]);
            }
        };
        openssl(&[
            "x509",
            "-req",
            "-in",
            text(request),
            "-CA",
            text(&self.cert),
            "-CAkey",
            text(&self.key),
            "-extfile",
            text(&ext),
            "-CAcreateserial",
            "-out",
            text(cert),
            "-days",
            &days.to_string(),
        ]);
    }

    /// A list of these certificates as revoked, in a file of that name.
    pub(crate) fn revocation_list(
        &self,
        name: &str,
        revoked: &[&Pair],
        validity: Validity,
    ) -> PathBuf {
        let configuration = self.directory.join("ca.conf");
        let common = |command: &[&str]| {
            let mut arguments = vec!["ca", "-batch", "-config", text(&configuration)];
            arguments.extend(["-cert", text(&self.cert), "-keyfile", text(&self.key)]);
            arguments.extend(command);
            openssl(&arguments);
        };
        fs::write(self.directory.join("index.txt"), "").unwrap();
        for pair in revoked {
            common(&["-revoke", text(&pair.cert)]);
        }
        let list = self.directory.join(name);
        match validity {
            Validity::Page => common(&["-gencrl", "-crldays", "100", "-out", text(&list)]),
            Validity::Days(days) => {
                common(&["-gencrl", "-crldays", &days.to_string(), "-out", text(&list)]);
            }
            Validity::Expired => common(&[
                "-gencrl",
                "-crl_lastupdate",
                "20200101000000Z",
                "-crl_nextupdate",
                "20200201000000Z",
                "-out",
                text(&list),
            ]),
        }
        list
    }
}

impl Pair {
    /// The same certificate in a file that holds those of `above` too.
    pub(crate) fn with_chain(&self, above: &[&Path]) -> Self {
        let mut chain = fs::read_to_string(&self.cert).unwrap();
        for path in above {
            chain.push_str(&fs::read_to_string(path).unwrap());
        }
        let cert = self.cert.with_extension("chain.crt");
        fs::write(&cert, chain).unwrap();
        Self { cert, key: self.key.clone() }
    }
}

const SERVER: &str = "authorityKeyIdentifier=keyid\nbasicConstraints=CA:FALSE\n\
    keyUsage = digitalSignature, keyAgreement\nextendedKeyUsage = serverAuth, clientAuth\n\
    subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n";
const CLIENT: &str = "basicConstraints=CA:FALSE\nextendedKeyUsage = clientAuth\n";
const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage = keyCertSign, cRLSign\n\
    subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {errors}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn openssl_makes_what_the_tests_ask_for() {
    let directory = super::directory::Directory::new();
    let authority = Authority::new(directory.path(), "ca");
    let client = authority.client("child", Key::Rsa);
    let expired = authority.client_until("late", Validity::Expired);
    let list = authority.revocation_list("list.pem", &[&client], Validity::Page);
    let verify = |pair: &Pair, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["verify", "-CAfile", text(&authority.cert)]).args(more);
        let output = command.arg(&pair.cert).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(verify(&client, &[]), "");
    assert!(verify(&expired, &[]).contains("certificate has expired"));
    let revoked = verify(&client, &["-crl_check", "-CRLfile", text(&list)]);
    assert!(revoked.contains("certificate revoked"), "{revoked}");
    let lower = authority.intermediate("lower").server("deep", Key::P384);
    assert!(verify(&lower, &[]).contains("unable to get local issuer"));
}
