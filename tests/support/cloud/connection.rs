//! One connection to the cloud: TLS, then requests one after the other until either side ends it.
//! The HTTP is read and written by hand, so that nothing is tidied on the way to the record.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ServerConnection, StreamOwned};
use tungstenite::error::ProtocolError;
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Error, Message};

use super::body::{Content, Framing, Spool};
use super::record::{KEPT, Request, State};
use super::{Greeting, Inner, access_tokens, artifact, platform};

/// The longest head that is read.
const HEAD: usize = 1 << 20;

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The client went, or broke the rules.
    Gone(io::Error),
    /// We close in the middle.
    Broken,
    /// We close properly, with close_notify.
    Closed,
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

/// A connection with the request that is being answered on it.
pub(crate) struct Connection {
    pub(super) cloud: Arc<Inner>,
    id: usize,
    stream: StreamOwned<ServerConnection, TcpStream>,
    /// What was read and not used yet.
    buffer: Vec<u8>,
    /// The request that is being answered.
    pub(super) request: Request,
    framing: Framing,
    /// The body, once it was read.
    content: Option<Content>,
}

/// Serves one connection until it ends.
pub(super) fn serve(cloud: &Arc<Inner>, id: usize, stream: TcpStream) {
    let greeting = cloud.greeting();
    match handshake(cloud, id, stream, &greeting) {
        Ok(Some(stream)) => {
            let buffer = Vec::new();
            let request = Request {
                connection: id,
                head: Vec::new(),
                body: Vec::new(),
                length: 0,
                sent: 0,
                digest: None,
                at: Instant::now(),
                state: State::Open,
                refused: false,
            };
            let (framing, content, cloud) = (Framing::None, None, cloud.clone());
            let connection = Connection { cloud, id, stream, buffer, request, framing, content };
            connection.run();
        }
        Ok(None) => {}
        Err(error) => cloud.record.connection(id, |seen| seen.refused = Some(error.to_string())),
    }
    cloud.record.connection(id, |seen| seen.closed = Some(Instant::now()));
}

fn handshake(
    cloud: &Inner,
    id: usize,
    mut stream: TcpStream,
    greeting: &Greeting,
) -> io::Result<Option<StreamOwned<ServerConnection, TcpStream>>> {
    stream.set_nodelay(true)?;
    match greeting {
        Greeting::Tls => {}
        Greeting::Send(bytes) => {
            let _hello = stream.read(&mut [0; 16 * 1024])?;
            stream.write_all(bytes)?;
            stream.shutdown(Shutdown::Write)?;
            // Until the client has read it and gone; closing on unread data would reset.
            while stream.read(&mut [0; 16 * 1024])? > 0 {}
            return Ok(None);
        }
        Greeting::Silence => {
            while stream.read(&mut [0; 16 * 1024])? > 0 {}
            return Ok(None);
        }
        Greeting::HangUp => return Ok(None),
    }
    let mut tls = ServerConnection::new(cloud.tls()).map_err(io::Error::other)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    stream.set_read_timeout(None)?;
    cloud.record.connection(id, |seen| {
        seen.version = tls.protocol_version().and_then(|v| v.as_str()).unwrap_or("?").into();
        seen.server_name = tls.server_name().map(str::to_owned);
        let shown = tls.peer_certificates().and_then(<[_]>::first);
        seen.certificate = shown.map(|der| der.to_vec());
        seen.resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    });
    Ok(Some(StreamOwned::new(tls, stream)))
}

