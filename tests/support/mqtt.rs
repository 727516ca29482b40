//! As much of an MQTT 3.1.1 client as the far end of a bridge needs: connect, subscribe, publish,
//! acknowledge. Blocking, over TCP, for a broker on the same machine.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A message that came for a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retained: bool,
}

/// A connection to the broker.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    last: u16,
    sent: Instant,
}

impl Client {
    /// Connects with a clean session.
    pub(crate) fn connect(broker: SocketAddr, name: &str) -> io::Result<Self> {
        let limit = Duration::from_secs(5);
        let stream = TcpStream::connect_timeout(&broker, limit)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        let mut client = Self { stream, buffer: Vec::new(), last: 0, sent: Instant::now() };
        let mut body = text("MQTT");
        body.extend_from_slice(&[4, 2, 0, 60]);
        body.extend(text(name));
        client.write(0x10, &body)?;
        match client.packet()? {
            Some((0x20, answer)) if answer.get(1) == Some(&0) => Ok(client),
            other => Err(io::Error::other(format!("the broker refuses: {other:?}"))),
        }
    }

    /// Subscribes and waits until the broker has acknowledged it.
    pub(crate) fn subscribe(&mut self, topic: &str) -> io::Result<()> {
        self.last += 1;
        let mut body = self.last.to_be_bytes().to_vec();
        body.extend(text(topic));
        body.push(1);
        self.write(0x82, &body)?;
        match self.packet()? {
            Some((0x90, answer)) if answer.get(2).is_some_and(|code| *code < 0x80) => Ok(()),
            other => Err(io::Error::other(format!("no subscription: {other:?}"))),
        }
    }

    /// Publishes with QoS 0.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) -> io::Result<()> {
        let mut body = text(topic);
        body.extend_from_slice(payload);
        self.write(0x30, &body)
    }

    /// The next message, if one comes within `time`; pings are seen to meanwhile.
    pub(crate) fn receive(&mut self, time: Duration) -> io::Result<Option<Message>> {
        if self.sent.elapsed() > Duration::from_secs(20) {
            self.write(0xc0, &[])?;
        }
        self.stream.set_read_timeout(Some(time))?;
        let Some((kind, body)) = self.packet()? else { return Ok(None) };
        if kind & 0xf0 != 0x30 {
            return Ok(None);
        }
        let malformed = || io::Error::other("the broker sends a malformed PUBLISH");
        let length = body.first_chunk().map(|two| usize::from(u16::from_be_bytes(*two)));
        let mut at = 2 + length.ok_or_else(malformed)?;
        let topic = String::from_utf8_lossy(body.get(2..at).ok_or_else(malformed)?).into_owned();
        let qos = (kind >> 1) & 3;
        if qos > 0 {
            let id = body.get(at..at + 2).ok_or_else(malformed)?.to_vec();
            at += 2;
            self.write(0x40, &id)?;
        }
        let payload = body[at..].to_vec();
        Ok(Some(Message { topic, payload, qos, retained: kind & 1 == 1 }))
    }

    /// One packet, its first byte and what follows its length; `None` if none comes in time.
    fn packet(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        loop {
            if let Some((kind, at, length)) = measure(&self.buffer) {
                if self.buffer.len() >= at + length {
                    let body = self.buffer[at..at + length].to_vec();
                    self.buffer.drain(..at + length);
                    return Ok(Some((kind, body)));
                }
            }
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.buffer.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let mut packet = vec![kind];
        let mut length = body.len();
        loop {
            let more = if length > 0x7f { 0x80 } else { 0 };
            packet.push(u8::try_from(length & 0x7f).unwrap_or(0) | more);
            length >>= 7;
            if length == 0 {
                break;
            }
        }
        packet.extend_from_slice(body);
        self.sent = Instant::now();
        self.stream.write_all(&packet)
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// First byte, where the body starts, and its length, if the buffer tells them already.
fn measure(buffer: &[u8]) -> Option<(u8, usize, usize)> {
    let (mut length, mut shift) = (0, 0);
    for (at, byte) in buffer.iter().enumerate().skip(1).take(4) {
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some((buffer[0], at + 1, length));
        }
    }
    None
}
