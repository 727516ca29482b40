//! A connection upstream, adapted for hyper: the answer can be read even if upstream accepts no
//! more data.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;

use super::state::ConnectionState;
use crate::net::Stream;

/// A stream whose answer is still read to its end after writing has failed.
pub(super) struct HttpStream {
    stream: Stream,
    state: Arc<ConnectionState>,
    has_write_failed: bool,
}

impl HttpStream {
    pub(super) fn new(stream: Stream, state: Arc<ConnectionState>) -> Self {
        Self { stream, state, has_write_failed: false }
    }

    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Upstream may answer early and close before it has read everything: then writing fails
    /// while the answer waits to be read. hyper would throw the answer away, so it is told that the
    /// write is pending, and reading finds out how the connection ended.
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.has_write_failed {
            return Poll::Pending;
        }
        match ready!(write(Pin::new(&mut self.stream), cx)) {
            Ok(done) => Poll::Ready(Ok(done)),
            Err(error) => {
                self.note(&error);
                self.has_write_failed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// The kernel reports only once that the peer no longer answers; later reads see an ordinary
    /// end.
    fn note(&self, error: &io::Error) {
        use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
        if matches!(error.kind(), TimedOut | HostUnreachable | NetworkUnreachable) {
            self.state.time_out();
        }
    }
}

impl hyper::rt::Read for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper asks up to four times in a row; the task will be woken when there is more.
        if self.state.is_drained() {
            return Poll::Pending;
        }
        // Upstream may just have closed the connection; check before a request is sent that cannot
        // be sent twice.
        if self.state.must_look() {
            self.stream.look_again();
        }
        let polled = Pin::new(&mut self.stream).receive(cx, buffer);
        match &polled {
            Poll::Pending => self.state.drain(),
            Poll::Ready(Err(error)) => self.note(error),
            Poll::Ready(Ok(count)) if !self.state.allows(*count) => {
                let fault = "it sent too many interim responses";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
            }
            Poll::Ready(Ok(_)) => {}
        }
        polled.map_ok(drop)
    }
}

impl hyper::rt::Write for HttpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| AsyncWrite::poll_write(stream, cx, buffer))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| AsyncWrite::poll_write_vectored(stream, cx, buffers))
    }
}
