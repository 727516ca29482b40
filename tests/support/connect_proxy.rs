//! An HTTP proxy that knows CONNECT, with or without a name and password, and remembers what it
//! was asked. It does not look into its tunnels.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use async_io::Async;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_lite::FutureExt;
use futures_lite::io::{copy, split};
use futures_rustls::TlsAcceptor;

/// A running proxy.
pub(crate) struct ConnectProxy {
    listener: TcpListener,
    shared: Arc<Shared>,
}

struct Shared {
    /// What `Proxy-Authorization` has to be.
    expected: Option<String>,
    /// Where every tunnel goes, whatever name was asked for.
    target: SocketAddr,
    heads: Mutex<Vec<String>>,
    open: Mutex<Vec<TcpStream>>,
}

impl ConnectProxy {
    /// Starts on a free port; each tunnel goes to `target`, as if its name were looked up here.
    pub(crate) fn start(target: SocketAddr, login: Option<(&str, &str)>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let basic = |(name, password)| STANDARD.encode(format!("{name}:{password}"));
        let expected = login.map(|login| format!("Basic {}", basic(login)));
        let (heads, open) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { expected, target, heads, open });
        let (accepting, all) = (listener.try_clone()?, shared.clone());
        thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let shared = all.clone();
                // A tunnel that breaks is seen by both of its ends.
                thread::spawn(move || shared.serve(stream));
            }
        });
        Ok(Self { listener, shared })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The heads of the requests that came, in order.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Speaks TLS on a free port, and passes what is in it on to a proxy. Returns the port.
pub(crate) fn in_tls(proxy: SocketAddr, tls: Arc<rustls::ServerConfig>) -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let acceptor = TlsAcceptor::from(Arc::clone(&tls));
            let carry = async move {
                let client = acceptor.accept(Async::new(client)?).await?;
                let proxy = Async::<TcpStream>::connect(proxy).await?;
                let (from_client, to_client) = split(client);
                let (from_proxy, to_proxy) = split(proxy);
                let back = copy(from_proxy, to_client);
                copy(from_client, to_proxy).or(back).await
            };
            // A client that refuses the certificate says so itself.
            thread::spawn(move || async_io::block_on(carry));
        }
    });
    Ok(port)
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        // It cannot fail on a listening socket; connections may have ended by themselves.
        let _awake = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        for stream in self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ended = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
        let given = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("proxy-authorization").then(|| value.trim().to_owned())
        });
        if !head.starts_with("CONNECT ") {
            return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n");
        }
        if self.expected.is_some() && self.expected != given {
            return client.write_all(
                b"HTTP/1.1 407 Proxy Authentication Required\r\n\
                  Proxy-Authenticate: Basic realm=\"proxy\"\r\nContent-Length: 0\r\n\r\n",
            );
        }
        let mut server = TcpStream::connect(self.target)?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\nX-Proxy: stand-in\r\n\r\n")?;
        {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.extend([client.try_clone()?, server.try_clone()?]);
        }
        let (mut up, mut down) = (client.try_clone()?, server.try_clone()?);
        let upward = thread::spawn(move || {
            let copied = io::copy(&mut up, &mut down);
            down.shutdown(Shutdown::Write).and(copied)
        });
        let copied = io::copy(&mut server, &mut client);
        client.shutdown(Shutdown::Write).and(copied)?;
        upward.join().map_or_else(|_| Ok(()), |copied| copied.map(drop))
    }
}
