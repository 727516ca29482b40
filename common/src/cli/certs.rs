//! `tedge certs`: makes the certificates that local HTTPS needs, in place of the openssl commands
//! of the documentation, under the same names of files and subjects. How a certificate is made is
//! known to [`tls`](crate::tls) alone.

mod authority;
mod show;
mod store;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use self::authority::Authority;
use self::store::Store;
use super::{Command, Line, Stop, Token, Word, print, report};
use crate::error::Error;
use crate::net::Host;
use crate::settings;
use crate::settings::load::Values;
use crate::tls::source::{self, SectionKind};
use crate::x509::certificate::PublicKey;
use crate::x509::issue::{self, Draft, Issuer, Key, Part, Unable, Use};
use crate::x509::{Name, Request, Time};

/// The subcommand.
pub const COMMAND: Command = Command {
    name: "certs",
    summary: "make certificates for HTTPS between this device and its children",
    verbs: &[
        Word::new("ca", "make the key and certificate that sign the others"),
        Word::new("server NAME", "make a service's"),
        Word::new("client NAME", "make a client's; where no CA is, a request for one"),
        Word::new("show FILE…", "print what is in a file; - is standard input"),
    ],
    options: &[
        Word::with(
            &["server"],
            "--host HOST",
            "one more name or IP address of it; may be repeated",
        ),
        Word::with(&["client"], "--csr FILE", "sign the request that was made elsewhere"),
        Word::with(MAKING, "--days N", "how long it is valid, else 100"),
        Word::with(MAKING, "--dir DIR", "where to, else device-local-certs beside tedge.toml"),
        Word::with(MAKING, "--force", "replace what is there"),
    ],
    notes: "Files: NAME.crt and NAME.key, the CA's tedge-local-ca.crt and .key, for the\n\
            settings http.cert_path, http.key_path, http.ca_path, the same of c8y.proxy,\n\
            and http.client.auth.cert_file and key_file.\n\n\
            Example: tedge certs ca && tedge certs server main-agent --host 192.168.1.6\n",
    run,
};

const MAKING: &[&str] = &["ca", "server", "client"];
/// The CA's files are called this, its common name `tedge-ca`, as in the documentation.
const CA: &str = "tedge-local-ca";
const DAYS: i64 = 100;
/// A child's clock may be slow by this much.
const SLACK: i64 = 3600;
/// A clock before this was never set. 2024-01-01.
const EARLIEST: Time = Time::from_unix(1_704_067_200);

/// What stands on the command line after the verb.
#[derive(Default)]
struct Arguments {
    words: Vec<OsString>,
    hosts: Vec<Host>,
    csr: Option<PathBuf>,
    dir: Option<PathBuf>,
    days: Option<i64>,
    force: bool,
}

fn run(line: &mut Line) -> Result<(), Stop> {
    let verb = line.verb()?;
    let arguments = Arguments::read(line, verb)?;
    if verb == "show" {
        return show::show(&arguments.words);
    }
    let job = Job::new(line, arguments)?;
    match verb {
        "ca" => job.ca(),
        "server" => job.server(),
        _ => job.client(),
    }
}

impl Arguments {
    fn read(line: &mut Line, verb: &str) -> Result<Self, Stop> {
        let words = match verb {
            "ca" => 0..=0,
            "show" => 1..=usize::MAX,
            _ => 1..=1,
        };
        let mut read = Self::default();
        while let Some(token) = line.token()? {
            match token {
                Token::Word(word) if read.words.len() < *words.end() => read.words.push(word),
                Token::Option("--dir") => read.dir = Some(line.value()?.into()),
                Token::Option("--force") => read.force = true,
                Token::Option("--days") => read.days = Some(days(&line.value()?)?),
                Token::Option("--host") => read.hosts.push(host(&line.value()?)?),
                Token::Option("--csr") => read.csr = Some(line.value()?.into()),
                other => return Err(other.unexpected()),
            }
        }
        if read.words.len() < *words.start() {
            let missing = if verb == "show" { "FILE" } else { "NAME" };
            return Err(Error::Usage(format!("{missing} is missing")).into());
        }
        Ok(read)
    }
}

