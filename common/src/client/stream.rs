//! A connection upstream as hyper wants it, which survives that upstream stops to listen.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;

use super::state::Pulse;
use crate::net::{Stream, scratch};

/// A stream that has an answer read to its end when writing has failed.
pub(super) struct Wire {
    stream: Stream,
    pulse: Arc<Pulse>,
    /// The connection takes nothing more, but may still have something to say.
    deaf: bool,
}

impl Wire {
    pub(super) fn new(stream: Stream, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse, deaf: false }
    }

    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Upstream may answer early and close before it has read everything: then writing fails
    /// while the answer waits to be read. So a failed write is not an error to hyper, which would
    /// throw the answer away, but a write that never ends, and reading finds out the rest.
    fn outlive<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.deaf {
            return Poll::Pending;
        }
        match ready!(write(Pin::new(&mut self.stream), cx)) {
            Ok(done) => Poll::Ready(Ok(done)),
            Err(_) => {
                self.deaf = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
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
        // Upstream may have closed it a moment ago: to be known before a request is sent in vain.
        if self.pulse.has_just_begun() {
            self.stream.look_again();
        }
        let polled = scratch::receive(Pin::new(&mut self.stream), cx, buffer);
        if polled.is_pending() {
            self.pulse.run_dry();
        }
        polled
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outlive(cx, |stream, cx| AsyncWrite::poll_write(stream, cx, buffer))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outlive(cx, AsyncWrite::poll_flush)
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
        self.outlive(cx, |stream, cx| AsyncWrite::poll_write_vectored(stream, cx, buffers))
    }
}
