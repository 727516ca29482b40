//! The stream of one connection upstream, plain or TLS, as hyper and a tunnel want it.
//!
//! It knows no HTTP.

use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_io::Async;
use bytes::{Buf, Bytes};
use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use rustls_pki_types::ServerName;

use super::state::{Limits, Pulse};
use crate::net::{scratch, socket};

/// A connected socket that notes what it does.
pub(super) struct Socket {
    stream: socket::Socket,
    pulse: Arc<Pulse>,
}

impl Socket {
    pub(super) fn new(stream: Async<TcpStream>, limits: Limits) -> Self {
        let stream = socket::Socket::new(stream);
        Self { stream, pulse: Arc::new(Pulse::new(limits)) }
    }

    fn note_read<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &polled {
            Poll::Ready(_) => self.pulse.progress(),
            Poll::Pending => self.pulse.waits_to_read(),
        }
        polled
    }

    fn note_write<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &polled {
            Poll::Ready(_) => self.pulse.progress(),
            Poll::Pending => self.pulse.waits_to_write(),
        }
        polled
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        // Upstream may have closed it a moment ago: to be known before a request is sent in vain.
        if self.pulse.has_just_begun() {
            self.stream.look_again();
        }
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.note_read(polled)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buffer);
        self.note_write(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.note_write(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// One connection's bytes.
pub(super) struct Wire {
    stream: Stream,
    pulse: Arc<Pulse>,
    /// The connection takes nothing more, but may still have something to say.
    deaf: bool,
}

enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Wire {
    pub(super) fn plain(socket: Socket) -> Self {
        Self { pulse: Arc::clone(&socket.pulse), stream: Stream::Plain(socket), deaf: false }
    }

    /// Agrees on TLS with whom the socket leads to.
    pub(super) async fn secure(
        self,
        config: Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let Stream::Plain(socket) = self.stream else {
            return Err(io::Error::other("TLS within TLS"));
        };
        let stream = TlsConnector::from(config).connect(name, socket).await?;
        Ok(Self { stream: Stream::Tls(Box::new(stream)), pulse: self.pulse, deaf: false })
    }

    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut (dyn Duplex + '_)> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::<&mut Socket>::new(socket),
            Stream::Tls(stream) => Pin::<&mut TlsStream<Socket>>::new(stream),
        }
    }

    /// Upstream may answer early and close before it has read everything: then writing fails
    /// while the answer waits to be read. So a failed write is not an error to hyper, which would
    /// throw the answer away, but a write that never ends, and reading finds out the rest.
    fn outlive<T>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut (dyn Duplex + '_)>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.deaf {
            return Poll::Pending;
        }
        match ready!(write(self.as_mut().stream(), cx)) {
            Ok(done) => Poll::Ready(Ok(done)),
            Err(_) => {
                self.deaf = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

trait Duplex: AsyncRead + AsyncWrite {}

impl<T: AsyncRead + AsyncWrite> Duplex for T {}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let pulse = Arc::clone(&self.pulse);
        let count = ready!(self.stream().poll_read(cx, buffer))?;
        if count > 0 {
            pulse.answer();
        }
        Poll::Ready(Ok(count))
    }
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper asks up to four times in one go; the task has been promised to be woken.
        if self.pulse.is_dry() {
            return Poll::Pending;
        }
        let polled = scratch::receive(self.as_mut(), cx, buffer);
        if polled.is_pending() {
            self.pulse.run_dry();
        }
        polled
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outlive(cx, |stream, cx| stream.poll_write(cx, buffer))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outlive(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outlive(cx, |stream, cx| stream.poll_write_vectored(cx, buffers))
    }
}

/// A connection that upstream has switched to another protocol, first the bytes that came early.
pub struct Upgraded {
    wire: Wire,
    early: Bytes,
}

impl Upgraded {
    pub(super) fn new(wire: Wire, early: Bytes) -> Self {
        Self { wire, early }
    }

    /// The connection, where nothing has come yet.
    pub(super) fn into_wire(self) -> io::Result<Wire> {
        if self.early.is_empty() {
            Ok(self.wire)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "bytes come before they are asked for"))
        }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut (dyn Duplex + '_)> {
        Pin::new(&mut self.get_mut().wire).stream()
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.early.is_empty() {
            return self.stream().poll_read(cx, buffer);
        }
        let count = self.early.len().min(buffer.len());
        self.early.copy_to_slice(&mut buffer[..count]);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, buffers)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    /// Says goodbye (`close_notify` over TLS) and shuts down the sending half alone.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_close(cx)
    }
}