fn days(value: &OsString) -> Result<i64, Error> {
    value
        .to_str()
        .and_then(|text| text.parse().ok())
        .filter(|days| (1..=36_500).contains(days))
        .ok_or_else(|| {
            Error::Usage(format!("--days is '{}': expected 1 to 36500", value.to_string_lossy()))
        })
}

fn host(value: &OsString) -> Result<Host, Error> {
    let pattern = value.to_str().map(str::to_ascii_lowercase);
    pattern.and_then(|pattern| Host::parse_pattern(&pattern)).ok_or_else(|| {
        let value = value.to_string_lossy();
        Error::Usage(format!("--host is '{value}': expected a host name or an IP address"))
    })
}

/// One thing to make.
struct Job {
    store: Store,
    device: String,
    name: String,
    arguments: Arguments,
    now: Time,
}

impl Job {
    fn new(line: &Line, arguments: Arguments) -> Result<Self, Error> {
        let now = Time::now();
        if now < EARLIEST {
            return Err(Error::Failed(format!(
                "this device's clock says {now}: set it first, or nobody will believe the \
                 certificate"
            )));
        }
        let config_dir = line.config_dir();
        let name = arguments.words.first().map_or_else(|| Ok(CA.to_owned()), file_name)?;
        let dir = arguments.dir.clone().unwrap_or_else(|| config_dir.join("device-local-certs"));
        let store = Store { dir, force: arguments.force };
        Ok(Self { store, device: device(&config_dir)?, name, arguments, now })
    }

    fn ca(&self) -> Result<(), Stop> {
        let subject = self.subject(&[Part::CommonName("tedge-ca")]);
        let (key, secret) = Key::generate().map_err(unable)?;
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

    fn server(&self) -> Result<(), Stop> {
        let ca = Authority::load(&self.store)?.ok_or_else(|| {
            let dir = self.store.dir.display();
            Error::Failed(format!("there is no {CA}.key in {dir}: make one with `tedge certs ca`"))
        })?;
        let host_name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
        let mut hosts = Vec::new();
        let own =
            [&*host_name, "localhost", "127.0.0.1", "::1"].into_iter().filter_map(Host::parse);
        for host in own.chain(self.arguments.hosts.iter().cloned()) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        let subject = self.subject(&[Part::Surname(&self.name), Part::CommonName("localhost")]);
        let (key, secret) = Key::generate().map_err(unable)?;
        let public = key.public().map_err(unable)?;
        let draft = self.draft(&subject, PublicKey::new(&public), Use::Server(&hosts), Some(&ca));
        let certificate = ca.sign(&draft)?;
        self.write(&[("key", secret), ("crt", certificate)])
    }

    fn client(&self) -> Result<(), Stop> {
        let ca = Authority::load(&self.store)?;
        let Some(csr) = &self.arguments.csr else {
            let subject = self.subject(&[Part::Surname("child"), Part::CommonName(&self.name)]);
            let (key, secret) = Key::generate().map_err(unable)?;
            let Some(ca) = ca else {
                let request = issue::request(&subject, &key).map_err(unable)?;
                self.write(&[("key", secret), ("csr", request)])?;
                report(&format!(
                    "There is no {CA}.key here. Where it is, sign the request: tedge certs client \
                     {name} --csr {name}.csr",
                    name = self.name
                ));
                return Ok(());
            };
            let public = key.public().map_err(unable)?;
            let draft = self.draft(&subject, PublicKey::new(&public), Use::Client, Some(&ca));
            let certificate = ca.sign(&draft)?;
            return self.write(&[("key", secret), ("crt", certificate)]);
        };
        let ca = ca.ok_or_else(|| {
            let dir = self.store.dir.display();
            Error::Failed(format!("there is no {CA}.key in {dir} to sign {} with", csr.display()))
        })?;
        let request = section(csr, SectionKind::Csr)?
            .ok_or_else(|| say(csr, "holds no certificate signing request in PEM"))?;
        let request =
            Request::parse(&request).map_err(|error| say(csr, format_args!("is {error}")))?;
        if !request
            .is_signed_by_its_key(crate::crypto::provider().signature_verification_algorithms)
        {
            return Err(say(
                csr,
                "has a wrong signature, or a key of a kind that cannot be used (RSA of 2048 bits \
                 or more, P-256, P-384 and Ed25519 can)",
            )
            .into());
        }
        let draft = self.draft(request.subject.content(), request.key, Use::Client, Some(&ca));
        let certificate = ca.sign(&draft)?;
        self.write(&[("crt", certificate)])
    }

    fn subject(&self, last: &[Part<'_>]) -> Vec<u8> {
        let first = [Part::Organization("thin-edge"), Part::Unit(&self.device)];
        issue::subject(&[&first, last].concat())
    }

    /// A certificate that ends no later than the one that signs it.
    fn draft<'a>(
        &self,
        subject: &'a [u8],
        key: PublicKey<'a>,
        purpose: Use<'a>,
        ca: Option<&Authority>,
    ) -> Draft<'a> {
        let wanted = self.now.plus_days(self.arguments.days.unwrap_or(DAYS));
        let not_after = ca.map_or(wanted, |ca| ca.not_after.min(wanted));
        if not_after.plus_days(1) < wanted {
            report(&format!(
                "It ends with its CA, on {not_after}: renew that with --force, or \
                             after it everything it signed."
            ));
        }
        let not_before = Time::from_unix(self.now.unix() - SLACK);
        Draft { subject, key, not_before, not_after, purpose }
    }

