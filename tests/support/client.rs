//! A client that sends exactly the bytes it is told to, over TCP or TLS.
//!
//! Its TLS is rustls, as the servers' is; other stacks are tried with other programs, see
//! [`super::curl`].

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ring::digest;
use rustix::net::{self, AddressFamily, SocketType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::answer::Answer;
use super::certificates::Pair;

/// How long a server may keep a client waiting before a test fails: longer than any limit of ours.
pub(crate) const PATIENCE: Duration = Duration::from_secs(100);

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
        Self::try_connect(address).unwrap()
    }

    /// Connects without TLS to a server that may be gone.
    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        TcpStream::connect_timeout(&address, PATIENCE).map(Self::over)
    }

    /// Speaks over a connection that is there.
    pub(crate) fn over(socket: TcpStream) -> Self {
        prepare(&socket);
        Self { stream: BufReader::new(Stream::Plain(socket)) }
    }

    /// Connects with TLS and completes the handshake, as the host `localhost`.
    pub(crate) fn connect_tls(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        Self::secure(TcpStream::connect_timeout(&address, PATIENCE)?, config)
    }

    /// The same over a connection that is there.
    pub(crate) fn secure(mut socket: TcpStream, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        prepare(&socket);
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

    /// Shuts down the sending side.
    pub(crate) fn finish(&self) {
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Ends the connection, both ways.
    pub(crate) fn hang_up(self) -> io::Result<()> {
        self.socket().shutdown(Shutdown::Both)
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        let _ = net::sockopt::set_socket_linger(self.socket(), Some(Duration::ZERO));
    }

    /// The next final response.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().unwrap().expect("an answer before the end of the connection")
    }

    /// The next final response, `None` where the server has closed instead.
    pub(crate) fn try_answer(&mut self) -> io::Result<Option<Answer>> {
        Answer::read(&mut self.stream, false)
    }

    /// The next final response to a request with that method, be its body whole or not; an error
    /// where there is no head.
    pub(crate) fn answer_to(&mut self, method: &str) -> io::Result<Answer> {
        Answer::read_broken(&mut self.stream, method == "HEAD")
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

    /// Reads until these bytes have come.
    pub(crate) fn wait_for(&mut self, wanted: impl AsRef<[u8]>) {
        let (mut read, wanted) = (Vec::new(), wanted.as_ref());
        while !read.ends_with(wanted) {
            let mut byte = [0];
            let outcome = self.stream.read_exact(&mut byte);
            assert!(outcome.is_ok(), "{outcome:?} after {}", read.escape_ascii());
            read.extend(byte);
        }
    }

    /// Reads and forgets so many bytes.
    pub(crate) fn skip(&mut self, count: u64) -> io::Result<u64> {
        io::copy(&mut (&mut self.stream).take(count), &mut io::sink())
    }

    /// The SHA-256 of the next so many bytes, which are not kept.
    pub(crate) fn digest(&mut self, count: u64) -> io::Result<Vec<u8>> {
        let (mut context, mut left) = (digest::Context::new(&digest::SHA256), count);
        while left > 0 {
            let bytes = self.stream.fill_buf()?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let length = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            context.update(&bytes[..length]);
            self.stream.consume(length);
            left -= length as u64;
        }
        Ok(context.finish().as_ref().to_vec())
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

/// Sends one request on a connection of its own and reads the answer.
pub(crate) fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> io::Result<Answer> {
    let request = request.as_ref();
    let mut client = Client::try_connect(address)?;
    client.send(request)?;
    let method = request.split(|&byte| byte == b' ').next().unwrap_or_default();
    client.answer_to(&String::from_utf8_lossy(method))
}

/// A connection from 127.0.0.`host`, with a buffer of this size for what comes back.
pub(crate) fn connect_from(host: u8, to: SocketAddr, buffer: usize) -> TcpStream {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    net::sockopt::set_socket_recv_buffer_size(&socket, buffer).unwrap();
    net::bind(&socket, &SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0))).unwrap();
    net::connect(&socket, &to).unwrap();
    TcpStream::from(socket)
}

/// Whether this machine has IPv6; says so where it has not.
pub(crate) fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("skipped: there is no IPv6 here");
    }
    has
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

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.get_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.get_mut().flush()
    }
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
