//! An HTTP/1.1 client that sends bytes as they are given and reads answers to the letter: it
//! tells a whole body from one that broke off. It repairs nothing, retries nothing.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use ring::digest;

/// As much of a body as is kept; the rest is only counted and hashed.
const KEPT: usize = 1 << 20;

/// How long to wait for bytes.
const PATIENCE: Duration = Duration::from_secs(100);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and fields, byte for byte.
    pub(crate) head: Vec<u8>,
    /// The heads of the 1xx answers before it.
    pub(crate) interim: Vec<Vec<u8>>,
    /// The first [`KEPT`] bytes of the body.
    pub(crate) body: Vec<u8>,
    pub(crate) length: u64,
    /// The SHA-256 of the body.
    pub(crate) digest: Vec<u8>,
    /// Why the body is not whole.
    pub(crate) broken: Option<String>,
}

impl Answer {
    /// The values of the fields with that name.
    pub(crate) fn all(&self, name: &str) -> Vec<&[u8]> {
        let lines = self.head.split(|byte| *byte == b'\n').skip(1);
        lines
            .filter_map(|line| {
                let colon = line.iter().position(|byte| *byte == b':')?;
                let (field, value) = (&line[..colon], line[colon + 1..].trim_ascii());
                field.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
            })
            .collect()
    }

    /// The value of the first field with that name.
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        self.all(name).first().copied()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection to a server.
pub(crate) struct HttpClient {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl HttpClient {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Reads the answer to a request with that method.
    pub(crate) fn answer(&mut self, method: &str) -> io::Result<Answer> {
        let (head, interim) = self.head()?;
        let status = status(&head)?;
        let mut answer = Answer {
            status,
            head,
            interim,
            body: Vec::new(),
            length: 0,
            digest: Vec::new(),
            broken: None,
        };
        let mut body = Body { client: self, kept: Vec::new(), length: 0, hash: new_hash() };
        let outcome = body.read(method, &answer);
        answer.broken = outcome.err().map(|error| error.to_string());
        answer.length = body.length;
        answer.body = body.kept;
        answer.digest = body.hash.finish().as_ref().to_vec();
        Ok(answer)
    }

    /// Reads the head of the final answer, and those of the 1xx before it.
    pub(crate) fn head(&mut self) -> io::Result<(Vec<u8>, Vec<Vec<u8>>)> {
        let mut interim = Vec::new();
        loop {
            let head = self.one_head()?;
            let status = status(&head)?;
            if !(100..200).contains(&status) || status == 101 {
                return Ok((head, interim));
            }
            interim.push(head);
        }
    }

    /// Reads one head, be it of a 1xx.
    pub(crate) fn one_head(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(self.buffer.drain(..at + 4).collect());
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads some bytes; 0 is the end.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 64 * 1024];
        let length = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..length]);
        Ok(length)
    }

    /// What was read and is not part of an answer yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.buffer
    }

    /// Ends the connection, both ways.
    pub(crate) fn hang_up(self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Both)
    }

    /// The connection below.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// Sends one request on a connection of its own and reads the answer.
pub(crate) fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> io::Result<Answer> {
    let request = request.as_ref();
    let mut client = HttpClient::connect(address)?;
    client.send(request)?;
    let method = request.split(|byte| *byte == b' ').next().unwrap_or_default();
    client.answer(&String::from_utf8_lossy(method))
}

fn status(head: &[u8]) -> io::Result<u16> {
    let digits = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    let status = digits.filter(|_| head.starts_with(b"HTTP/1."));
    let status = status.and_then(|digits| digits.parse().ok());
    status.ok_or_else(|| io::Error::other(format!("no status in {:?}", head.escape_ascii())))
}

fn new_hash() -> digest::Context {
    digest::Context::new(&digest::SHA256)
}

struct Body<'a> {
    client: &'a mut HttpClient,
    kept: Vec<u8>,
    length: u64,
    hash: digest::Context,
}

impl Body<'_> {
    fn read(&mut self, method: &str, answer: &Answer) -> io::Result<()> {
        if method == "HEAD" || matches!(answer.status, 101 | 204 | 304) {
            return Ok(());
        }
        if answer.field("transfer-encoding") == Some(b"chunked") {
            return self.chunks();
        }
        let Some(length) = answer.field("content-length") else { return self.until_close() };
        let length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok());
        self.exactly(length.ok_or_else(|| io::Error::other("a strange Content-Length"))?)
    }

    fn chunks(&mut self) -> io::Result<()> {
        loop {
            let line = self.line()?;
            let digits = std::str::from_utf8(&line).map_err(io::Error::other)?;
            let length = u64::from_str_radix(digits.trim(), 16).map_err(io::Error::other)?;
            if length == 0 {
                while !self.line()?.is_empty() {}
                return Ok(());
            }
            self.exactly(length)?;
            self.line()?;
        }
    }

    fn until_close(&mut self) -> io::Result<()> {
        loop {
            self.take(u64::MAX);
            if self.client.fill()? == 0 {
                return Ok(());
            }
        }
    }

    fn exactly(&mut self, length: u64) -> io::Result<()> {
        let end = self.length + length;
        loop {
            self.take(end - self.length);
            if self.length == end {
                return Ok(());
            }
            if self.client.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take(&mut self, most: u64) {
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.client.buffer.len());
        let piece = &self.client.buffer[..length];
        self.hash.update(piece);
        let room = KEPT - self.kept.len();
        self.kept.extend_from_slice(&piece[..length.min(room)]);
        self.length += length as u64;
        self.client.buffer.drain(..length);
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.client.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = self.client.buffer[..at].to_vec();
                self.client.buffer.drain(..at + 2);
                return Ok(line);
            }
            if self.client.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
