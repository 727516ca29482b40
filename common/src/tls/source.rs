//! PEM files, and what is wrong with one in words that name the setting and the file.
//!
//! It knows which settings exist only as far as it is told their names.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use rustls_pki_types::pem;
pub use rustls_pki_types::pem::SectionKind;

use crate::error::Error;
use crate::staging;

/// Files larger than this hold no certificates, whatever else they are.
const MAX_SIZE: u64 = 32 * 1024 * 1024;

/// Reads the sections of a PEM text, or says what is wrong with it.
pub fn sections(mut text: impl BufRead) -> Result<Vec<(SectionKind, Vec<u8>)>, String> {
    let mut sections = Vec::new();
    while let Some(section) = pem::from_buf(&mut text).map_err(|error| damage(&error))? {
        sections.push(section);
    }
    Ok(sections)
}

/// Opens a regular file that may hold PEM, or the copy that root has made of it, or says why not.
pub fn open(path: &Path) -> Result<BufReader<File>, String> {
    open_itself(path).or_else(|what| match staging::copy(path) {
        Some(copy) => open_itself(&copy),
        None => Err(what),
    })
}

fn open_itself(path: &Path) -> Result<BufReader<File>, String> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if metadata.is_dir() {
        return Err("is a directory, not a file".to_owned());
    }
    // To open a named pipe would wait for somebody to write into it.
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if metadata.len() > MAX_SIZE {
        return Err("is too large to hold certificates".to_owned());
    }
    let mut reader = File::open(path).map(BufReader::new).map_err(|error| unreadable(&error))?;
    // Some editors put a mark of UTF-8 in front.
    if reader.fill_buf().map_err(|error| unreadable(&error))?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    Ok(reader)
}

/// A setting that names a file, and the file.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) key: String,
    pub(super) path: PathBuf,
}

impl Source {
    pub(super) fn new(key: String, path: &Path) -> Self {
        Self { key, path: path.to_owned() }
    }

    /// What is wrong with it, for whoever edits the configuration.
    pub(super) fn error(&self, what: impl fmt::Display) -> Error {
        Error::Configuration(self.say(what))
    }

    /// The same as a warning.
    pub(super) fn say(&self, what: impl fmt::Display) -> String {
        format!("{}: {} {what}", self.key, self.path.display())
    }

    /// The same setting, for one file of the directory that it names.
    pub(super) fn within(&self, path: PathBuf) -> Self {
        Self { key: self.key.clone(), path }
    }

    /// The files of a directory, sorted by name, each once however many links lead there; the
    /// file itself where it is none.
    pub(super) fn files(&self) -> Result<Files, Error> {
        let unreadable = |error| self.error(unreadable(&error));
        if fs::read_dir(&self.path).is_err() && staging::copy(&self.path).is_some() {
            // Root has put all of a closed directory into one file, or it is none.
            return Ok(Files { is_directory: !self.path.is_file(), sources: vec![self.clone()] });
        }
        if !fs::metadata(&self.path).map_err(unreadable)?.is_dir() {
            return Ok(Files { is_directory: false, sources: vec![self.clone()] });
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            // A subdirectory, as /etc/ssl/certs/java is one, is not looked into.
            if !path.is_dir() {
                // Put where it belongs: a sort costs 8 KB of program.
                let place = paths.partition_point(|other| *other < path);
                paths.insert(place, path);
            }
        }
        let sources = paths.into_iter().map(|path| self.within(path)).collect();
        Ok(Files { is_directory: true, sources })
    }

    /// Reads the file section by section, or says what is wrong with it.
    pub(super) fn each_section(
        &self,
        mut take: impl FnMut(SectionKind, Vec<u8>),
    ) -> Result<(), String> {
        let mut reader = open(&self.path)?;
        while let Some((kind, der)) = pem::from_buf(&mut reader).map_err(|error| damage(&error))? {
            take(kind, der);
        }
        Ok(())
    }

    /// Whether this text stands anywhere in the file.
    pub(super) fn mentions(&self, text: &str) -> bool {
        let Ok(reader) = open(&self.path) else { return false };
        reader
            .split(b'\n')
            .map_while(Result::ok)
            .any(|line| line.windows(text.len()).any(|window| window == text.as_bytes()))
    }

    /// What the file seems to hold in place of the PEM section that was looked for.
    pub(super) fn guess(&self) -> &'static str {
        if self.mentions("ENCRYPTED") {
            "; it holds a key under a passphrase, which no service can type: take it off with \
             `openssl pkey -in FILE -out NEW`"
        } else if self.mentions("PRIVATE KEY-----") {
            "; it holds a private key"
        } else if self.mentions("TRUSTED CERTIFICATE-----") {
            "; it holds one in a format of OpenSSL's own: rewrite it with \
             `openssl x509 -in FILE -out NEW`"
        } else if self.mentions("CERTIFICATE REQUEST-----") {
            "; it holds a certificate signing request, which has to be signed first"
        } else if self.mentions("CERTIFICATE-----") {
            "; it holds a certificate"
        } else if self.mentions("-----BEGIN ") {
            ""
        } else {
            "; PEM is expected, text with BEGIN and END lines"
        }
    }
}

/// What a setting that takes a file or a directory leads to.
pub(super) struct Files {
    pub(super) is_directory: bool,
    pub(super) sources: Vec<Source>,
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "does not exist".to_owned(),
        ErrorKind::PermissionDenied => {
            format!("cannot be read: it has to be readable for {}", reader())
        }
        _ => format!("cannot be read: {error}"),
    }
}

/// Who would have to be let in, with the way that packages have.
fn reader() -> String {
    let id = rustix::process::geteuid().as_raw();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    });
    let user = name.map_or_else(|| format!("user {id}"), |name| format!("user {name}"));
    match staging::runtime_directory() {
        None => user,
        Some(_) => format!("{user}, or for root, who hands it over when the unit is restarted"),
    }
}

fn damage(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("is cut off: no line END {}", String::from_utf8_lossy(end_marker))
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("has a damaged BEGIN line: {:?}", String::from_utf8_lossy(line))
        }
        pem::Error::Base64Decode(_) => "is damaged: not base64 between BEGIN and END".to_owned(),
        pem::Error::Io(error) => unreadable(error),
        other => format!("cannot be used: {other}"),
    }
}