    /// Writes all of the files, or none where one is there already, and prints their names.
    fn write(&self, files: &[(&str, Vec<u8>)]) -> Result<(), Stop> {
        let files = files.iter().map(|(kind, der)| {
            let (label, mode) = match *kind {
                "key" => ("PRIVATE KEY", 0o600),
                "csr" => ("CERTIFICATE REQUEST", 0o644),
                _ => ("CERTIFICATE", 0o644),
            };
            (format!("{}.{kind}", self.name), issue::pem(label, der), mode)
        });
        for path in self.store.write(&files.collect::<Vec<_>>())? {
            print(&format!("{}\n", path.display()))?;
        }
        Ok(())
    }
}

/// The PEM sections of a file, or of standard input where it is called `-`.
fn sections(path: &Path) -> Result<Vec<(SectionKind, Vec<u8>)>, Error> {
    let read = if path == Path::new("-") {
        source::sections(BufReader::new(io::stdin().lock()))
    } else {
        source::open(path).and_then(source::sections)
    };
    read.map_err(|what| say(path, what))
}

/// The first section of this kind in a file.
fn section(path: &Path, wanted: SectionKind) -> Result<Option<Vec<u8>>, Error> {
    let found = sections(path)?.into_iter().find(|(kind, _)| *kind == wanted);
    Ok(found.map(|(_, der)| der))
}

fn say(path: &Path, what: impl fmt::Display) -> Error {
    Error::Failed(format!("{} {what}", path.display()))
}

/// The device's id, or its host name where it has none yet.
fn device(config_dir: &Path) -> Result<String, Error> {
    let values = Values::read(config_dir, std::env::vars_os().collect(), &[])?;
    let id = settings::find("device.id").and_then(|(index, _)| values.found(index));
    Ok(match id {
        Some(found) => found.text.clone(),
        None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
    })
}

fn file_name(word: &OsString) -> Result<String, Error> {
    word.to_str()
        .filter(|name| (1..=64).contains(&name.len()) && !name.starts_with(['.', '-']))
        .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b)))
        .filter(|name| *name != CA)
        .map(str::to_owned)
        .ok_or_else(|| {
            let word = word.to_string_lossy();
            Error::Usage(format!(
                "NAME is '{word}': expected a name for the files, of letters, digits, '-', '_' \
                 and '.', at most 64, and not {CA}"
            ))
        })
}

fn unable(Unable: Unable) -> Error {
    Error::Failed("cannot make a key or a signature: the system gives no randomness".to_owned())
}
