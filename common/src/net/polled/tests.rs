//! Sockets that are waited for.

use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt;
use futures_lite::future::{poll_once, yield_now};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};

use super::*;
use crate::tasks::unblock;

fn connected() -> (TcpStream, Polled<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (peer, Polled::new(listener.accept().unwrap().0).unwrap())
}

/// Runs the future for at most 10 s.
fn within<T>(future: impl Future<Output = T>) -> T {
    let late = async {
        Timer::after(Duration::from_secs(10)).await;
        panic!("nobody woke it");
    };
    block_on(future.or(late)).unwrap()
}

#[test]
fn who_waits_is_woken_by_the_socket_and_by_other_threads() {
    let (mut peer, polled) = connected();
    let (ask, asked) = mpsc::channel();
    let other = thread::spawn(move || {
        for _ in 0..200 {
            asked.recv().unwrap();
            peer.write_all(b"x").unwrap();
        }
    });
    within(async {
        for _ in 0..200 {
            assert!(poll_once(polled.read(&mut [0; 8])).await.is_none());
            ask.send(()).unwrap();
            assert_eq!(polled.read(&mut [0; 8]).await.unwrap(), 1);
            unblock(|| ()).await;
        }
    });
    other.join().unwrap();
}

#[test]
fn an_end_that_comes_with_the_last_data_is_read_after_it() {
    let (mut peer, polled) = connected();
    peer.write_all(b"last").unwrap();
    drop(peer);
    within(async {
        polled.readable().await;
        assert_eq!(polled.read(&mut [0; 8]).await.unwrap(), 4);
        polled.readable().await;
        assert_eq!(polled.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn who_cannot_write_waits_until_the_peer_reads() {
    let (mut peer, polled) = connected();
    let other = thread::spawn(move || {
        let mut content = Vec::new();
        peer.read_to_end(&mut content).unwrap();
        content.len()
    });
    const LENGTH: usize = 20 * 1024 * 1024;
    let content = vec![7; LENGTH];
    within(async {
        let mut left = &content[..];
        while !left.is_empty() {
            let write = poll_fn(|cx| polled.poll_write_with(cx, |mut s| s.write(left)));
            left = &left[write.await.unwrap()..];
        }
    });
    drop(polled);
    assert_eq!(other.join().unwrap(), LENGTH);
}

#[test]
fn a_socket_that_is_gone_is_forgotten() {
    let (_peer, polled) = connected();
    let poller = Arc::clone(&polled.poller);
    assert_eq!(poller.lock().readiness.len(), 1);
    drop(polled);
    assert!(poller.lock().readiness.is_empty());
}

#[test]
fn after_everything_was_taken_one_attempt_is_enough() {
    let (mut peer, polled) = connected();
    within(async {
        assert!(poll_once(polled.read(&mut [0; 8])).await.is_none());
        peer.write_all(b"x").unwrap();
        // The event is taken meanwhile.
        yield_now().await;
        assert_eq!(polled.read(&mut [0; 8]).await.unwrap(), 1);
        let mut attempts = 0;
        let read = polled.read_with(|mut stream| {
            attempts += 1;
            stream.read(&mut [0; 8])
        });
        assert!(poll_once(read).await.is_none());
        assert_eq!(attempts, 1);
    });
}

#[test]
fn an_accepted_connection_does_not_block_and_is_not_inherited() {
    let listener = Polled::new(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let peer = TcpStream::connect(listener.get_ref().local_addr().unwrap()).unwrap();
    let (accepted, address) = within(listener.accept()).unwrap();
    assert_eq!(address, peer.local_addr().unwrap());
    assert!(fcntl_getfl(&accepted).unwrap().contains(OFlags::NONBLOCK));
    assert!(fcntl_getfd(&accepted).unwrap().contains(FdFlags::CLOEXEC));
}
