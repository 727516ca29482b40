//! The buffer into which a socket is read before hyper gets the data.
//!
//! hyper provides uninitialised memory. Copying the data into it is as fast as zeroing it first,
//! and needs no `unsafe`. One buffer serves all connections of a thread.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_io::AsyncRead;
use hyper::rt::ReadBufCursor;

use super::load;

/// The most that hyper asks for.
const LARGE: usize = 32 * 1024;
/// hyper begins with a buffer of 8 KiB and doubles it when a read has filled it. While many
/// connections are busy a read never does, so that a body takes no more than two such buffers.
const SMALL: usize = 8 * 1024 - 1;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; LARGE].into());
}

/// Reads once from the stream into hyper's buffer, and returns how much. The stream must not call
/// this function.
pub(crate) fn receive(
    stream: Pin<&mut impl AsyncRead>,
    cx: &mut Context<'_>,
    mut buffer: ReadBufCursor<'_>,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let room = room(&buffer);
        let count = ready!(stream.poll_read(cx, &mut scratch[..room]))?;
        buffer.put_slice(&scratch[..count]);
        Poll::Ready(Ok(count))
    })
}

/// Reads once from the stream, at most `most` bytes. The stream must not call this function.
pub(crate) fn chunk(
    stream: Pin<&mut impl AsyncRead>,
    cx: &mut Context<'_>,
    most: u64,
) -> Poll<io::Result<Bytes>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let room = most.min(limit() as u64) as usize;
        let count = ready!(stream.poll_read(cx, &mut scratch[..room]))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(&scratch[..count])))
    })
}

/// How much may be read at once into hyper's buffer.
pub(crate) fn room(buffer: &ReadBufCursor<'_>) -> usize {
    buffer.remaining().min(limit())
}

fn limit() -> usize {
    if load::is_light() { LARGE } else { SMALL }
}
