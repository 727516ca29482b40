//! A TCP socket that is read only when it may have data.
//!
//! hyper and TLS poll for data again and again, and each poll without data costs a system call.
//! After the kernel has reported that there is none, the socket waits for its next event.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Deref;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;

use super::{Arrival, Observer, Polled};

/// The only reader of its stream.
pub(crate) struct Socket {
    stream: Arc<Polled<TcpStream>>,
    observer: Arc<dyn Observer>,
    /// The last read found nothing, and the socket waits for its next event.
    is_dry: bool,
}

impl Socket {
    pub(crate) fn new(stream: Arc<Polled<TcpStream>>, observer: Arc<dyn Observer>) -> Self {
        Self { stream, observer, is_dry: false }
    }

    pub(crate) fn observer(&self) -> &dyn Observer {
        &*self.observer
    }

    /// The socket itself, to inspect it.
    pub(crate) fn handle(&self) -> Arc<Polled<TcpStream>> {
        Arc::clone(&self.stream)
    }

    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.observer.waits_to_write(polled.is_pending());
        if let Poll::Ready(Ok(count)) = polled {
            self.observer.moved(count);
        }
        polled
    }

    /// Makes the next read ask the kernel, which may have data that it has not reported yet.
    pub(crate) fn look_again(&mut self) {
        self.is_dry = false;
    }
}

/// Lets the kernel end a connection whose peer acknowledges nothing: a probe after 30 s of silence,
/// three in all, 10 s apart. Accepted sockets inherit this from the listener. If the kernel
/// refuses, connections work without it.
pub(crate) fn keep_alive(socket: &impl AsFd) {
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, Duration::from_secs(30));
    let _ = sockopt::set_tcp_keepintvl(socket, Duration::from_secs(10));
    let _ = sockopt::set_tcp_keepcnt(socket, 3);
}

/// Whether the peer has closed the connection, or only its sending half.
pub(crate) fn has_peer_closed(socket: &impl AsFd) -> bool {
    let closed = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    let mut asked = [PollFd::new(socket, closed)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().intersects(closed)
}

impl Deref for Socket {
    type Target = Polled<TcpStream>;

    fn deref(&self) -> &Self::Target {
        &self.stream
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            if this.is_dry {
                if this.stream.poll_readable(cx).is_pending() {
                    this.observer.waits_to_read();
                    return Poll::Pending;
                }
                this.is_dry = false;
            } else {
                // What is read may have been sent after the events that were reported last.
                this.stream.forget_readable();
                Arrival::begin();
            }
            match this.stream.get_ref().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => this.is_dry = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => {
                    // Fewer bytes than the buffer holds: no more have arrived.
                    this.is_dry = matches!(outcome, Ok(count @ 1..) if count < buffer.len())
                        && !this.stream.stops_early();
                    if let Ok(count @ 1..) = outcome {
                        this.observer.moved(count);
                    }
                    return Poll::Ready(outcome);
                }
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = self.stream.poll_write_with(cx, |mut stream| stream.write(buffer));
        self.wrote(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.stream.poll_write_with(cx, |mut stream| stream.write_vectored(buffers));
        self.wrote(polled)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Shuts down only the sending half.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::TcpListener;

    use futures_lite::future::poll_once;
    use futures_lite::{AsyncReadExt, FutureExt};

    use super::super::block_on;
    use super::*;

    fn connected() -> (TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (
            peer,
            Socket::new(Arc::new(Polled::new(listener.accept().unwrap().0).unwrap()), Arc::new(())),
        )
    }

    #[test]
    fn what_comes_after_nothing_came_is_read() {
        let (mut peer, mut socket) = connected();
        block_on(async {
            let mut buffer = [0; 4];
            for round in 0..100 {
                for _ in 0..2 {
                    assert!(poll_once(socket.read(&mut buffer)).await.is_none());
                    assert!(socket.is_dry);
                }
                peer.write_all(&[round]).unwrap();
                assert_eq!(socket.read(&mut buffer).await.unwrap(), 1);
                assert_eq!(buffer[0], round);
            }
            drop(peer);
            assert_eq!(socket.read(&mut buffer).await.unwrap(), 0);
        })
        .unwrap();
    }

    #[test]
    fn what_comes_after_urgent_data_is_read() {
        let (mut peer, mut socket) = connected();
        peer.write_all(b"before").unwrap();
        rustix::net::send(&peer, b"!", rustix::net::SendFlags::OOB).unwrap();
        peer.write_all(b"after").unwrap();
        block_on(async {
            let mut buffer = [0; 64];
            socket.stream.readable().await;
            assert_eq!(socket.read(&mut buffer).await.unwrap(), 6);
            assert_eq!(socket.read(&mut buffer).await.unwrap(), 5);
            assert!(poll_once(socket.read(&mut buffer)).await.is_none());
        })
        .unwrap();
    }

    #[test]
    fn what_is_read_without_an_event_may_be_newer_than_the_last_check() {
        let (mut peer, mut socket) = connected();
        let checked = Arrival::last();
        peer.write_all(b"sent after the check").unwrap();
        block_on(async { socket.read(&mut [0; 64]).await.unwrap() }).unwrap();
        assert_ne!(Arrival::last(), checked);
    }

    #[test]
    fn who_asked_last_is_woken() {
        let (mut peer, mut socket) = connected();
        block_on(async {
            let mut buffer = [0; 4];
            assert!(poll_once(socket.read(&mut buffer)).await.is_none());
            let read = poll_fn(|cx| Pin::new(&mut socket).poll_read(cx, &mut buffer));
            let write = async {
                peer.write_all(b"late").unwrap();
                std::future::pending().await
            };
            assert_eq!(read.or(write).await.unwrap(), 4);
        })
        .unwrap();
    }
}
