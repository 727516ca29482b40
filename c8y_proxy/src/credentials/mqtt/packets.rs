//! Checks the fixed header of each packet from the broker (MQTT 3.1.1, 2.2), and the topic of each
//! message, as the bytes pass. It checks nothing else in a packet. The MQTT client is written in C,
//! and would read beyond the end of a short packet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

/// QoS 1, at least once: a message is lost only if the connection is lost, and is then requested
/// again.
pub(super) const QOS: i32 = 1;

/// The longest packet that is passed on, without its fixed header.
pub(super) const LONGEST: u32 = 16 * 1024;

/// The type of a packet that carries a message.
const PUBLISH: u8 = 3;

/// The shortest packet of this type. All types except PINGRESP contain a packet identifier or a
/// code, and SUBACK contains both.
fn shortest(kind: u8) -> u32 {
    match kind {
        2 | PUBLISH..=7 | 11 => 2,
        9 => 3,
        _ => 0,
    }
}

/// Why a broker's packet is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPacket {
    #[error("it sent a packet of {0} bytes; the limit is {LONGEST}")]
    TooLong(u32),
    /// The client keeps such a message until the broker releases it, which may never happen.
    #[error("it sent a message with QoS 2, but the subscription is for QoS 1")]
    Qos2,
    /// The client ends the process if it receives such a topic.
    #[error("it sent a message with an invalid topic")]
    Topic,
    #[error("it sent data that is not MQTT")]
    Malformed,
}

/// A stream from the broker that fails when a packet is announced that must not be read.
pub(super) struct Checked<S> {
    stream: S,
    position: PacketState,
    /// The length and the topic of the current message, as far as they have arrived.
    topic: Vec<u8>,
}

/// The position of the stream in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PacketState {
    Type,
    /// In the fixed header: the type, the length so far, and the shift of the next seven bits.
    Length(u8, u32, u32),
    /// In a message: so many bytes of it are missing, and its topic comes first.
    Topic(u32),
    /// In another packet: so many bytes of it are missing.
    Rest(u32),
}

impl<S> Checked<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, position: PacketState::Type, topic: Vec::new() }
    }
}

impl PacketState {
    /// The position after these bytes. `topic` is kept from one call to the next.
    fn after(mut self, mut bytes: &[u8], topic: &mut Vec<u8>) -> Result<Self, BadPacket> {
        while let [byte, tail @ ..] = bytes {
            bytes = tail;
            self = match self {
                Self::Type if byte >> 4 == PUBLISH && byte & 0b100 != 0 => {
                    return Err(BadPacket::Qos2);
                }
                Self::Type => Self::Length(byte >> 4, 0, 0),
                Self::Length(_, _, 28) => return Err(BadPacket::Malformed),
                Self::Length(kind, length, shift) => {
                    let length = length | u32::from(byte & 0x7f) << shift;
                    match byte & 0x80 {
                        0 if length > LONGEST => return Err(BadPacket::TooLong(length)),
                        0 if length < shortest(kind) => return Err(BadPacket::Malformed),
                        0 if kind == PUBLISH => Self::Topic(length),
                        0 => Self::rest(length),
                        _ => Self::Length(kind, length, shift + 7),
                    }
                }
                Self::Topic(rest) => {
                    topic.push(*byte);
                    if is_complete(topic)? {
                        *topic = Vec::new();
                        Self::rest(rest - 1)
                    } else if rest == 1 {
                        return Err(BadPacket::Malformed);
                    } else {
                        Self::Topic(rest - 1)
                    }
                }
                Self::Rest(rest) => {
                    let skipped = (rest as usize - 1).min(tail.len());
                    bytes = &tail[skipped..];
                    Self::rest(rest - 1 - skipped as u32)
                }
            };
        }
        Ok(self)
    }

    fn rest(rest: u32) -> Self {
        if rest == 0 { Self::Type } else { Self::Rest(rest) }
    }
}

