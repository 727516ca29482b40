//! What the fixed header of each packet from the broker announces (MQTT 3.1.1, 2.2), read as the
//! bytes pass. It looks at nothing else of a packet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

/// The longest packet that is passed on. What follows the fixed header counts.
pub(super) const LONGEST: u32 = 16 * 1024;

/// The type of a packet that carries a message.
const PUBLISH: u8 = 3;

/// Why a broker's packet is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPacket {
    #[error("it sends a packet of {0} bytes, and {LONGEST} are the most that is read")]
    TooLong(u32),
    /// The client keeps such a message until the broker releases it, which it may never do.
    #[error("it sends a message with QoS 2, and QoS 1 is the most that was subscribed to")]
    Qos2,
    #[error("what it sends is not MQTT")]
    Malformed,
}

/// A stream from the broker that fails as soon as a packet is announced that must not be read.
pub(super) struct Checked<S> {
    stream: S,
    position: Position,
}

/// Where in a packet the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Type,
    /// The length so far, and by how many bits the next seven are shifted.
    Length(u32, u32),
    /// So many bytes of the packet are still to come.
    Rest(u32),
}

impl<S> Checked<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, position: Position::Type }
    }
}

impl Position {
    /// The position after these bytes.
    fn after(mut self, mut bytes: &[u8]) -> Result<Self, BadPacket> {
        while let [byte, tail @ ..] = bytes {
            bytes = tail;
            self = match self {
                Self::Type if byte >> 4 == PUBLISH && byte & 0b100 != 0 => {
                    return Err(BadPacket::Qos2);
                }
                Self::Type => Self::Length(0, 0),
                Self::Length(_, 28) => return Err(BadPacket::Malformed),
                Self::Length(length, shift) => {
                    let length = length | u32::from(byte & 0x7f) << shift;
                    match byte & 0x80 {
                        0 if length > LONGEST => return Err(BadPacket::TooLong(length)),
                        0 if length == 0 => Self::Type,
                        0 => Self::Rest(length),
                        _ => Self::Length(length, shift + 7),
                    }
                }
                Self::Rest(rest) => {
                    let skipped = (rest as usize - 1).min(tail.len());
                    bytes = &tail[skipped..];
                    match rest - 1 - skipped as u32 {
                        0 => Self::Type,
                        rest => Self::Rest(rest),
                    }
                }
            };
        }
        Ok(self)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Checked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.position = self
            .position
            .after(&buffer[..count])
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
        let (mut packet, mut left) = (vec![0x30], length);
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

    #[test]
    fn a_message_that_would_be_kept_is_refused() {
        assert_eq!(Position::Type.after(&[0x34, 2]), Err(BadPacket::Qos2));
        assert_eq!(Position::Type.after(&[0x32, 2]), Ok(Position::Rest(2)));
        // PUBREL has this bit, too.
        assert_eq!(Position::Type.after(&[0x62, 2, 0, 1]), Ok(Position::Type));
    }

    #[test]
    fn a_packet_is_refused_by_the_length_that_it_announces() {
        for length in [0, 1, 127, 128, LONGEST - 1, LONGEST] {
            assert_eq!(Position::Type.after(&packet(length)), Ok(Position::Type), "{length}");
        }
        for length in [LONGEST + 1, 1 << 20, 200_000_000, 268_435_455] {
            let fault = Position::Type.after(&packet(length));
            assert_eq!(fault, Err(BadPacket::TooLong(length)));
        }
        let endless = [0x30, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Position::Type.after(&endless), Err(BadPacket::Malformed));
        // Zero, written with as many bytes as there may be, is no way around.
        assert_eq!(Position::Type.after(&[0x30, 0x80, 0x80, 0x80, 0]), Ok(Position::Type));
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
                too_long.map_or(Ok(Position::Type), |length| Err(BadPacket::TooLong(*length)));
            let mut pieces = stream.chunks(cut);
            prop_assert_eq!(pieces.try_fold(Position::Type, Position::after), expected);
        }
    }
}
