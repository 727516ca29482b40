//! A stand-in for the Cumulocity cloud: it speaks TLS, checks tokens, answers as Cumulocity
//! documents, misbehaves on demand, and remembers each request byte for byte. It shares no code
//! with the proxy, not even its HTTP, so that a fault in ours cannot hide here.

pub(crate) mod access_tokens;
pub(crate) mod artifact;
pub(crate) mod body;
mod connection;
mod notifications;
mod platform;
pub(crate) mod record;
mod script;
pub(crate) mod tokens;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};

use access_tokens::{Anybody, Trust};
use artifact::Artifact;
use body::Content;
use notifications::Subscribers;
#[allow(unused_imports, reason = "the program has no client")]
pub(crate) use notifications::accept;
use platform::Store;
use record::{Record, Request, Seen};
#[allow(unused_imports, reason = "the tests of faults have no use for it")]
pub(crate) use script::{Gate, Script};
use tokens::Tokens;

/// How a cloud is set up.
pub(crate) struct Options {
    /// Its certificate and what leads from there to its CA, PEM.
    pub(crate) certificate: PathBuf,
    /// The key of it, PEM.
    pub(crate) key: PathBuf,
    /// The versions of TLS that it speaks.
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    /// Who may come with a password, as `tenant/name` or `name`.
    pub(crate) user: Option<(String, String)>,
    /// If set, the server only gives tokens, to the devices that this trusts.
    pub(crate) trust: Option<Trust>,
}

impl Options {
    pub(crate) fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            versions: rustls::ALL_VERSIONS.to_vec(),
            user: None,
            trust: None,
        }
    }

    /// TLS as its server speaks it.
    pub(crate) fn tls(&self) -> io::Result<Arc<ServerConfig>> {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(&self.certificate).map_err(io::Error::other)?.collect();
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .map_err(io::Error::other)?;
        let tls = match self.trust {
            None => tls.with_no_client_auth(),
            Some(_) => tls.with_client_cert_verifier(Arc::new(Anybody)),
        };
        let tls = tls
            .with_single_cert(chain.map_err(io::Error::other)?, key)
            .map_err(io::Error::other)?;
        Ok(Arc::new(tls))
    }
}

/// What a client hears that connects.
#[derive(Clone)]
pub(crate) enum Greeting {
    /// The TLS of a cloud.
    Tls,
    /// These bytes, then the end: an alert, or no TLS at all.
    Send(Vec<u8>),
    /// Nothing, for ever.
    Silence,
    /// The end.
    HangUp,
}

/// A TLS alert `handshake_failure`, for [`Greeting::Send`].
pub(crate) const ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 40];

/// A running cloud; it ends when it is dropped.
pub(crate) struct Cloud {
    inner: Arc<Inner>,
    address: SocketAddr,
    running: Option<(TcpListener, JoinHandle<()>)>,
}

/// What the connections share.
pub(crate) struct Inner {
    pub(crate) record: Record,
    pub(crate) tokens: Arc<Tokens>,
    trust: Option<Trust>,
    user: Option<String>,
    changing: Mutex<Changing>,
    store: Mutex<Store>,
    subscribers: Subscribers,
}

struct Changing {
    tls: Arc<ServerConfig>,
    greeting: Greeting,
    per_connection: Option<usize>,
    scripts: HashMap<Vec<u8>, VecDeque<Script>>,
    artifacts: HashMap<String, Artifact>,
    /// Open connections, and whether each waits for a request.
    open: HashMap<usize, (TcpStream, bool)>,
}

impl Cloud {
    /// Starts on a free port of 127.0.0.1.
    pub(crate) fn start(options: Options) -> io::Result<Self> {
        Self::on(TcpListener::bind("127.0.0.1:0")?, options)
    }

    /// Starts the port of this cloud where devices get tokens.
    pub(crate) fn start_beside(&self, options: Options) -> io::Result<Self> {
        self.on_beside(TcpListener::bind("127.0.0.1:0")?, options)
    }

    /// The same on a listener, which may be of another network namespace.
    pub(crate) fn on_beside(&self, listener: TcpListener, options: Options) -> io::Result<Self> {
        Self::with_tokens(listener, options, Arc::clone(&self.inner.tokens))
    }

    /// Starts on a listener, which may be of another network namespace.
    pub(crate) fn on(listener: TcpListener, options: Options) -> io::Result<Self> {
        Self::with_tokens(listener, options, Arc::new(Tokens::new(b"a secret of the stand-in")))
    }

    fn with_tokens(
        listener: TcpListener,
        options: Options,
        tokens: Arc<Tokens>,
    ) -> io::Result<Self> {
        let tls = options.tls()?;
        let changing = Changing {
            tls,
            greeting: Greeting::Tls,
            per_connection: None,
            scripts: HashMap::new(),
            artifacts: HashMap::new(),
            open: HashMap::new(),
        };
        let user =
            options.user.map(|(name, password)| STANDARD.encode(format!("{name}:{password}")));
        let inner = Arc::new(Inner {
            record: Record::default(),
            tokens,
            trust: options.trust,
            user,
            changing: Mutex::new(changing),
            store: Mutex::default(),
            subscribers: Subscribers::default(),
        });
        let address = listener.local_addr()?;
        let mut cloud = Self { inner, address, running: None };
        cloud.run(listener)?;
        Ok(cloud)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The tokens, to make, count and revoke them.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.inner.tokens
    }

    /// What it shares with a bridge.
    pub(crate) fn shared(&self) -> Arc<Inner> {
        self.inner.clone()
    }

