//! The messages to systemd: sd_notify(3). One socket sends all of them, since a new one could not
//! be opened when descriptors have run out.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// The connection to systemd, if systemd has started this process and waits for messages.
pub(super) struct Systemd {
    socket: Option<(UnixDatagram, OsString)>,
}

impl Systemd {
    pub(super) fn new() -> io::Result<Self> {
        let socket = match env::var_os("NOTIFY_SOCKET") {
            Some(address) => Some((UnixDatagram::unbound()?, address)),
            None => None,
        };
        Ok(Self { socket })
    }

    pub(super) fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to(state.as_bytes(), address) {
            log::warn!("cannot tell systemd {state}: {error}");
        }
    }
}

/// How long systemd waits for `WATCHDOG=1`, if it does.
pub(super) fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let is_other = number("WATCHDOG_PID").is_some_and(|id| id != u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|_| !is_other).map(Duration::from_micros)
}