impl Connection {
    fn run(mut self) {
        let mut served = 0;
        let ended = loop {
            match self.next() {
                Ok(true) => {}
                Ok(false) => break Ended::Closed,
                // Between two requests no answer is lost.
                Err(error) => break Ended::Gone(error),
            }
            let outcome = self.answer_it();
            let now = Instant::now();
            let state = match outcome {
                Err(Ended::Gone(_)) => State::Gone(now),
                _ => State::Answered(now),
            };
            self.cloud.record.latest(self.id, self.request.at, |seen| seen.state = state);
            served += 1;
            if let Err(ended) = outcome {
                break ended;
            }
            let asked = self.request.field("connection");
            let last = asked.is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
            if last || self.cloud.per_connection().is_some_and(|limit| served >= limit) {
                break Ended::Closed;
            }
        };
        if matches!(ended, Ended::Closed) {
            self.stream.conn.send_close_notify();
            // The other side may have closed already.
            let _gone = self.stream.flush();
            let _gone = self.stream.sock.shutdown(Shutdown::Write);
            let _gone = self.stream.sock.set_read_timeout(Some(Duration::from_secs(5)));
            while self.stream.sock.read(&mut [0; 16 * 1024]).is_ok_and(|length| length > 0) {}
        }
    }

    /// Reads the next head; `false` when the client ended the connection before one.
    fn next(&mut self) -> io::Result<bool> {
        self.cloud.idle(self.id, self.buffer.is_empty());
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if self.buffer.len() > HEAD {
                return Err(io::Error::other("the head is too long"));
            }
            if self.fill()? == 0 {
                return if self.buffer.is_empty() {
                    Ok(false)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
            self.cloud.idle(self.id, false);
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let at = self.cloud.record.request(self.id, &head);
        let (body, connection) = (Vec::new(), self.id);
        let (state, refused) = (State::Open, false);
        self.request = Request {
            connection,
            head,
            body,
            length: 0,
            sent: 0,
            digest: None,
            at,
            state,
            refused,
        };
        self.framing = Framing::of(&self.request)?;
        self.content = None;
        Ok(true)
    }

    fn answer_it(&mut self) -> Result<(), Ended> {
        let script = self.cloud.script(self.request.path());
        let known = self.cloud.knows(&self.request);
        match script {
            Some(script) if script.open || known => script.run(self)?,
            _ if self.cloud.trust.is_some() => {
                let cloud = Arc::clone(&self.cloud);
                cloud.trust.iter().try_for_each(|trust| access_tokens::answer(self, trust))?;
            }
            _ if known && artifact::serve(self)? => {}
            _ if known => platform::answer(self)?,
            _ => {
                self.cloud.record.latest(self.id, self.request.at, |seen| seen.refused = true);
                platform::refuse(self)?;
            }
        }
        // What was not read of this request must not be taken for the next one.
        self.read_body()
    }

    /// The certificates that the client has shown.
    pub(super) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let shown = self.stream.conn.peer_certificates().unwrap_or_default();
        shown.iter().map(|der| der.clone().into_owned()).collect()
    }

    /// Reads the body, if that was not done yet, and forgets its content.
    pub(super) fn read_body(&mut self) -> Result<(), Ended> {
        self.take_body(false).map(drop)
    }

    /// Reads the body and returns it.
    pub(super) fn body(&mut self) -> Result<Content, Ended> {
        self.take_body(true)
    }

    fn take_body(&mut self, kept: bool) -> Result<Content, Ended> {
        if let Some(content) = &self.content {
            return Ok(content.clone());
        }
        let expects = self.request.field("expect").is_some();
        if expects && self.framing != Framing::None && self.buffer.is_empty() {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut spool = Spool::new(kept);
        match self.framing {
            Framing::None => {}
            Framing::Length(length) => self.take_exactly(length, &mut spool)?,
            Framing::Chunked => loop {
                let line = self.line()?;
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let digits = std::str::from_utf8(digits).map_err(io::Error::other)?;
                let length = u64::from_str_radix(digits.trim(), 16).map_err(io::Error::other)?;
                if length == 0 {
                    while !self.line()?.is_empty() {}
                    break;
                }
                self.take_exactly(length, &mut spool)?;
                if !self.line()?.is_empty() {
                    return Err(io::Error::other("a chunk is longer than it says").into());
                }
            },
        }
        let (content, digest) = spool.finish();
        self.cloud.record.latest(self.id, self.request.at, |seen| seen.digest = Some(digest));
        self.content = Some(content.clone());
        Ok(content)
    }

    fn take_exactly(&mut self, length: u64, spool: &mut Spool) -> io::Result<()> {
        let end = spool.length() + length;
        while spool.length() < end {
            if self.buffer.is_empty() && self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let left = usize::try_from(end - spool.length()).unwrap_or(usize::MAX);
            let piece: Vec<u8> = self.buffer.drain(..left.min(self.buffer.len())).collect();
            spool.write(&piece)?;
            self.cloud.record.latest(self.id, self.request.at, |seen| {
                seen.length = spool.length();
                let room = KEPT - seen.body.len();
                seen.body.extend_from_slice(&piece[..piece.len().min(room)]);
            });
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = self.buffer[..at].to_vec();
                self.buffer.drain(..at + 2);
                return Ok(line);
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads what there is, waiting for some of it; 0 is the end.
    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 64 * 1024];
        let length = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..length]);
        Ok(length)
    }