/// Whether the bytes are the length of a topic and the complete topic, which must be UTF-8 without
/// NUL (MQTT 3.1.1, 1.5.3).
fn is_complete(topic: &[u8]) -> Result<bool, BadPacket> {
    let Some((length, topic)) = topic.split_first_chunk() else { return Ok(false) };
    if topic.len() < u16::from_be_bytes(*length).into() {
        return Ok(false);
    }
    match std::str::from_utf8(topic) {
        Ok(topic) if !topic.contains('\0') => Ok(true),
        _ => Err(BadPacket::Topic),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Checked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let count = ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        this.position = this
            .position
            .after(&buffer[..count], &mut this.topic)
            .map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad))?;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Checked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A packet of this length, with the fewest bytes for its length that there are.
    fn packet(length: u32) -> Vec<u8> {
        let (mut packet, mut left) = (vec![0xd0], length);
        loop {
            let more = if left > 0x7f { 0x80 } else { 0 };
            packet.push((left & 0x7f) as u8 | more);
            left >>= 7;
            if left == 0 {
                break;
            }
        }
        packet.resize(packet.len() + length.min(LONGEST) as usize, 0xff);
        packet
    }

    fn after(bytes: &[u8]) -> Result<PacketState, BadPacket> {
        PacketState::Type.after(bytes, &mut Vec::new())
    }

    #[test]
    fn a_message_that_would_be_kept_is_refused() {
        assert_eq!(after(&[0x34, 2]), Err(BadPacket::Qos2));
        assert_eq!(after(&[0x32, 2]), Ok(PacketState::Topic(2)));
        // PUBREL has this bit, too.
        assert_eq!(after(&[0x62, 2, 0, 1]), Ok(PacketState::Type));
    }

    #[test]
    fn a_packet_is_refused_by_the_length_that_it_announces() {
        for length in [0, 1, 127, 128, LONGEST - 1, LONGEST] {
            assert_eq!(after(&packet(length)), Ok(PacketState::Type), "{length}");
        }
        for length in [LONGEST + 1, 1 << 20, 200_000_000, 268_435_455] {
            let fault = after(&packet(length));
            assert_eq!(fault, Err(BadPacket::TooLong(length)));
        }
        let endless = [0x30, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(after(&endless), Err(BadPacket::Malformed));
        // Zero, written with as many bytes as there may be, is no way around.
        assert_eq!(after(&[0xd0, 0x80, 0x80, 0x80, 0]), Ok(PacketState::Type));
    }

    #[test]
    fn an_answer_that_answers_nothing_is_refused() {
        for (short, whole) in [
            (&[0x90, 2, 0, 1][..], &[0x90, 3, 0, 1, 0x80][..]),
            (&[0x90, 0], &[0x90, 4, 0, 1, 1, 1]),
            (&[0x20, 1, 0], &[0x20, 2, 0, 0]),
            (&[0x40, 1, 0], &[0x40, 2, 0, 1]),
            (&[0x50, 0], &[0x50, 2, 0, 1]),
            (&[0x62, 1, 0], &[0x62, 2, 0, 1]),
            (&[0x70, 0], &[0x70, 2, 0, 1]),
            (&[0xb0, 1, 0], &[0xb0, 2, 0, 1]),
        ] {
            assert_eq!(after(short), Err(BadPacket::Malformed), "{short:?}");
            assert_eq!(after(whole), Ok(PacketState::Type), "{whole:?}");
        }
        assert_eq!(after(&[0xd0, 0]), Ok(PacketState::Type));
    }

    #[test]
    fn a_topic_is_text_without_nul_and_within_its_message() {
        for (topic, payload, expected) in [
            (&b"c8y/s/dat"[..], &b"71,x"[..], Ok(PacketState::Type)),
            ("é/s/dat".as_bytes(), b"\0\xff", Ok(PacketState::Type)),
            (b"", b"", Ok(PacketState::Type)),
            (b"c8y/s/dat\0", b"71,x", Err(BadPacket::Topic)),
            (b"\0", b"", Err(BadPacket::Topic)),
            (b"\xc3", b"", Err(BadPacket::Topic)),
            (b"\xed\xa0\x80", b"71,x", Err(BadPacket::Topic)),
        ] {
            let length = u8::try_from(2 + topic.len() + payload.len()).unwrap();
            let head = [0x30, length, 0, u8::try_from(topic.len()).unwrap()];
            let message = [&head[..], topic, payload].concat();
            assert_eq!(after(&message), expected, "{message:?}");
            let mut left = Vec::new();
            let end = message
                .iter()
                .try_fold(PacketState::Type, |position, byte| position.after(&[*byte], &mut left));
            assert_eq!(end, expected, "{message:?}");
        }
        for cut in [&[0x30, 0][..], &[0x30, 1, 0], &[0x30, 3, 0, 2, b'x'], &[0x32, 2, 0xff, 0xff]] {
            assert_eq!(after(cut), Err(BadPacket::Malformed), "{cut:?}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(
            lengths in prop::collection::vec(0..40_000u32, 1..6),
            cut in 1..5000usize,
        ) {
            let stream: Vec<u8> = lengths.iter().flat_map(|length| packet(*length)).collect();
            let too_long = lengths.iter().find(|length| **length > LONGEST);
            let expected =
                too_long.map_or(Ok(PacketState::Type), |length| Err(BadPacket::TooLong(*length)));
            let (mut pieces, mut topic) = (stream.chunks(cut), Vec::new());
            let end = pieces.try_fold(PacketState::Type, |position, piece| {
                position.after(piece, &mut topic)
            });
            prop_assert_eq!(end, expected);
        }
    }
}
