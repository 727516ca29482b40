//! What a client's TLS connection runs over: a socket, or the TLS connection to a proxy. Only the
//! socket reports events.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::client::TlsStream;

use super::socket::Socket;

pub(super) enum Below {
    Socket(Socket),
    Tls(Box<TlsStream<Self>>),
}

impl Below {
    pub(super) fn socket(&self) -> &Socket {
        match self {
            Self::Socket(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0.socket(),
        }
    }

    pub(super) fn look_again(&mut self) {
        match self {
            Self::Socket(socket) => socket.look_again(),
            Self::Tls(stream) => stream.get_mut().0.look_again(),
        }
    }
}

impl AsyncRead for Below {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Below {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_write(cx, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buffer),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_write_vectored(cx, buffers),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, buffers),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_close(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_close(cx),
        }
    }
}