    /// The rest of the connection, which is a WebSocket from now on.
    pub(super) fn frames(&mut self) -> Frames<'_> {
        let ahead = std::mem::take(&mut self.buffer);
        Frames(WebSocket::from_partially_read(&mut self.stream, ahead, Role::Server, None))
    }

    /// Sends bytes as they are.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.stream.write_all(bytes)?;
        Ok(self.stream.flush()?)
    }

    /// Counts a part of the content, and sends it: who has it finds it counted.
    pub(super) fn send_content(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let count = bytes.len() as u64;
        self.cloud.record.latest(self.id, self.request.at, |seen| seen.sent += count);
        self.send(bytes).inspect_err(|_| {
            self.cloud.record.latest(self.id, self.request.at, |seen| seen.sent -= count);
        })
    }

    /// Sends an answer with a length.
    pub(super) fn answer(
        &mut self,
        status: &str,
        fields: &[(&str, &str)],
        content: &Content,
    ) -> Result<(), Ended> {
        let mut head = format!("HTTP/1.1 {status}\r\nServer: nginx\r\n");
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !status.starts_with("204") && !status.starts_with("304") {
            head.push_str(&format!("Content-Length: {}\r\n", content.length()));
        }
        head.push_str("\r\n");
        self.send(head.as_bytes())?;
        if self.request.method() == b"HEAD" {
            return Ok(());
        }
        content.each(|piece| self.send_content(piece))
    }

    /// Waits that long, or until `done`; the client going meanwhile is an end.
    pub(super) fn pause(&self, time: Duration, done: impl Fn() -> bool) -> Result<(), Ended> {
        let end = Instant::now() + time;
        while !done() && Instant::now() < end {
            let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
            let mut wait = [PollFd::new(&self.stream.sock, gone)];
            let short = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
            if poll(&mut wait, Some(&short)).map_err(io::Error::from)? > 0 {
                return Err(Ended::Gone(io::ErrorKind::ConnectionReset.into()));
            }
        }
        Ok(())
    }
}

/// The server's side of a WebSocket.
pub(super) struct Frames<'a>(WebSocket<&'a mut StreamOwned<ServerConnection, TcpStream>>);

impl Frames<'_> {
    /// The next message, if it is there whole within `time` of the last byte.
    pub(super) fn next(&mut self, time: Duration) -> Result<Option<Message>, Ended> {
        self.0.get_ref().sock.set_read_timeout(Some(time))?;
        match self.0.read() {
            Ok(message) => Ok(Some(message)),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn send(&mut self, message: Message) -> Result<(), Ended> {
        Ok(self.0.send(message)?)
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        match error {
            Error::ConnectionClosed => Self::Closed,
            Error::Io(error) => Self::Gone(error),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Self::Gone(io::ErrorKind::UnexpectedEof.into())
            }
            _ => Self::Broken,
        }
    }
}
