//! A client that sends exactly the bytes it is told to, over TCP or TLS.
//!
//! The TLS side is rustls like the servers'; that other stacks get along is shown with other
//! programs, see [`super::curl`].

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::answer::Answer;
use super::certificates::Pair;

/// How long a server may keep a client waiting before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A connection, and what was read from it ahead.
pub(crate) struct Client {
    stream: BufReader<Stream>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Client {
    /// Connects without TLS.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self { stream: BufReader::new(Stream::Plain(dial(address))) }
    }

    /// Speaks over a connection that is there.
    pub(crate) fn over(socket: TcpStream) -> Self {
        prepare(&socket);
        Self { stream: BufReader::new(Stream::Plain(socket)) }
    }

    /// Connects with TLS and completes the handshake, as the host `localhost`.
    pub(crate) fn connect_tls(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut socket = dial(address);
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let stream = StreamOwned::new(connection, socket);
        Ok(Self { stream: BufReader::new(Stream::Tls(Box::new(stream))) })
    }

    /// The TCP connection below.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self.stream.get_ref() {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &stream.sock,
        }
    }

    /// Sends these bytes; a server that does not want them any more is no failure.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes.as_ref())?;
        stream.flush()
    }

    /// Says that no more will be sent.
    pub(crate) fn finish(&self) {
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Closes at once, so that the server is told by a reset.
    pub(crate) fn reset(self) {
        let _ = rustix::net::sockopt::set_socket_linger(self.socket(), Some(Duration::ZERO));
    }

    /// The next final response.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().unwrap().expect("an answer before the end of the connection")
    }

    /// The next final response, `None` where the server has closed instead.
    pub(crate) fn try_answer(&mut self) -> io::Result<Option<Answer>> {
        Answer::read(&mut self.stream, false)
    }

    /// The next head, interim or final, without its body.
    pub(crate) fn head(&mut self) -> Answer {
        Answer::read_head(&mut self.stream).unwrap().expect("a head before the end")
    }

    /// Sends a request and takes its answer.
    pub(crate) fn exchange(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request).unwrap();
        self.answer()
    }

    /// Reads until the server closes; an error where it does not in [`PATIENCE`].
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// What comes until the server closes, also where that is with a reset; a panic where it does
    /// not in [`PATIENCE`].
    pub(crate) fn heard(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        let end = self.stream.read_to_end(&mut heard);
        let is_silent = end.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        assert!(!is_silent, "not closed after {:?}", String::from_utf8_lossy(&heard));
        heard
    }

    /// Reads and forgets so many bytes.
    pub(crate) fn skip(&mut self, count: u64) -> io::Result<u64> {
        io::copy(&mut (&mut self.stream).take(count), &mut io::sink())
    }

    /// How long the next read may take.
    pub(crate) fn set_patience(&self, limit: Duration) {
        self.socket().set_read_timeout(Some(limit)).unwrap();
    }

    /// Whether the server has closed, as far as can be told without waiting.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.peek().is_some_and(|bytes| bytes == 0)
    }

    /// Whether the server has answered or closed, as far as can be told without waiting.
    pub(crate) fn has_news(&mut self) -> bool {
        self.peek().is_some()
    }

    /// How many bytes are here to be read, none at the end; `None` where there is nothing yet.
    fn peek(&mut self) -> Option<usize> {
        self.set_patience(Duration::from_millis(1));
        let here = match self.stream.fill_buf() {
            Ok(bytes) => Some(bytes.len()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => Some(0),
        };
        self.set_patience(PATIENCE);
        here
    }
}

fn dial(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    prepare(&socket);
    socket
}

fn prepare(socket: &TcpStream) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
}

/// How to speak TLS to a server that this authority has signed, with a certificate or without.
pub(crate) fn tls(authority: &Path, pair: Option<&Pair>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let builder =
        ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
    Arc::new(match pair {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = CertificateDer::pem_file_iter(&pair.cert).unwrap();
            let chain = chain.collect::<Result<_, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
