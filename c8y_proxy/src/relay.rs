//! Carries bytes between two connections in both directions, unchanged, until both sides have
//! ended.
//!
//! Each direction reads only after its data is written: a slow reader slows the writer down and
//! costs no memory. A quiet connection holds no buffer. It knows no protocol.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_io::Timer;
use bytes::{Buf, Bytes};
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};

/// The size of one read, and the maximum that each direction holds.
const PIECE: usize = 8 * 1024;

/// How many pieces are carried in one direction before other tasks run.
const TURN: usize = 32;

/// After one side has ended, the other may be silent this long before the connection is dropped.
const HALF_CLOSED_LIMIT: Duration = Duration::from_secs(60);

/// Carries bytes until both sides have closed, or one of them fails. `poll_close` must shut down
/// only the sending half.
///
/// The end of one side's data is passed on to the other side, which may continue to send. While
/// both may send, there is no limit for silence.
///
/// # Errors
///
/// The first error of a read or a write on either side. Both connections are then dropped.
pub(crate) async fn relay<A, B>(mut a: A, mut b: B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut there, mut back) = (Direction::default(), Direction::default());
    let mut deadline = Timer::never();
    std::future::poll_fn(|cx| {
        let moved = there.moved + back.moved;
        let ended = there.ended || back.ended;
        let done =
            there.poll(cx, &mut a, &mut b)?.is_ready() & back.poll(cx, &mut b, &mut a)?.is_ready();
        if done {
            return Poll::Ready(Ok(()));
        }
        if there.ended || back.ended {
            if !ended || there.moved + back.moved != moved {
                deadline.set_at(Instant::now() + HALF_CLOSED_LIMIT);
            }
            ready!(deadline.poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    })
    .await
}

#[derive(Default)]
struct Direction {
    /// The bytes that were read and not yet written.
    left: Bytes,
    /// Whether bytes were written and perhaps not flushed.
    unflushed: bool,
    /// Whether the reader has ended.
    ended: bool,
    closed: bool,
    /// Pieces read so far.
    moved: u64,
}

impl Direction {
    /// Ready when everything is written and the end is passed on to the other side.
    fn poll<A, B>(&mut self, cx: &mut Context<'_>, from: &mut A, to: &mut B) -> Poll<io::Result<()>>
    where
        A: AsyncRead + Unpin,
        B: AsyncWrite + Unpin,
    {
        let mut piece = [0; PIECE];
        for _ in 0..TURN {
            while !self.left.is_empty() {
                let count = ready!(Pin::new(&mut *to).poll_write(cx, &self.left))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.left.advance(count);
                self.unflushed = true;
            }
            if self.closed {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_close(cx))?;
                self.closed = true;
                return Poll::Ready(Ok(()));
            }
            match Pin::new(&mut *from).poll_read(cx, &mut piece)? {
                Poll::Ready(0) => self.ended = true,
                Poll::Ready(count) => {
                    self.moved += 1;
                    self.left = Bytes::copy_from_slice(&piece[..count]);
                }
                Poll::Pending => {
                    if self.unflushed {
                        ready!(Pin::new(&mut *to).poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_net::unix::UnixStream as End;
    use futures_lite::{AsyncReadExt, AsyncWriteExt, future};

    /// Runs `talk` on the outer ends of a tunnel, and returns how the tunnel ended.
    fn tunnel<F: Future<Output = ()>>(talk: impl FnOnce(End, End) -> F) -> io::Result<()> {
        let (client, ours) = End::pair().unwrap();
        let (upstream, theirs) = End::pair().unwrap();
        let carried = relay(ours, theirs);
        let talked = async {
            talk(client, upstream).await;
            future::pending().await
        };
        let late = async {
            Timer::after(Duration::from_secs(20)).await;
            panic!("the tunnel did not end");
        };
        future::block_on(carried.or(talked).or(late))
    }

    #[test]
    fn carries_bytes_both_ways_and_passes_on_the_end() {
        let ended = tunnel(|mut client, mut upstream| async move {
            client.write_all(b"ping").await.unwrap();
            let mut four = [0; 4];
            upstream.read_exact(&mut four).await.unwrap();
            assert_eq!(&four, b"ping");

            client.close().await.unwrap();
            assert_eq!(upstream.read(&mut four).await.unwrap(), 0);
            upstream.write_all(b"last words").await.unwrap();
            upstream.close().await.unwrap();
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"last words");
        });
        ended.unwrap();
    }

    #[test]
    fn loses_nothing_to_a_slow_reader() {
        let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        let expected = sent.clone();
        let ended = tunnel(|mut client, mut upstream| async move {
            let write = async {
                client.write_all(&sent).await.unwrap();
                client.close().await.unwrap();
            };
            let read = async {
                let mut received = Vec::new();
                let mut piece = [0; 1000];
                while let count @ 1.. = upstream.read(&mut piece).await.unwrap() {
                    received.extend_from_slice(&piece[..count]);
                    future::yield_now().await;
                }
                upstream.close().await.unwrap();
                received
            };
            let (_, received) = future::zip(write, read).await;
            assert!(received == expected);
        });
        ended.unwrap();
    }

    #[test]
    fn a_side_that_goes_takes_the_other_along() {
        let ended = tunnel(|mut client, upstream| async move {
            drop(upstream);
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            assert!(rest.is_empty());
            let _ = client.write_all(b"too late").await;
        });
        assert!(ended.is_err());
    }
}
