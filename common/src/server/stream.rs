//! The stream of one connection, plain or TLS, as hyper and a tunnel want it.
//!
//! It notes in the [`Watch`] when bytes cross and when the peer is slow. It knows no HTTP.

use std::io::{self, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Async;
use bytes::{Buf, Bytes};
use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::server::TlsStream;
use rustix::net::sockopt;

use super::state::{Phase, Watch};
use crate::net::scratch;
use crate::net::socket::Socket;

/// One connection's bytes, first those that came early.
pub struct Wire {
    stream: Stream,
    early: Bytes,
    watch: Arc<Watch>,
}

enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Wire {
    pub(crate) fn plain(socket: Socket, watch: Arc<Watch>) -> Self {
        Self { stream: Stream::Plain(socket), early: Bytes::new(), watch }
    }

    pub(crate) fn tls(stream: TlsStream<Socket>, watch: Arc<Watch>) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), early: Bytes::new(), watch }
    }

    /// Puts bytes back in front of what will be read.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        self.early = bytes;
    }

    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    pub(crate) fn socket(&self) -> &Async<TcpStream> {
        match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Ends the connection without a goodbye, and so that the peer can tell.
    pub(crate) fn reset(self) {
        let socket = self.socket();
        if let Err(error) = sockopt::set_socket_linger(socket.get_ref(), Some(Duration::ZERO)) {
            log::debug!("the connection is closed in place of reset: {error}");
        }
    }

    /// Nothing that was read waits here to be parsed.
    pub(crate) fn is_drained(&self) -> bool {
        self.early.is_empty()
    }

    fn received(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.watch.progress();
        if matches!(self.watch.phase(), Phase::Silent | Phase::Idle) {
            self.watch.enter(Phase::Head);
        }
    }

    fn sent(&self, polled: &Poll<io::Result<usize>>, cx: &Context<'_>) {
        self.watch.writing(polled.is_pending());
        let Poll::Ready(sent) = polled else { return };
        self.watch.progress();
        if sent.as_ref().is_ok_and(|bytes| self.watch.sent(*bytes)) {
            cx.waker().wake_by_ref();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = if this.early.is_empty() {
            ready!(match &mut this.stream {
                Stream::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
                Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            })?
        } else {
            let count = this.early.len().min(buffer.len());
            this.early.copy_to_slice(&mut buffer[..count]);
            count
        };
        this.received(count);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = match &mut this.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buffer),
        };
        this.sent(&polled, cx);
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = match &mut this.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, buffers),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
        };
        this.sent(&polled, cx);
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = match &mut this.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        this.watch.writing(polled.is_pending());
        polled
    }

    /// Says goodbye (`close_notify` over TLS) and shuts down the sending half alone.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Poll::Ready(socket.get_ref().shutdown(Shutdown::Write)),
            Stream::Tls(stream) => {
                ready!(Pin::new(&mut *stream).poll_close(cx))?;
                Poll::Ready(stream.get_ref().0.get_ref().shutdown(Shutdown::Write))
            }
        }
    }
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        scratch::receive(self, cx, buffer)
    }
}

impl hyper::rt::Write for Wire {
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
