//! One connection on a place: its holder, and whether it could be closed for a waiting client.

use std::net::{IpAddr, Ipv6Addr, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::journal;
use crate::net::Polled;
use crate::net::clock::micros;
use crate::net::unsent::unsent;
use crate::server::state::{ConnectionState, Phase};

/// The transfer rate that an exchange has to keep, in bytes a second.
const RATE: u64 = 500;

pub(super) struct Seat {
    pub(super) state: Arc<ConnectionState>,
    pub(super) address: IpAddr,
    socket: Weak<Polled<TcpStream>>,
    /// Bytes transferred up to the last measurement.
    moved: u64,
    /// Until when its transfer rate is sufficient: each byte counts for 1/[`RATE`] of a second.
    pub(super) paid_until: u64,
    /// Whether an answer had begun at the last measurement.
    was_answered: bool,
}

/// How long a peer may take to begin a transfer, from the start of an exchange, while few clients
/// wait.
pub(super) const GRACE: Duration = Duration::from_secs(3);
/// The longest time that transferred bytes count for.
const WINDOW: Duration = Duration::from_secs(10);
/// How often the progress of all connections is measured.
pub(super) const LOOK_AT_PACE: Duration = Duration::from_millis(250);

/// [`GRACE`] in microseconds, when `waiting` clients wait for one of `most` places and the first of
/// them has waited for `waited`. It shrinks with both, so that no client waits for more than 5 s.
pub(super) fn grace(most: usize, waiting: usize, waited: u64) -> u64 {
    const PATIENCE: Duration = Duration::from_secs(5);
    let left = micros(PATIENCE).saturating_sub(waited);
    let share = micros(GRACE) * most as u64 / (most + waiting) as u64;
    (share * left / micros(PATIENCE)).max(3 * micros(LOOK_AT_PACE))
}

/// The holder of a place: an address, or with client certificates a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    Address(IpAddr),
    Certificate(u64),
}

/// Whether a place can be taken from a connection, and what that costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Nothing is lost.
    Idle,
    /// No request is complete.
    Silent,
    /// We wait for the peer, and it is too slow.
    Slow,
    /// The peer waits for us, and the rest of its answer comes too slowly.
    Stalled,
    /// We wait for the peer, or for upstream to take its body, and it is fast enough.
    Moving,
    /// Quiet by design: upgraded, about to be upgraded, or waiting for an upstream answer.
    Quiet,
    /// The peer waits for us.
    Working,
}

impl Seat {
    pub(super) fn new(state: Arc<ConnectionState>, address: IpAddr, now: u64) -> Self {
        Self { state, address, socket: Weak::new(), moved: 0, paid_until: now, was_answered: false }
    }

    pub(super) fn of_socket(self, socket: &Arc<Polled<TcpStream>>) -> Self {
        Self { socket: Arc::downgrade(socket), ..self }
    }

    pub(super) fn holder(&self) -> Holder {
        match self.state.certificate() {
            None => Holder::Address(self.address),
            Some(certificate) => Holder::Certificate(certificate),
        }
    }

    /// Credits the exchange with the bytes that were transferred. Those still in the kernel's send
    /// queue do not count. An answer that has begun has `grace` to make progress.
    pub(super) fn look(&mut self, now: u64, last_look: u64, grace: u64) {
        let moved = self.moved_so_far();
        let paid = moved.saturating_sub(self.moved) * (1_000_000 / RATE);
        // The first bytes of an exchange only fill buffers on the path.
        if paid > 0 && last_look >= self.state.since() + micros(LOOK_AT_PACE) {
            self.paid_until = (self.paid_until.max(now) + paid).min(now + micros(WINDOW));
        }
        if self.has_new_answer() {
            self.paid_until = self.paid_until.max(now + grace);
        }
        self.moved = moved;
        self.was_answered = self.state.is_answered();
    }

    /// Restarts the measurement: the exchange has until then to transfer something.
    pub(super) fn look_first(&mut self, until: u64) {
        self.moved = self.moved_so_far();
        self.paid_until = until;
        self.was_answered = self.state.is_answered();
    }

    /// Whether an answer has begun since the last measurement.
    fn has_new_answer(&self) -> bool {
        self.state.is_answered() && !self.was_answered
    }

    fn moved_so_far(&self) -> u64 {
        let unsent = self.socket.upgrade().map_or(0, |socket| unsent(&*socket));
        self.state.bytes().saturating_sub(unsent)
    }

    /// Logs why it is closed for another client.
    pub(super) fn complain(&self, why: &str) {
        journal::complain(
            &format!("a connection was closed for another client: {why}"),
            &self.address,
        );
    }

    /// It is barely fast enough. A modem with 2 KB a second is faster once its grace period is over.
    pub(super) fn barely_moves(&self, now: u64) -> bool {
        (self.state.waits_for_peer() || self.was_answered)
            && now >= self.state.since() + micros(GRACE)
            && self.paid_until < now + micros(WINDOW) / 4
    }

    /// The order by speed: first until when its rate is sufficient, then its bytes in all.
    pub(super) fn pace(&self) -> (u64, u64) {
        (self.paid_until, self.moved)
    }

