//! How many bytes written to a socket the peer has not acknowledged yet.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// The bytes in the send queue of a TCP socket, see tcp(7), SIOCOUTQ; 0 if the kernel reports an
/// error.
pub(crate) fn unsent(socket: impl AsFd) -> u64 {
    const SIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;
    // SAFETY: SIOCOUTQ is defined as TIOCOUTQ and writes one int, whatever the descriptor is.
    let queued = unsafe { ioctl(socket, Getter::<SIOCOUTQ, c_int>::new()) };
    queued.map_or(0, |bytes| u64::try_from(bytes).unwrap_or(0))
}
