//! A server with threads and blocking sockets, which behaves as each test needs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use super::SOON;

/// A server on loopback, gone with the process.
pub(super) struct Upstream {
    pub(super) port: u16,
    events: mpsc::Receiver<String>,
}

impl Upstream {
    /// `serve` has each connection to itself, with its number from 0, and tells what it saw.
    pub(super) fn new(
        serve: impl Fn(TcpStream, usize, &dyn Fn(&str)) + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, events) = mpsc::channel();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (serve, sender, stream) = (serve.clone(), sender.clone(), stream.unwrap());
                // An answer must not wait in the kernel for an acknowledgement: a reset drops it.
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(SOON)).unwrap();
                stream.set_write_timeout(Some(SOON)).unwrap();
                thread::spawn(move || {
                    serve(stream, number, &|event| drop(sender.send(event.to_owned())));
                });
            }
        });
        Self { port, events }
    }

    /// The next thing that was seen, from a task that must not block the client's thread.
    pub(super) async fn event(&mut self) -> String {
        loop {
            match self.events.try_recv() {
                Ok(event) => return event,
                Err(mpsc::TryRecvError::Empty) => {
                    async_io::Timer::after(std::time::Duration::from_millis(1)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next thing that was seen, while the client's thread does nothing at all.
    pub(super) fn event_meanwhile(&self) -> String {
        self.events.recv_timeout(SOON).unwrap()
    }
}

/// Reads up to the empty line; nothing when the client has closed.
pub(super) fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Answers every request on the connection with the number of the connection, and its head.
pub(super) fn echo(mut stream: impl Read + Write, number: usize) {
    loop {
        let head = read_head(&mut stream);
        if head.is_empty() {
            return;
        }
        let text = format!("{number} {head}");
        let length = text.len();
        if write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}").is_err() {
            return;
        }
    }
}
