//! The byte stream of one connection, plain or TLS, of a server or a client, with the traits that
//! hyper and a tunnel need.
//!
//! Reports events to its [`Observer`]. Knows no HTTP.

use std::io::{self, BufRead, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::{TlsAcceptor, TlsConnector, client, server};
use hyper::rt::ReadBufCursor;
use rustix::net::sockopt;
use rustls::{ClientConfig, Reader, ServerConfig, ServerConnection};
use rustls_pki_types::ServerName;

use super::below::Below;
use super::socket::Socket;
use super::{Observer, scratch};

/// How much TLS buffers for a slow reader.
const TLS_BACKLOG: usize = 16 * 1024;

/// A connection. Bytes that were put back are read first.
pub struct Stream {
    transport: Transport,
    early: Bytes,
}

enum Transport {
    Plain(Socket),
    Client(Box<client::TlsStream<Below>>),
    Server(Box<server::TlsStream<Socket>>),
}

trait Duplex: AsyncRead + AsyncWrite {}

impl<T: AsyncRead + AsyncWrite> Duplex for T {}

impl Stream {
    /// A connection without TLS, or before its handshake.
    pub(crate) fn plain(socket: Socket) -> Self {
        Self { transport: Transport::Plain(socket), early: Bytes::new() }
    }

    /// Performs the TLS handshake with a client. If it fails, the connection is returned after the
    /// alert for the client was written.
    pub(crate) async fn accept(
        socket: Socket,
        config: Arc<ServerConfig>,
    ) -> Result<Self, (io::Error, Self)> {
        let accept = TlsAcceptor::from(config)
            .accept_with(socket, |session| session.set_buffer_limit(Some(TLS_BACKLOG)));
        match accept.into_fallible().await {
            Ok(stream) => {
                let transport = Transport::Server(Box::new(stream));
                Ok(Self { transport, early: Bytes::new() })
            }
            Err((error, socket)) => Err((error, Self::plain(socket))),
        }
    }

    /// Performs the TLS handshake with the server of this name: over a socket, or over the TLS
    /// connection to a proxy.
    pub(crate) async fn connect(
        self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let below = match self.transport {
            Transport::Plain(socket) if self.early.is_empty() => Below::Socket(socket),
            Transport::Client(stream) if self.early.is_empty() => Below::Tls(stream),
            _ => return Err(io::Error::other("something else has begun on this connection")),
        };
        let connect = TlsConnector::from(config)
            .connect_with(name, below, |session| session.set_buffer_limit(Some(TLS_BACKLOG)));
        let stream = connect.await?;
        Ok(Self { transport: Transport::Client(Box::new(stream)), early: Bytes::new() })
    }

    /// Puts bytes in front of what will be read.
    pub(crate) fn put_back(&mut self, bytes: Bytes) {
        self.early = if self.early.is_empty() {
            bytes
        } else {
            let mut all = bytes.to_vec();
            all.extend_from_slice(&self.early);
            all.into()
        };
    }

    /// Whether no bytes were put back.
    pub(crate) fn is_drained(&self) -> bool {
        self.early.is_empty()
    }

    pub(crate) fn socket(&self) -> &Socket {
        match &self.transport {
            Transport::Plain(socket) => socket,
            Transport::Client(stream) => stream.get_ref().0.socket(),
            Transport::Server(stream) => stream.get_ref().0,
        }
    }

    /// The server's side of TLS, if this is one.
    pub(crate) fn session(&self) -> Option<&ServerConnection> {
        match &self.transport {
            Transport::Server(stream) => Some(stream.get_ref().1),
            Transport::Plain(_) | Transport::Client(_) => None,
        }
    }

    /// Makes the next read ask the kernel, which may have data that it has not reported yet.
    pub(crate) fn look_again(&mut self) {
        match &mut self.transport {
            Transport::Plain(socket) => socket.look_again(),
            Transport::Client(stream) => stream.get_mut().0.look_again(),
            Transport::Server(stream) => stream.get_mut().0.look_again(),
        }
    }

    /// Ends the connection with a reset, so that the peer notices it.
    pub(crate) fn reset(self) {
        let socket = self.socket();
        if let Err(error) = sockopt::set_socket_linger(socket.get_ref(), Some(Duration::ZERO)) {
            log::debug!("the connection is closed, not reset: {error}");
        }
    }

    /// Reads once into hyper's buffer, and returns how much.
    ///
    /// What came over TLS is copied from where it was decrypted. TLS only offers it after a read,
    /// for which the first byte is enough.
    pub(crate) fn receive(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.observer().holds_reads(self.is_between(), cx) {
            return Poll::Pending;
        }
        if !self.early.is_empty() || matches!(self.transport, Transport::Plain(_)) {
            return scratch::receive(self, cx, buffer);
        }
        let mut room = scratch::room(&buffer);
        let mut first = [0];
        let mut total = ready!(AsyncRead::poll_read(self.as_mut(), cx, &mut first))?;
        buffer.put_slice(&first[..total]);
        room -= total;
        let Some(mut decrypted) = self.decrypted() else { return Poll::Ready(Ok(total)) };
        // An error is that of the next read.
        while let Ok(chunk @ [_, ..]) = decrypted.fill_buf() {
            let count = chunk.len().min(room);
            if count == 0 {
                break;
            }
            buffer.put_slice(&chunk[..count]);
            decrypted.consume(count);
            room -= count;
            total += count;
        }
        Poll::Ready(Ok(total))
    }

    /// Whether TLS, if this is TLS, has nothing that is decrypted.
    fn is_between(&self) -> bool {
        self.session().is_none_or(|session| session.wants_read())
    }

    /// What TLS has to offer, if this is TLS.
    fn decrypted(&mut self) -> Option<Reader<'_>> {
        match &mut self.transport {
            Transport::Plain(_) => None,
            Transport::Client(stream) => Some(stream.get_mut().1.reader()),
            Transport::Server(stream) => Some(stream.get_mut().1.reader()),
        }
    }

    pub(crate) fn observer(&self) -> &dyn Observer {
        self.socket().observer()
    }

    fn transport(&mut self) -> Pin<&mut (dyn Duplex + '_)> {
        match &mut self.transport {
            Transport::Plain(socket) => Pin::<&mut Socket>::new(socket),
            Transport::Client(stream) => Pin::<&mut client::TlsStream<Below>>::new(stream),
            Transport::Server(stream) => Pin::<&mut server::TlsStream<Socket>>::new(stream),
        }
    }

    fn sent(&self, polled: Poll<io::Result<usize>>, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = polled {
            if self.observer().sent(bytes) {
                cx.waker().wake_by_ref();
            }
        }
        polled
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = if self.early.is_empty() {
            ready!(self.transport().poll_read(cx, buffer))?
        } else {
            let count = self.early.len().min(buffer.len());
            self.early.copy_to_slice(&mut buffer[..count]);
            count
        };
        if count > 0 {
            self.observer().received();
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = self.transport().poll_write(cx, buffer);
        self.sent(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.transport().poll_write_vectored(cx, buffers);
        self.sent(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.transport().poll_flush(cx))?;
        self.sent(Poll::Ready(Ok(0)), cx).map_ok(drop)
    }

    /// Ends TLS, if any, by `close_notify`, and shuts down only the sending half.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport().poll_close(cx)
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.receive(cx, buffer).map_ok(drop)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(self, cx, buffer)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_close(self, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write_vectored(self, cx, buffers)
    }
}