    /// `grace` is how long an exchange may take to begin a transfer. An exchange that waits for an
    /// upstream answer counts as quiet after a third of it.
    pub(super) fn standing(&self, now: u64, grace: u64) -> Standing {
        let state = &self.state;
        let is_paid = now < self.paid_until || self.has_new_answer();
        let is_due = now >= state.since() + grace;
        match state.phase() {
            Phase::Linger => Standing::Idle,
            Phase::Idle if state.is_idle() => Standing::Idle,
            Phase::Silent | Phase::Head => Standing::Silent,
            Phase::Upgraded => Standing::Quiet,
            Phase::Idle | Phase::Exchange if state.waits_for_peer() => {
                if is_due && !is_paid {
                    Standing::Slow
                } else {
                    Standing::Moving
                }
            }
            Phase::Exchange if !state.is_answered() => {
                let is_quiet = now >= state.since() + grace / 3;
                if state.asks_for_upgrade() {
                    Standing::Quiet
                } else if state.is_unread() && is_paid {
                    // Upstream takes its body at a sufficient rate.
                    Standing::Moving
                } else if is_quiet {
                    Standing::Quiet
                } else {
                    Standing::Working
                }
            }
            Phase::Idle | Phase::Exchange if is_due && !is_paid => Standing::Stalled,
            Phase::Idle | Phase::Exchange => Standing::Working,
        }
    }
}

/// The address as the holder of places: for IPv6 the /64 network, since one host has all of it.
pub(super) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Observer;

    const SECOND: u64 = 1_000_000;

    fn uploading() -> Seat {
        let state = Arc::new(ConnectionState::new());
        state.begin_exchange();
        state.reading(true);
        let now = state.since();
        Seat::new(state, [127, 0, 0, 1].into(), now)
    }

    /// How it stands after each second in which so many bytes have come.
    fn stands(seat: &mut Seat, bytes: &[usize]) -> Vec<Standing> {
        let begin = seat.state.since();
        let standing = bytes.iter().zip(1..).map(|(bytes, second)| {
            seat.state.moved(*bytes);
            let now = begin + second * SECOND;
            seat.look(now, now - SECOND, micros(GRACE));
            // Between two looks: a byte is good for 2 ms.
            seat.standing(now + SECOND / 100, micros(GRACE))
        });
        standing.collect()
    }

    #[test]
    fn a_peer_that_drips_is_slow_when_its_grace_is_over() {
        use Standing::{Moving, Slow};
        let standing = stands(&mut uploading(), &[1; 6]);
        assert_eq!(standing, [Moving, Moving, Slow, Slow, Slow, Slow]);
    }

    #[test]
    fn a_modem_is_not_slow_and_a_burst_counts_for_ten_seconds() {
        assert_eq!(stands(&mut uploading(), &[2000; 30]), [Standing::Moving; 30]);
        assert_eq!(stands(&mut uploading(), &[510; 30]), [Standing::Moving; 30]);
        let mut burst = [0; 20];
        burst[3] = 10_000_000;
        let standing = stands(&mut uploading(), &burst);
        assert_eq!(standing[3..13], [Standing::Moving; 10]);
        assert_eq!(standing[13..], [Standing::Slow; 7]);
    }

    #[test]
    fn a_peer_at_the_limit_barely_moves_and_a_modem_does_more_when_its_grace_is_over() {
        for (bytes, barely_moves) in [(510, true), (700, true), (2000, false)] {
            let mut seat = uploading();
            stands(&mut seat, &[bytes; 3]);
            let grace_over = seat.state.since() + micros(GRACE);
            assert!(!seat.barely_moves(grace_over - 1), "{bytes}");
            assert_eq!(seat.barely_moves(grace_over), barely_moves, "{bytes}");
        }
    }

    #[test]
    fn who_waits_for_us_is_not_slow() {
        let seat = uploading();
        seat.state.reading(false);
        let later = seat.state.since() + 60 * SECOND;
        assert_eq!(seat.standing(later, micros(GRACE)), Standing::Quiet);
        seat.state.begin_answer();
        assert_eq!(seat.standing(later, micros(GRACE)), Standing::Working);
    }

    #[test]
    fn an_answer_that_begins_late_has_its_grace_and_then_has_to_move() {
        use Standing::{Quiet, Stalled, Working};
        for (bytes, at_last) in [(0, Stalled), (510, Working)] {
            let mut seat = uploading();
            seat.state.reading(false);
            assert_eq!(stands(&mut seat, &[0; 9]), [Quiet; 9]);
            seat.state.begin_answer();
            let begin = seat.state.since();
            let standing = [10, 11, 12, 13, 14].map(|second| {
                let now = begin + second * SECOND;
                let before = seat.standing(now, micros(GRACE));
                seat.state.moved(bytes);
                seat.look(now, now - SECOND, micros(GRACE));
                before
            });
            assert_eq!(standing, [Working, Working, Working, at_last, at_last], "{bytes}");
        }
    }

    #[test]
    fn an_upload_that_upstream_takes_slowly_is_not_quiet_while_it_moves() {
        for (bytes, expected) in [(1, Standing::Quiet), (510, Standing::Moving)] {
            let mut seat = uploading();
            seat.state.reading(false);
            seat.state.unread(true);
            assert_eq!(stands(&mut seat, &[bytes; 6]).last(), Some(&expected), "{bytes}");
        }
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let count = |text: &str| counted(text.parse().unwrap()).to_string();
        assert_eq!(count("2001:db8::1:2:3:4"), "2001:db8::");
        assert_eq!(count("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(count("192.0.2.1"), "192.0.2.1");
    }
}
