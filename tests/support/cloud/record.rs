//! What the cloud has seen: connections and requests exactly as they came, for a test to look at
//! or to wait for. It interprets nothing.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// As much of a body as is kept; the rest is only counted and hashed.
pub(crate) const KEPT: usize = 128 * 1024;

/// One TCP connection to the cloud.
#[derive(Clone, Debug)]
pub(crate) struct Dialled {
    /// Counts from 0.
    pub(crate) id: usize,
    /// `TLSv1_2`, `TLSv1_3`; empty until the handshake is done.
    pub(crate) version: String,
    /// The name that the client asked for (SNI).
    pub(crate) server_name: Option<String>,
    /// The first certificate that the client has shown.
    pub(crate) certificate: Option<Vec<u8>>,
    /// Whether an earlier TLS session was resumed.
    pub(crate) resumed: bool,
    /// Why the handshake failed.
    pub(crate) refused: Option<String>,
    /// When it ended.
    pub(crate) closed: Option<Instant>,
}

/// How far a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The answer is not finished.
    Open,
    /// The answer was sent as it was meant to be.
    Answered(Instant),
    /// The client went before that.
    Gone(Instant),
}

/// One request.
#[derive(Clone)]
pub(crate) struct Request {
    /// The connection that it came on.
    pub(crate) connection: usize,
    /// Request line and fields up to and with the empty line, byte for byte.
    pub(crate) head: Vec<u8>,
    /// The first [`KEPT`] bytes of the body, without its chunking.
    pub(crate) body: Vec<u8>,
    /// The length of what was read of the body.
    pub(crate) length: u64,
    /// How many bytes of content the answer had so far.
    pub(crate) sent: u64,
    /// The SHA-256 of the body, once it was read whole.
    pub(crate) digest: Option<Vec<u8>>,
    /// When the head was read.
    pub(crate) at: Instant,
    /// How far it got.
    pub(crate) state: State,
    /// Whether the answer is a 401, because the token was missing or invalid.
    pub(crate) refused: bool,
}

impl Request {
    /// The method, as it came.
    pub(crate) fn method(&self) -> &[u8] {
        self.line().split(|byte| *byte == b' ').next().unwrap_or_default()
    }

    /// The request target, byte for byte.
    pub(crate) fn target(&self) -> &[u8] {
        self.line().split(|byte| *byte == b' ').nth(1).unwrap_or_default()
    }

    /// The target without the query.
    pub(crate) fn path(&self) -> &[u8] {
        self.target().split(|byte| *byte == b'?').next().unwrap_or_default()
    }

    /// What follows the `?` of the target.
    pub(crate) fn query(&self) -> Option<&[u8]> {
        let target = self.target();
        target.iter().position(|byte| *byte == b'?').map(|at| &target[at + 1..])
    }

    /// The fields in order: names as they came, values without the white space around them.
    pub(crate) fn fields(&self) -> Vec<(&[u8], &[u8])> {
        let lines = self.head.split(|byte| *byte == b'\n').skip(1);
        lines
            .filter_map(|line| {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let colon = line.iter().position(|byte| *byte == b':')?;
                Some((&line[..colon], line[colon + 1..].trim_ascii()))
            })
            .collect()
    }

    /// The value of the first field with that name.
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        let of_name = |(field, _): &(&[u8], &[u8])| field.eq_ignore_ascii_case(name.as_bytes());
        self.fields().into_iter().find(of_name).map(|(_, value)| value)
    }

    /// All the values of the fields with that name.
    pub(crate) fn all(&self, name: &str) -> Vec<&[u8]> {
        let of_name = |(field, _): &(&[u8], &[u8])| field.eq_ignore_ascii_case(name.as_bytes());
        self.fields().into_iter().filter(of_name).map(|(_, value)| value).collect()
    }

    /// The token of `Authorization: Bearer …`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        std::str::from_utf8(self.field("authorization")?).ok()?.strip_prefix("Bearer ")
    }

    fn line(&self) -> &[u8] {
        self.head.split(|byte| *byte == b'\r').next().unwrap_or_default()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut head = String::from_utf8_lossy(&self.head).into_owned();
        if let Some(token) = self.bearer() {
            // The end tells one from another.
            head = head.replace(token, &format!("…{}", &token[token.len().saturating_sub(8)..]));
        }
        let (connection, length) = (self.connection, self.length);
        write!(f, "#{connection} {:?} {length} bytes {:?}", head.trim_end(), self.state)
    }
}

/// Everything seen so far; shared by the connections, which write, and the test, which waits.
#[derive(Default)]
pub(crate) struct Record {
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// Connections and requests in the order in which they came.
#[derive(Clone, Default, Debug)]
pub(crate) struct Seen {
    pub(crate) connections: Vec<Dialled>,
    pub(crate) requests: Vec<Request>,
}

impl Record {
    /// A copy of what was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// Waits until `enough` is true of what was seen, and returns that.
    ///
    /// Panics, with everything that was seen, when it is not true within `limit`.
    pub(crate) fn wait(&self, limit: Duration, enough: impl Fn(&Seen) -> bool) -> Seen {
        let end = Instant::now() + limit;
        let mut seen = self.lock();
        while !enough(&seen) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the cloud waited {limit:?} in vain; it saw {seen:#?}");
            let woken = self.changed.wait_timeout(seen, left);
            seen = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        seen.clone()
    }

    /// Forgets the requests that were seen.
    pub(crate) fn forget(&self) {
        self.lock().requests.clear();
    }

    /// Waits that long, then takes out the requests that are done with.
    pub(crate) fn take(&self, time: Duration) -> Vec<Request> {
        std::thread::sleep(time);
        let mut seen = self.lock();
        let all = std::mem::take(&mut seen.requests);
        let (open, done) = all.into_iter().partition(|request| request.state == State::Open);
        seen.requests = open;
        done
    }

    pub(super) fn dialled(&self) -> usize {
        self.change(|seen| {
            let id = seen.connections.len();
            seen.connections.push(Dialled {
                id,
                version: String::new(),
                server_name: None,
                certificate: None,
                resumed: false,
                refused: None,
                closed: None,
            });
            id
        })
    }

    pub(super) fn connection(&self, id: usize, write: impl FnOnce(&mut Dialled)) {
        self.change(|seen| write(&mut seen.connections[id]));
    }

    pub(super) fn request(&self, connection: usize, head: &[u8]) -> Instant {
        let at = Instant::now();
        let head = head.to_vec();
        let (body, length, sent, digest) = (Vec::new(), 0, 0, None);
        let (state, refused) = (State::Open, false);
        let request = Request { connection, head, body, length, sent, digest, at, state, refused };
        self.change(|seen| seen.requests.push(request));
        at
    }

    /// Changes the latest request of a connection; nothing if it was forgotten meanwhile.
    pub(super) fn latest(&self, connection: usize, at: Instant, write: impl FnOnce(&mut Request)) {
        self.change(|seen| {
            let mut latest = seen.requests.iter_mut().rev();
            if let Some(request) = latest.find(|r| r.connection == connection && r.at == at) {
                write(request);
            }
        });
    }

    fn change<T>(&self, write: impl FnOnce(&mut Seen) -> T) -> T {
        let result = write(&mut self.lock());
        self.changed.notify_all();
        result
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
