//! The rest of a large body of a request, which is read from its connection directly, without hyper.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::io::{Errno, ioctl_fionread};

use crate::net::{Stream, scratch};
use crate::storage::Pipe;

/// The part of a body that has not been read. It is in the extensions of the request.
pub struct Unread(Mutex<Inner>);

struct Inner {
    /// The connection, once hyper has returned it.
    stream: Option<Stream>,
    left: u64,
    is_begun: bool,
    /// All that hyper had read of the body was passed on.
    is_direct: bool,
    /// The kernel cannot move the next bytes.
    must_read: bool,
}

impl Unread {
    /// A body of `length` bytes.
    pub(crate) fn new(length: u64) -> Self {
        Self(Mutex::new(Inner {
            stream: None,
            left: length,
            is_begun: false,
            is_direct: false,
            must_read: false,
        }))
    }

    /// hyper has read so many bytes of it.
    pub(crate) fn subtract(&self, count: usize) {
        let mut inner = self.lock();
        inner.left -= count as u64;
        inner.is_begun = true;
    }

    pub(crate) fn is_begun(&self) -> bool {
        self.lock().is_begun
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().left == 0
    }

    /// Lends the connection to the body.
    pub(crate) fn lend(&self, stream: Stream) {
        self.lock().stream = Some(stream);
    }

    pub(crate) fn is_lent(&self) -> bool {
        self.lock().stream.is_some()
    }

    /// The connection, if it was lent.
    pub(crate) fn take_back(&self) -> Option<Stream> {
        self.lock().stream.take()
    }

    /// The next bytes, after those that hyper has read. `None` at the end.
    pub(crate) fn poll_chunk(&self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let mut inner = self.lock();
        let Inner { stream: Some(stream), left: left @ 1.., is_direct, .. } = &mut *inner else {
            return Poll::Ready(None);
        };
        *is_direct = true;
        if stream.observer().holds_reads(true, cx) {
            return Poll::Pending;
        }
        let chunk = ready!(scratch::chunk(Pin::new(stream), cx, *left))?;
        if chunk.is_empty() {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        *left -= chunk.len() as u64;
        Poll::Ready(Some(Ok(chunk)))
    }

    /// Whether the next bytes are in the socket, or still to arrive there.
    pub fn is_in_socket(&self) -> bool {
        let inner = self.lock();
        inner.is_direct && !inner.must_read && inner.stream.as_ref().is_some_and(Stream::is_drained)
    }

    /// Moves the next bytes into the empty pipe, until it holds enough or all of them. Returns how
    /// many it holds; 0 if the next bytes have to be read.
    ///
    /// Call it only if the next bytes are in the socket.
    pub async fn fill(&self, pipe: &Pipe) -> usize {
        let mut held = 0;
        poll_fn(|cx| self.poll_fill(cx, pipe, &mut held)).await;
        held
    }

    fn poll_fill(&self, cx: &mut Context<'_>, pipe: &Pipe, held: &mut usize) -> Poll<()> {
        /// Each write runs on another thread, so fewer are faster.
        const ENOUGH: usize = 512 * 1024;
        let mut inner = self.lock();
        let Inner { stream: Some(stream), left, must_read, .. } = &mut *inner else {
            return Poll::Ready(());
        };
        stream.observer().waits_for_body(false);
        // The next read is to ask the kernel.
        stream.look_again();
        let socket = stream.socket();
        while *left > 0 && *held < ENOUGH {
            // The kernel moves nothing beyond urgent data, which a read skips.
            if socket.stops_early() {
                *must_read = true;
                break;
            }
            match pipe.fill(&**socket, *left) {
                Ok(count @ 1..) => {
                    *held += count;
                    *left -= count as u64;
                    stream.observer().moved(count);
                }
                Err(Errno::AGAIN) => {
                    // The pipe is full of small pieces.
                    if ioctl_fionread(&**socket).is_ok_and(|waiting| waiting > 0) {
                        break;
                    }
                    if socket.poll_readable(cx).is_pending() {
                        stream.observer().waits_to_read();
                        stream.observer().waits_for_body(true);
                        return Poll::Pending;
                    }
                }
                // The next read finds out why.
                Ok(_) | Err(_) => {
                    *must_read = true;
                    break;
                }
            }
        }
        Poll::Ready(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
