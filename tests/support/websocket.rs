//! WebSocket frames (RFC 6455), for the cloud's side and for a client that tests what is between.

use std::io::{self, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

/// What a frame is, by its opcode.
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) last: bool,
    pub(crate) opcode: u8,
    pub(crate) masked: bool,
    pub(crate) payload: Vec<u8>,
}

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
pub(crate) fn accept(key: &[u8]) -> String {
    let mut text = key.to_vec();
    text.extend_from_slice(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text))
}

/// The bytes of a frame; a client's are masked.
pub(crate) fn encode(opcode: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    bytes.push(0x80 | opcode);
    let mask_bit = if masked { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..=125 => bytes.push(mask_bit | u8::try_from(length).unwrap_or(125)),
        length @ 126..=0xffff => {
            bytes.push(mask_bit | 126);
            bytes.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
        length => {
            bytes.push(mask_bit | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    if masked {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        bytes.extend_from_slice(payload);
    }
    bytes
}

/// Takes one frame off the front of what was read; `None` until it is there whole.
pub(crate) fn decode(bytes: &mut Vec<u8>) -> Option<Frame> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, mut at) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        length => (u64::from(length), 2),
    };
    let length = usize::try_from(length).ok()?;
    let masked = second & 0x80 != 0;
    let mask: [u8; 4] = if masked {
        at += 4;
        bytes.get(at - 4..at)?.try_into().ok()?
    } else {
        [0; 4]
    };
    let payload = bytes.get(at..at.checked_add(length)?)?;
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    bytes.drain(..at + length);
    Some(Frame { last: first & 0x80 != 0, opcode: first & 0x0f, masked, payload })
}

/// A client on a connection that is open already.
pub(crate) struct Client<S> {
    stream: S,
    buffer: Vec<u8>,
    /// The head of the answer to the handshake.
    pub(crate) answer: String,
}

impl<S: Read + Write> Client<S> {
    /// Asks for a WebSocket and returns the client, open if the answer is a 101.
    ///
    /// `fields` are whole lines, each ending in `\r\n`.
    pub(crate) fn ask(mut stream: S, target: &str, fields: &str) -> io::Result<Self> {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\
             {fields}\r\n"
        )?;
        let mut client = Self { stream, buffer: Vec::new(), answer: String::new() };
        let end = loop {
            if let Some(at) = client.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            client.fill()?;
        };
        client.answer = String::from_utf8_lossy(&client.buffer[..end]).into_owned();
        client.buffer.drain(..end);
        if client.is_open() && !client.answer.contains(&accept(key.as_bytes())) {
            return Err(io::Error::other(format!("not an answer to our key: {}", client.answer)));
        }
        Ok(client)
    }

    /// Whether the answer to the handshake was a 101.
    pub(crate) fn is_open(&self) -> bool {
        self.answer.starts_with("HTTP/1.1 101 ")
    }

    /// Sends one frame.
    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&encode(opcode, payload, true))
    }

    /// Waits for one frame.
    pub(crate) fn receive(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = decode(&mut self.buffer) {
                return Ok(frame);
            }
            self.fill()?;
        }
    }

    /// Waits for that many bytes of what is no frame.
    pub(crate) fn receive_bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.fill()?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// The connection below.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => {
                self.buffer.extend_from_slice(&piece[..length]);
                Ok(())
            }
        }
    }
}
