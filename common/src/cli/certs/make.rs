//! Makes keys, certificates and requests. The local CA that signs them is a key and a certificate
//! in the directory, made here or with the openssl commands of thin-edge.io's documentation.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::files::{CA, Store, bytes, invalid, section};
use crate::cli::command_line::{CommandLine, Exit};
use crate::cli::print::{print, report};
use crate::error::Error;
use crate::net::Host;
use crate::settings::{self, Values};
use crate::x509::certificate::Certificate;
use crate::x509::issue::{self, Draft, Issuer, SubjectAttribute, Use};
use crate::x509::key::{PrivateKey, Unable};
use crate::x509::pem::{self, SectionKind};
use crate::x509::{CertificateRequest, Name, PublicKey, Time};

const DAYS: i64 = 100;
/// The seconds by which the clock of a child device may be slow.
const SLACK: i64 = 3600;
/// A clock before 2024-01-01 was never set.
const EARLIEST: Time = Time::from_unix(1_704_067_200);

/// Makes keys, certificates and requests.
pub(super) struct Maker {
    store: Store,
    device: String,
    name: String,
    hosts: Vec<Host>,
    csr: Option<PathBuf>,
    days: i64,
    now: Time,
}

impl Maker {
    /// Checks the arguments and the clock.
    pub(super) fn new(line: &CommandLine) -> Result<Self, Error> {
        let now = Time::now();
        if now < EARLIEST {
            return Err(Error::Failed(format!(
                "the clock of this device says {now}: set it first, or the certificate is not valid"
            )));
        }
        let config_dir = line.config_dir();
        let name =
            line.arguments.first().map_or_else(|| Ok(CA.to_owned()), |name| file_name(name))?;
        let dir = line.value("--dir").map(PathBuf::from);
        Ok(Self {
            store: Store::new(dir, &config_dir, line.value("--force").is_some()),
            device: device(&config_dir)?,
            name,
            hosts: line.values("--host").map(host).collect::<Result<_, _>>()?,
            csr: line.value("--csr").map(PathBuf::from),
            days: line.value("--days").map_or(Ok(DAYS), days)?,
            now,
        })
    }

    pub(super) fn ca(&self) -> Result<(), Exit> {
        let subject = self.subject(&[SubjectAttribute::CommonName("tedge-ca")]);
        let (key, secret) = PrivateKey::generate().map_err(unable)?;
        let public = key.public().map_err(unable)?;
        let draft = self.draft(&subject, PublicKey::new(&public), Use::Authority, None);
        let id = issue::key_id(draft.key);
        let issuer = Issuer { name: Name::new(&subject), key: &key, key_id: Some(&id) };
        self.write(&[("key", secret), ("crt", draft.sign(issuer).map_err(unable)?)])?;
        report(&format!(
            "Keep {CA}.key secret. Let clients trust {CA}.crt: copy it to \
             /usr/local/share/ca-certificates on each device and run update-ca-certificates."
        ));
        Ok(())
    }

    pub(super) fn server(&self) -> Result<(), Exit> {
        let ca = Authority::load(&self.store)?.ok_or_else(|| {
            let dir = self.store.dir.display();
            Error::Failed(format!("there is no {CA}.key in {dir}: make one with `tedge certs ca`"))
        })?;
        let host_name = host_name().to_ascii_lowercase();
        let mut hosts = Vec::new();
        let own =
            [&*host_name, "localhost", "127.0.0.1", "::1"].into_iter().filter_map(Host::parse);
        for host in own.chain(self.hosts.iter().cloned()) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        let subject = self.subject(&[
            SubjectAttribute::Surname(&self.name),
            SubjectAttribute::CommonName("localhost"),
        ]);
        self.write_signed(&ca, &subject, Use::Server(&hosts))
    }