    /// Answers a path (of the target as it comes, without the query) in this way from now on,
    /// after those ways that were given before and are for one request only.
    pub(crate) fn answer(&self, path: impl AsRef<[u8]>, script: Script) {
        let mut changing = self.inner.changing();
        let scripts = changing.scripts.entry(path.as_ref().to_vec()).or_default();
        scripts.retain(|earlier| earlier.once);
        scripts.push_back(script);
    }

    /// Greets those who connect from now on in this way.
    pub(crate) fn greet(&self, greeting: Greeting) {
        self.inner.changing().greeting = greeting;
    }

    /// Shows another certificate to those who connect from now on, and resumes no session of
    /// before.
    pub(crate) fn show(&self, options: &Options) -> io::Result<()> {
        self.inner.changing().tls = options.tls()?;
        Ok(())
    }

    /// Breaks all connections off, in whatever state they are.
    pub(crate) fn break_off(&self) -> usize {
        self.inner.close(|_| true)
    }

    /// Closes each connection after that many answers.
    pub(crate) fn limit_requests(&self, per_connection: usize) {
        self.inner.changing().per_connection = Some(per_connection);
    }

    /// Closes the connections that wait for a request, without a word; returns how many.
    pub(crate) fn close_idle(&self) -> usize {
        self.inner.close(|idle| idle)
    }

    /// Makes up a binary of that length in the inventory and returns its path.
    pub(crate) fn add_binary(&self, length: u64) -> String {
        let id = self.inner.store().add_binary(Content::Blocks(length), "application/octet-stream");
        format!("/inventory/binaries/{id}")
    }

    /// Serves this artifact on a path from now on, in place of an earlier one.
    pub(crate) fn serve(&self, path: &str, artifact: &Artifact) {
        self.inner.changing().artifacts.insert(path.to_owned(), artifact.clone());
    }

    /// How many bytes of content of this path it has sent so far.
    pub(crate) fn sent(&self, path: &str) -> u64 {
        self.requests(path).iter().map(|request| request.sent).sum()
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self) -> Seen {
        self.inner.record.seen()
    }

    /// The requests that it has seen so far for a path, the query left aside.
    pub(crate) fn requests(&self, path: &str) -> Vec<Request> {
        let mut seen = self.seen().requests;
        seen.retain(|request| request.path() == path.as_bytes());
        seen
    }

    /// Waits until what was seen is enough; panics when it is not within `limit`.
    pub(crate) fn wait(&self, limit: Duration, enough: impl Fn(&Seen) -> bool) -> Seen {
        self.inner.record.wait(limit, enough)
    }

    /// Takes those requests out of the record that are answered, those of the last `time`.
    pub(crate) fn take(&self, time: Duration) -> Vec<Request> {
        self.inner.record.take(time)
    }

    /// Forgets the requests that were seen.
    pub(crate) fn forget(&self) {
        self.inner.record.forget();
    }

    /// Stops listening and breaks all connections off.
    pub(crate) fn stop(&mut self) {
        if let Some((listener, thread)) = self.running.take() {
            // Wakes the thread that accepts; it cannot fail on a listening socket.
            let _awake = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
            let _ended = thread.join();
        }
        self.inner.close(|_| true);
    }

    /// Listens again, on the same address.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        self.stop();
        self.run(TcpListener::bind(self.address)?)
    }

    /// Listens again, on a listener that may be of another network namespace.
    pub(crate) fn restart_on(&mut self, listener: TcpListener) -> io::Result<()> {
        self.stop();
        self.run(listener)
    }

    fn run(&mut self, listener: TcpListener) -> io::Result<()> {
        let (inner, accepting) = (self.inner.clone(), listener.try_clone()?);
        let thread = thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let Ok(handle) = stream.try_clone() else { continue };
                let id = inner.record.dialled();
                inner.changing().open.insert(id, (handle, false));
                let inner = inner.clone();
                thread::spawn(move || {
                    connection::serve(&inner, id, stream);
                    inner.changing().open.remove(&id);
                });
            }
        });
        self.running = Some((listener, thread));
        Ok(())
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.changing().tls)
    }

    fn greeting(&self) -> Greeting {
        self.changing().greeting.clone()
    }

    fn per_connection(&self) -> Option<usize> {
        self.changing().per_connection
    }

    fn idle(&self, id: usize, idle: bool) {
        if let Some((_, is)) = self.changing().open.get_mut(&id) {
            *is = idle;
        }
    }

    fn close(&self, which: impl Fn(bool) -> bool) -> usize {
        let mut changing = self.changing();
        let mut count = 0;
        for (stream, idle) in changing.open.values_mut().filter(|(_, idle)| which(*idle)) {
            // One that has ended by itself meanwhile is closed as well; none counts twice.
            let _ended = stream.shutdown(Shutdown::Both);
            (*idle, count) = (false, count + 1);
        }
        count
    }

    fn script(&self, path: &[u8]) -> Option<Script> {
        let mut changing = self.changing();
        let scripts = changing.scripts.get_mut(path)?;
        if scripts.front()?.once { scripts.pop_front() } else { scripts.front().cloned() }
    }

    /// The artifact of a path, and where this answer with it breaks off.
    fn artifact(&self, path: &str, has_content: bool) -> Option<(Artifact, Option<u64>)> {
        let mut changing = self.changing();
        let artifact = changing.artifacts.get_mut(path)?;
        let next_break = if has_content { artifact.next_break() } else { None };
        Some((artifact.clone(), next_break))
    }

    /// Whether the request brings a good token, or a good name and password.
    fn knows(&self, request: &Request) -> bool {
        if let Some(token) = request.bearer() {
            return self.tokens.accepts(token);
        }
        let given = request.field("authorization").and_then(|value| value.strip_prefix(b"Basic "));
        given.is_some() && given == self.user.as_ref().map(String::as_bytes)
    }
}
