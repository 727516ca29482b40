//! `tedge certs`: makes the certificates that local HTTPS needs, instead of the openssl commands of
//! thin-edge.io's documentation, with the same file names and subjects.

mod files;
mod make;
mod show;

use std::ffi::OsString;
use std::path::PathBuf;

use self::files::CA;
use self::make::Maker;
use super::command_line::{Argument, Command, CommandLine, Exit, Word, usage};
use crate::error::Error;
use crate::net::Host;

/// The subcommand.
pub const COMMAND: Command = Command {
    name: "certs",
    summary: "create and show certificates for local HTTPS",
    verbs: &[
        Word::new("ca", "create the local CA, which signs the certificates"),
        Word::new("server NAME", "create the certificate of a service"),
        Word::new("client NAME", "create a client certificate; without a CA, a request"),
        Word::new("show FILE…", "describe the contents of FILE; - is standard input"),
    ],
    options: &[
        Word::with(&["server"], "--host HOST", "add a host name or IP address (may be repeated)"),
        Word::with(&["client"], "--csr FILE", "sign this certificate request"),
        Word::with(MAKING, "--days N", "validity in days (default: 100)"),
        Word::with(MAKING, "--dir DIR", "directory of the files (default: device-local-certs)"),
        Word::with(MAKING, "--force", "replace existing files"),
    ],
    notes: "Files: NAME.crt and NAME.key; for the CA, tedge-local-ca.crt and .key.\n\
            Set http.cert_path, http.key_path, http.ca_path (or those of c8y.proxy),\n\
            http.client.auth.cert_file and http.client.auth.key_file to them.\n\n\
            Example: tedge certs ca && tedge certs server main-agent --host 192.168.1.6\n",
    run,
};

const MAKING: &[&str] = &["ca", "server", "client"];

fn run(line: &mut CommandLine) -> Result<(), Exit> {
    let verb = line.verb()?;
    let arguments = Arguments::read(line, verb)?;
    if verb == "show" {
        return show::show(&arguments.words);
    }
    let maker = Maker::new(&line.config_dir(), arguments)?;
    match verb {
        "ca" => maker.ca(),
        "server" => maker.server(),
        _ => maker.client(),
    }
}

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

impl Arguments {
    fn read(line: &mut CommandLine, verb: &str) -> Result<Self, Exit> {
        let words = match verb {
            "ca" => 0..=0,
            "show" => 1..=usize::MAX,
            _ => 1..=1,
        };
        let mut read = Self::default();
        while let Some(argument) = line.argument()? {
            match argument {
                Argument::Word(word) if read.words.len() < *words.end() => read.words.push(word),
                Argument::Option("--dir") => read.dir = Some(line.value()?.into()),
                Argument::Option("--force") => read.force = true,
                Argument::Option("--days") => read.days = Some(days(&line.value()?)?),
                Argument::Option("--host") => read.hosts.push(host(&line.value()?)?),
                Argument::Option("--csr") => read.csr = Some(line.value()?.into()),
                other => return Err(other.unexpected()),
            }
        }
        if read.words.len() < *words.start() {
            let missing = if verb == "show" { "FILE" } else { "NAME" };
            return Err(usage(format!("missing {missing}")));
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