    pub(super) fn client(&self) -> Result<(), Exit> {
        let ca = Authority::load(&self.store)?;
        if let Some(csr) = &self.csr {
            let ca = ca.ok_or_else(|| {
                let (dir, csr) = (self.store.dir.display(), csr.display());
                Error::Failed(format!("there is no {CA}.key in {dir}: sign {csr} where the CA is"))
            })?;
            return self.write_requested(&ca, csr);
        }
        let subject = self.subject(&[
            SubjectAttribute::Surname("child"),
            SubjectAttribute::CommonName(&self.name),
        ]);
        if let Some(ca) = ca {
            return self.write_signed(&ca, &subject, Use::Client);
        }
        let (key, secret) = PrivateKey::generate().map_err(unable)?;
        let request = issue::request(&subject, &key).map_err(unable)?;
        self.write(&[("key", secret), ("csr", request)])?;
        report(&format!(
            "There is no CA in this directory. Copy the request to the device with the CA, and sign \
             it there: tedge certs client {name} --csr {name}.csr",
            name = self.name
        ));
        Ok(())
    }

    /// Writes a new key and its certificate.
    fn write_signed(&self, ca: &Authority, subject: &[u8], purpose: Use<'_>) -> Result<(), Exit> {
        let (key, secret) = PrivateKey::generate().map_err(unable)?;
        let public = key.public().map_err(unable)?;
        let draft = self.draft(subject, PublicKey::new(&public), purpose, Some(ca));
        self.write(&[("key", secret), ("crt", ca.sign(&draft)?)])
    }

    /// Writes the certificate that a request asks for.
    fn write_requested(&self, ca: &Authority, csr: &Path) -> Result<(), Exit> {
        let request =
            section(csr, &bytes(csr)?, SectionKind::Request, "certificate signing request")?;
        let request = CertificateRequest::parse(&request)
            .map_err(|error| invalid(csr, format_args!("is {error}")))?;
        let algorithms = crate::crypto::provider().signature_verification_algorithms;
        if let Some(algorithm) = request.unknown_algorithm(algorithms) {
            let what = format!(
                "has a key ({}) or a signature ({algorithm}) of a kind that is not supported. \
                 Supported: RSA of 2048 bits or more with SHA-256, SHA-384 or SHA-512; P-256 and \
                 P-384 with SHA-256 or SHA-384; Ed25519",
                request.key
            );
            return Err(invalid(csr, what).into());
        }
        if !request.is_signed_by_its_key(algorithms) {
            let what = "has a wrong signature: it was not signed with its own key";
            return Err(invalid(csr, what).into());
        }
        // The access rules use the common name: the signer must choose it, not the requester.
        let name = request.subject.common_name();
        if name.as_deref() != Some(&self.name) {
            let what = format!(
                "has the subject \"{}\": its common name has to be {}",
                request.subject, self.name
            );
            return Err(invalid(csr, what).into());
        }
        let draft = self.draft(request.subject.content(), request.key, Use::Client, Some(ca));
        self.write(&[("crt", ca.sign(&draft)?)])
    }

    fn subject(&self, last: &[SubjectAttribute<'_>]) -> Vec<u8> {
        let first =
            [SubjectAttribute::Organization("thin-edge"), SubjectAttribute::Unit(&self.device)];
        issue::subject(&[&first, last].concat())
    }

    /// A certificate that expires no later than its CA.
    fn draft<'a>(
        &self,
        subject: &'a [u8],
        key: PublicKey<'a>,
        purpose: Use<'a>,
        ca: Option<&Authority>,
    ) -> Draft<'a> {
        let wanted = self.now.plus_days(self.days);
        let not_after = ca.map_or(wanted, |ca| ca.not_after.min(wanted));
        if not_after.plus_days(1) < wanted {
            report(&format!(
                "The certificate expires with its CA, on {not_after}. To renew the CA: `tedge certs \
                 ca --force`; then create the certificates that it signs again."
            ));
        }
        let not_before = Time::from_unix(self.now.unix() - SLACK);
        Draft { subject, key, not_before, not_after, purpose }
    }

    /// Writes the files and prints their names.
    fn write(&self, files: &[(&str, Vec<u8>)]) -> Result<(), Exit> {
        let files = files.iter().map(|(kind, der)| {
            let (label, mode) = match *kind {
                "key" => ("PRIVATE KEY", 0o600),
                "csr" => ("CERTIFICATE REQUEST", 0o644),
                _ => ("CERTIFICATE", 0o644),
            };
            (format!("{}.{kind}", self.name), pem::encode(label, der), mode)
        });
        for path in self.store.write(&files.collect::<Vec<_>>())? {
            print(&format!("{}\n", path.display()))?;
        }
        Ok(())
    }
}

