//! How a server reacts to what was sent, and whether that is what the RFC demands.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::hello::{ALERT, CHANGE_CIPHER_SPEC, DATA, HANDSHAKE};

/// How long a server may keep a client waiting before a test fails.
const PATIENCE: Duration = Duration::from_secs(15);

/// Alerts by their numbers, RFC 8446, 6.
pub(crate) const UNEXPECTED_MESSAGE: Verdict = Verdict::Alert(10);
pub(crate) const BAD_RECORD_MAC: Verdict = Verdict::Alert(20);
pub(crate) const RECORD_OVERFLOW: Verdict = Verdict::Alert(22);
pub(crate) const HANDSHAKE_FAILURE: Verdict = Verdict::Alert(40);
pub(crate) const BAD_CERTIFICATE: Verdict = Verdict::Alert(42);
pub(crate) const ILLEGAL_PARAMETER: Verdict = Verdict::Alert(47);
pub(crate) const UNKNOWN_CA: Verdict = Verdict::Alert(48);
pub(crate) const DECODE_ERROR: Verdict = Verdict::Alert(50);
pub(crate) const DECRYPT_ERROR: Verdict = Verdict::Alert(51);
pub(crate) const PROTOCOL_VERSION: Verdict = Verdict::Alert(70);
pub(crate) const MISSING_EXTENSION: Verdict = Verdict::Alert(109);
pub(crate) const CERTIFICATE_REQUIRED: Verdict = Verdict::Alert(116);
pub(crate) const NO_APPLICATION_PROTOCOL: Verdict = Verdict::Alert(120);

/// How a server reacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// With a ServerHello.
    Hello,
    /// With a HelloRetryRequest.
    Retry,
    /// With an alert, and then its end.
    Alert(u8),
    /// With its end, without an alert or with the one that says so.
    Closed,
    /// With an answer to a request.
    Served,
}

/// What to send, and the reactions that are right.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expected: Expected,
}

/// What the RFC wants, and what rustls does in place of it where it does not.
#[derive(Clone, Copy)]
pub(crate) struct Expected {
    wanted: &'static [Verdict],
    instead: Option<Verdict>,
}

impl Expected {
    pub(crate) const fn any(wanted: &'static [Verdict]) -> Self {
        Self { wanted, instead: None }
    }

    /// It differs, for a reason that is stated next to it and in SECURITY.md.
    pub(crate) const fn but(self, instead: Verdict) -> Self {
        Self { instead: Some(instead), ..self }
    }

    pub(crate) fn holds(&self, verdict: Verdict) -> bool {
        self.wanted.contains(&verdict) || self.instead == Some(verdict)
    }
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.wanted)?;
        self.instead.map_or(Ok(()), |instead| write!(f, ", or as rustls does it {instead:?}"))
    }
}

/// How many connections the tests have made, for the record.
pub(crate) static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let socket = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// Sends these bytes and no more, and reads to the end.
pub(crate) fn ask(address: SocketAddr, bytes: &[u8]) -> Verdict {
    let mut socket = connect(address);
    // A server that has heard enough may have closed already.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let mut heard = Vec::new();
    if let Err(error) = socket.read_to_end(&mut heard) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "neither answered nor closed");
    }
    judge(&heard)
}

/// All cases one after the other; a panic with those that went otherwise than wanted.
pub(crate) fn check(address: SocketAddr, cases: Vec<Case>) {
    let count = cases.len();
    let wrong: Vec<String> = cases
        .into_iter()
        .filter_map(|Case { name, bytes, expected }| {
            let verdict = ask(address, &bytes);
            let line = || format!("{name}: {verdict:?}, and wanted is {expected:?}");
            (!expected.holds(verdict)).then(line)
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a server has said in the clear. What is no TLS is a failure: nobody has earned it.
fn judge(heard: &[u8]) -> Verdict {
    /// What marks a ServerHello as a HelloRetryRequest, RFC 8446, 4.1.3.
    const RETRY: [u8; 4] = [0xcf, 0x21, 0xad, 0x74];
    let mut verdict = Verdict::Closed;
    for record in split(heard) {
        let (kind, content) = (record[0], &record[5..]);
        match (kind, verdict) {
            (HANDSHAKE, Verdict::Closed) => {
                assert_eq!(content[0], 2, "no ServerHello: {heard:02x?}");
                let is_retry = content[6..].starts_with(&RETRY);
                verdict = if is_retry { Verdict::Retry } else { Verdict::Hello };
            }
            (ALERT, Verdict::Closed | Verdict::Retry) => {
                assert_eq!(content.len(), 2, "no alert: {heard:02x?}");
                verdict = Verdict::Alert(content[1]);
            }
            (HANDSHAKE | CHANGE_CIPHER_SPEC | DATA | ALERT, Verdict::Hello | Verdict::Retry) => {}
            _ => panic!("after {verdict:?} a record of type {kind}: {heard:02x?}"),
        }
    }
    verdict
}

/// The records of which there is no part missing; a panic where it is anything else.
pub(crate) fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let is_record = bytes.len() >= 5
            && (CHANGE_CIPHER_SPEC..=DATA).contains(&bytes[0])
            && bytes[1..3] == [3, 3];
        assert!(is_record, "this is no TLS: {:?}", String::from_utf8_lossy(bytes));
        let end = 5 + usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        let (record, rest) = bytes.split_at_checked(end).expect("a record that is whole");
        records.push(record);
        bytes = rest;
    }
    records
}
