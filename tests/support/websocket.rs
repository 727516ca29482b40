//! A WebSocket client. The handshake is written here, so that a test sees whatever the answer is;
//! the frames are tungstenite's.

use std::io;
use std::net::TcpStream;

use tungstenite::Message;
use tungstenite::protocol::Role;

use super::answer::Answer;
use super::client::Client;
use super::cloud::accept;

/// The answer to a request for a WebSocket, and the WebSocket if it was a 101.
pub(crate) struct WebSocket {
    /// The answer to the handshake.
    pub(crate) answer: Answer,
    frames: tungstenite::WebSocket<Client>,
}

impl WebSocket {
    /// Asks for a WebSocket; `fields` are whole lines, each with its CRLF.
    pub(crate) fn ask(mut client: Client, target: &str, fields: &str) -> io::Result<Self> {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\
             {fields}\r\n"
        ))?;
        let answer = client.answer_to("GET")?;
        if answer.status == 101 {
            assert_eq!(answer.field("sec-websocket-accept"), Some(&*accept(key.as_bytes())));
        }
        Ok(Self { answer, frames: over(client) })
    }

    /// Whether the answer to the handshake was a 101.
    pub(crate) fn is_open(&self) -> bool {
        self.answer.status == 101
    }

    /// Sends one message.
    pub(crate) fn send(&mut self, message: impl Into<Message>) -> tungstenite::Result<()> {
        self.frames.send(message.into())
    }

    /// Waits for one message.
    pub(crate) fn receive(&mut self) -> tungstenite::Result<Message> {
        self.frames.read()
    }

    /// Sends a text and waits until it comes back.
    pub(crate) fn echo(&mut self, text: &str) {
        self.send(text).unwrap();
        assert_eq!(self.receive().unwrap(), Message::text(text));
    }

    /// The TCP connection below.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.frames.get_ref().socket()
    }
}

/// Frames of a client over a connection on which the handshake is done.
pub(crate) fn over<S: io::Read + io::Write>(stream: S) -> tungstenite::WebSocket<S> {
    tungstenite::WebSocket::from_raw_socket(stream, Role::Client, None)
}