/// The device's id, else its host name.
fn device(config_dir: &Path) -> Result<String, Error> {
    let values = Values::read(config_dir, std::env::vars_os().collect(), &[])?;
    let id = settings::find("device.id").and_then(|setting| values.found(setting));
    Ok(match id {
        Some(found) => found.text.clone(),
        None => host_name(),
    })
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The local CA.
struct Authority {
    key: PrivateKey,
    certificate: Vec<u8>,
    not_after: Time,
}

impl Authority {
    /// The CA of a directory, `None` if its key does not exist.
    fn load(store: &Store) -> Result<Option<Self>, Error> {
        let names = [format!("{CA}.key"), format!("{CA}.crt")];
        let [key_path, certificate_path] = names.each_ref().map(|name| store.dir.join(name));
        let Some(key) = store.read(&names[0])? else { return Ok(None) };
        let Some(certificate) = store.read(&names[1])? else {
            return Err(invalid(&certificate_path, "does not exist"));
        };
        let kind = SectionKind::PrivateKey;
        let secret = section(&key_path, &key, kind, "private key without a passphrase")?;
        let certificate =
            section(&certificate_path, &certificate, SectionKind::Certificate, "certificate")?;
        let described = Certificate::parse(&certificate)
            .map_err(|error| invalid(&certificate_path, format_args!("is {error}")))?;
        let key =
            PrivateKey::of(described.key, &secret).map_err(|what| invalid(&key_path, what))?;
        if key.public().map_err(unable)? != described.key.content() {
            return Err(invalid(
                &key_path,
                format_args!(
                    "is not the key of {CA}.crt beside it: if `tedge certs ca --force` was \
                     interrupted, type it again"
                ),
            ));
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

    fn sign(&self, draft: &Draft<'_>) -> Result<Vec<u8>, Error> {
        let described = Certificate::parse(&self.certificate)
            .map_err(|error| Error::Failed(format!("{CA}.crt is {error}")))?;
        let issuer =
            Issuer { name: described.subject, key: &self.key, key_id: described.extensions.key_id };
        draft.sign(issuer).map_err(unable)
    }
}

/// The failure of a command that cannot sign.
fn unable(Unable: Unable) -> Error {
    Error::Failed(
        "cannot make a key or a signature: the system provides no random numbers".to_owned(),
    )
}

/// Parses an argument, which is called `name` in the error.
fn argument<T>(
    name: &str,
    value: &OsStr,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Error> {
    value.to_str().and_then(parse).ok_or_else(|| {
        let value = value.to_string_lossy();
        Error::Usage(format!("{name} is '{value}': expected {expected}"))
    })
}

fn days(value: &OsStr) -> Result<i64, Error> {
    argument("--days", value, "1 to 36500", |text| {
        text.parse().ok().filter(|days| (1..=36_500).contains(days))
    })
}

fn host(value: &OsStr) -> Result<Host, Error> {
    argument("--host", value, "a host name or an IP address", |text| {
        Host::parse_pattern(&text.to_ascii_lowercase())
    })
}

fn file_name(value: &OsStr) -> Result<String, Error> {
    let expected = "a name for the files, of letters, digits, '-', '_' and '.', at most 64, and not \
                    tedge-local-ca";
    argument("NAME", value, expected, |name| {
        let is_valid = (1..=64).contains(&name.len())
            && !name.starts_with(['.', '-'])
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b))
            && name != CA;
        is_valid.then(|| name.to_owned())
    })
}
