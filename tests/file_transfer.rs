//! Process tests of the File Transfer Service: the real program and real clients, one file per
//! promise of its contract.
#![allow(dead_code, reason = "what the tests stand on is shared by several test programs")]
#![allow(clippy::unwrap_used, reason = "this is all test code")]
#![allow(clippy::disallowed_methods, reason = "tests have no executor to stall")]

#[path = "support"]
mod support {
    pub(crate) mod agent;
    pub(crate) mod answer;
    pub(crate) mod browser;
    pub(crate) mod certificates;
    pub(crate) mod client;
    pub(crate) mod curl;
    pub(crate) mod directory;
    pub(crate) mod memory;
    pub(crate) mod release;
    pub(crate) mod scene;
    pub(crate) mod service;
    pub(crate) mod wait;
}

#[path = "file_transfer"]
mod promises {
    pub(crate) mod access;
    mod browsers;
    mod budgets;
    mod chromium;
    mod conditions;
    mod configuration;
    mod connections;
    mod crowds;
    mod delete;
    mod digests;
    mod directories;
    mod entities;
    mod entities_silent;
    mod expectations;
    mod expiry;
    mod file_systems;
    mod first_bytes;
    mod framing;
    mod freshness;
    mod get;
    mod handed_over;
    mod interruptions;
    mod large_bodies;
    mod life;
    mod links;
    mod long_limits;
    mod making_room;
    mod multipart;
    mod mutual_tls;
    mod paths;
    mod put;
    mod quota;
    mod quota_links;
    mod quota_slow_disk;
    mod reload;
    mod routes;
    mod space;
    mod stalled_disk;
    mod stored_file;
    mod thin_edge;
    mod tls;
    mod turns;
}

#[path = "faults"]
mod faults {
    mod access;
    mod bytes;
    mod crash;
    mod memory;
    mod peers;
    mod places;
    mod storage;
}

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use support::certificates::{Authority, Key};
use support::client::{self, Client};
use support::curl::Curl;
use support::directory::Directory;
use support::service::{Ended, Service, Setup};
use support::wait::eventually;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tedge-file-transfer");

/// The route of thin-edge.io's documentation.
const FILES: &str = "/tedge/file-transfer";

/// Starts the service on a port of its own, with its files below its own directory.
fn start(configure: impl FnOnce(&mut Setup)) -> Service {
    Service::start(PROGRAM, |setup| {
        prepare(setup);
        configure(setup);
    })
}

/// Starts the service where another one has kept its files.
fn start_again(directory: &Arc<Directory>) -> Service {
    Service::start_in(directory, PROGRAM, prepare)
}

/// Runs the service to its end, for a start that has to fail.
fn run(configure: impl FnOnce(&mut Setup)) -> Ended {
    Service::run(PROGRAM, |setup| {
        prepare_start(setup);
        configure(setup);
    })
}

fn prepare(setup: &mut Setup) {
    prepare_start(setup);
    // By default uploads are refused while less than 5 % of the disk is free, also of this one.
    setup.set_own("http.upload.min_free", 0);
}

/// Enough for a service that never gets a file.
fn prepare_start(setup: &mut Setup) {
    let data = setup.directory().join("data");
    fs::create_dir_all(&data).unwrap();
    setup.set("data.path", data);
    setup.set_raw("http.bind.port", 0);
}

/// A service with TLS, and what its clients need.
struct Secured {
    service: Service,
    authority: Authority,
}

impl Secured {
    fn start(configure: impl FnOnce(&mut Setup, &Authority)) -> Self {
        Self::start_with(Key::P256, configure)
    }

    fn start_with(key: Key, configure: impl FnOnce(&mut Setup, &Authority)) -> Self {
        let mut authority = None;
        let service = start(|setup| {
            let signer = authority.insert(Authority::new(setup.directory(), "tedge-local-ca"));
            let pair = signer.server("main-agent", key);
            setup.set("http.cert_path", pair.cert);
            setup.set("http.key_path", pair.key);
            configure(setup, signer);
        });
        Self { service, authority: authority.unwrap() }
    }

    /// How clients without a certificate of their own speak to it.
    fn tls(&self) -> Arc<ClientConfig> {
        client::tls(&self.authority.cert, None)
    }

    fn client(&self) -> Client {
        Client::connect_tls(self.service.address, &self.tls()).unwrap()
    }

    fn curl(&self, path: &str) -> Curl {
        Curl::new(&self.service.url(path)).tls(&self.authority.cert, None)
    }
}

/// curl on a file of the service.
fn curl(service: &Service, file: &str) -> Curl {
    Curl::new(&service.url(&format!("{FILES}/{file}")))
}

/// A request without content, over a connection that stays open.
fn request(method: &str, file: &str) -> String {
    format!("{method} {FILES}/{file} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// The head of an upload of so many bytes; `more` is header lines, each with its CRLF.
fn put_head(file: &str, length: u64, more: &str) -> String {
    format!(
        "PUT {FILES}/{file} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n"
    )
}

/// A whole upload.
fn put(file: &str, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [put_head(file, content.len() as u64, "").as_bytes(), content].concat()
}

/// All regular files below the service's data directory, wherever it keeps them, by their paths
/// in there.
fn stored(service: &Service) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    collect(&service.path("data"), "", &mut files);
    files
}

fn collect(directory: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        // What was there a moment ago may be gone now: a temporary file.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else if kind.is_file() {
            if let Ok(content) = fs::read(entry.path()) {
                files.insert(name, content);
            }
        }
    }
}

/// Asserts that these are all the files that the service keeps. They have to be there now; a
/// temporary one may take a moment to go.
#[track_caller]
fn assert_stored(service: &Service, expected: &[(&str, &[u8])]) {
    let now = stored(service);
    let names: Vec<String> =
        expected.iter().map(|(name, _)| format!("file-transfer/{name}")).collect();
    for (name, (_, content)) in names.iter().zip(expected) {
        let found = now.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", now.keys()));
        assert!(found == content, "{name} has other content");
    }
    let mut left = now;
    eventually(&format!("nothing but {names:?} is stored"), Duration::from_secs(5), || {
        left = stored(service);
        left.keys().eq(&names)
    });
}

/// Bytes that repeat nowhere near, the same ones for the same seed.
fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}
