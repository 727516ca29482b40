//! What a connection is doing and since when, readable from outside while its task owns the socket.
//!
//! The stream and the bodies record each change here. The task derives its deadline from it, and
//! the listener uses it to choose which connection to close when there are too many. Knows no HTTP.

mod phase;

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::Context;
use std::time::Duration;

use atomic_waker::AtomicWaker;

pub(crate) use self::phase::{Order, Phase};
use super::turns::Turn;
use crate::journal;
use crate::net::clock::{coarse_now, micros, now};
use crate::net::{Observer, load};
use crate::tls::{self, ReloadingServer, VerifiedClient};

/// The time limit for a request's head from its first byte, and for a handshake from accept.
pub(crate) const HEAD: Duration = Duration::from_secs(10);
/// A connection may wait this long for its next request.
pub(crate) const IDLE: Duration = Duration::from_secs(60);
/// A body or a response has to make progress within this time.
pub(crate) const PROGRESS: Duration = Duration::from_secs(60);
/// How often to check whether a client that an exchange needs has closed its side.
const LOOK: Duration = Duration::from_secs(1);
/// An idle connection gives back its buffers at once, or after this time if its last request came
/// within this time after an answer. What stays of a connection lies between the buffers of others,
/// so it matters how many connections have theirs at a time.
pub(crate) const DOZE: Duration = Duration::from_secs(1);

/// The state of one connection, shared between its task, its stream and the listener.
pub(crate) struct ConnectionState {
    phase: AtomicU8,
    since: AtomicU64,
    moved: AtomicU64,
    /// Bytes read from and written to the socket.
    bytes: AtomicU64,
    /// The client with an accepted certificate, and its address. Boxed: most connections have none.
    client: OnceLock<Box<(SocketAddr, VerifiedClient)>>,
    reading: AtomicBool,
    writing: AtomicBool,
    /// Bytes of the answer's body that hyper has buffered, and whether the body waits until they
    /// and those that TLS has buffered are sent.
    queued: AtomicUsize,
    held: AtomicBool,
    order: AtomicU8,
    /// Some of the request's body is not read yet.
    unread: AtomicBool,
    /// A route works on what it got of the request's body; and hyper wanted to read more meanwhile.
    full: AtomicBool,
    held_back: AtomicBool,
    turn: Turn,
    answered: AtomicBool,
    /// The last request came soon after the answer before it.
    is_quick: AtomicBool,
    /// The request asks for another protocol.
    asks_for_upgrade: AtomicBool,
    /// The exchange ends when its client closes the connection, or only its sending half.
    needs_client: AtomicBool,
    /// A request has begun in this poll of the connection's task.
    has_begun: AtomicBool,
    pub(super) waker: AtomicWaker,
}

impl ConnectionState {
    pub(crate) fn new() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Silent as u8),
            since: AtomicU64::new(now()),
            moved: AtomicU64::new(now()),
            bytes: AtomicU64::new(0),
            client: OnceLock::new(),
            reading: AtomicBool::new(false),
            writing: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
            held: AtomicBool::new(false),
            order: AtomicU8::new(Order::Continue as u8),
            unread: AtomicBool::new(false),
            full: AtomicBool::new(false),
            held_back: AtomicBool::new(false),
            turn: Turn::default(),
            answered: AtomicBool::new(false),
            is_quick: AtomicBool::new(false),
            asks_for_upgrade: AtomicBool::new(false),
            needs_client: AtomicBool::new(false),
            has_begun: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Silent,
            1 => Phase::Idle,
            2 => Phase::Head,
            3 => Phase::Exchange,
            4 => Phase::Linger,
            _ => Phase::Upgraded,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        let left = self.phase.swap(phase as u8, Relaxed);
        self.since.store(coarse_now(), Relaxed);
        match (left == Phase::Exchange as u8, phase == Phase::Exchange) {
            (false, true) => load::begin(),
            (true, false) => load::end(),
            _ => {}
        }
    }

    /// Microseconds on the process's clock at which the phase began.
    pub(crate) fn since(&self) -> u64 {
        self.since.load(Relaxed)
    }

    /// Records whether a route waits for more of the request's body.
    pub(crate) fn reading(&self, waits: bool) {
        self.reading.store(waits, Relaxed);
    }

    /// Records whether some of the request's body is not read yet.
    pub(crate) fn unread(&self, is_left: bool) {
        self.unread.store(is_left, Relaxed);
        if !is_left {
            self.turn.end();
        }
    }

    /// Records whether a route works on what it got of the request's body. hyper would read as much
    /// again meanwhile, which is too much when many connections are busy.
    pub(super) fn fill(&self, is_full: bool) {
        self.full.store(is_full, Relaxed);
        if !is_full && self.held_back.swap(false, Relaxed) {
            self.waker.wake();
        }
    }

    /// A request has a body, which is passed on or stored.
    pub(super) fn begin_body(&self) {
        if !self.needs_client.load(Relaxed) {
            self.turn.begin();
        }
    }

    /// The route wants no more of the request's body.
    pub(super) fn end_body(&self) {
        self.fill(false);
        self.turn.end();
    }

    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// The head of a request is complete.
    pub(super) fn begin_exchange(&self) {
        self.answered.store(false, Relaxed);
        self.asks_for_upgrade.store(false, Relaxed);
        self.enter(Phase::Exchange);
    }

    /// The request asks for another protocol.
    pub(super) fn ask_for_upgrade(&self) {
        self.asks_for_upgrade.store(true, Relaxed);
    }

    /// Records whether the exchange ends when its client closes the connection, or only its sending
    /// half.
    pub(super) fn need_client(&self, is_needed: bool) {
        self.needs_client.store(is_needed, Relaxed);
    }

    /// When to look whether the client has closed its side, if that was last done at `looked`;
    /// `u64::MAX` for never.
    pub(super) fn look_at(&self, looked: u64) -> u64 {
        match self.phase() {
            Phase::Exchange if self.needs_client.load(Relaxed) => {
                looked.max(self.since()) + micros(LOOK)
            }
            _ => u64::MAX,
        }
    }

    pub(super) fn begin_answer(&self) {
        self.answered.store(true, Relaxed);
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Relaxed)
    }

    pub(super) fn asks_for_upgrade(&self) -> bool {
        self.asks_for_upgrade.load(Relaxed)
    }

    /// The socket accepted no more data at the last write.
    pub(super) fn is_write_blocked(&self) -> bool {
        self.writing.load(Relaxed)
    }

    /// Nothing happens until the peer sends or reads something.
    pub(super) fn waits_for_peer(&self) -> bool {
        self.writing.load(Relaxed) || (self.reading.load(Relaxed) && !self.turn.is_waited_for())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// The client has shown a certificate that was accepted.
    pub(super) fn certify(&self, peer: SocketAddr, client: VerifiedClient) {
        let _ = self.client.set(Box::new((peer, client)));
    }

    /// A digest of the client's certificate.
    pub(super) fn certificate(&self) -> Option<u64> {
        self.client.get().map(|client| client.1.digest)
    }

    /// Whether the certificate of the client is accepted still. If not, the connection is closed.
    pub(super) fn is_client_accepted(&self, tls: Option<&ReloadingServer>) -> bool {
        let (Some((peer, client)), Some(tls)) = (self.client.get().map(|it| &**it), tls) else {
            return true;
        };
        let judged = tls.judge(client);
        if let Err(error) = &judged {
            let error = io::Error::other(error.clone());
            journal::refuse(*peer, "the connection is closed", &tls::refusal(&error));
            self.ask(Order::Close);
        }
        judged.is_ok()
    }

    /// Whether the body has to wait until what hyper and TLS have buffered is sent. By default hyper
    /// buffers 32 KiB for each slow reader, which is too much when there are many.
    pub(super) fn hold(&self) -> bool {
        let is_sent = self.queued.load(Relaxed) == 0 && !self.writing.load(Relaxed);
        let holds = !is_sent && !load::is_light();
        self.held.store(holds, Relaxed);
        holds
    }

    /// Records that hyper got so many bytes of the body.
    pub(super) fn queue(&self, bytes: usize) {
        self.queued.fetch_add(bytes, Relaxed);
    }

    /// When the buffers of an idle connection may be freed. `u64::MAX`: it is not idle, or hyper is
    /// about to close it, since a request's body was not read.
    pub(crate) fn doze_at(&self) -> u64 {
        let after = if self.is_quick.load(Relaxed) { micros(DOZE) } else { 0 };
        if self.is_idle() && !self.is_unread() { self.since() + after } else { u64::MAX }
    }

    /// All answers are written to the socket, and no request has begun.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase() == Phase::Idle && !self.writing.load(Relaxed)
    }

    /// An answer is due, or not all of it is written to the socket.
    pub(crate) fn is_answering(&self) -> bool {
        match self.phase() {
            Phase::Exchange => true,
            Phase::Idle => self.writing.load(Relaxed),
            Phase::Silent | Phase::Head | Phase::Linger | Phase::Upgraded => false,
        }
    }

    /// A request waits for the beginning of its answer.
    pub(super) fn awaits_answer(&self) -> bool {
        self.phase() == Phase::Exchange && !self.is_answered()
    }

    /// The connection's task is polled.
    pub(crate) fn begin_turn(&self) {
        self.has_begun.store(false, Relaxed);
    }

    /// True for one request in each poll of the task, so that a peer that pipelines requests does
    /// not delay other connections.
    pub(super) fn takes_turn(&self) -> bool {
        !self.has_begun.swap(true, Relaxed)
    }

    pub(crate) fn order(&self) -> Order {
        match self.order.load(Relaxed) {
            0 => Order::Continue,
            1 => Order::Drain,
            2 => Order::Refuse,
            3 => Order::MakeRoom,
            _ => Order::Close,
        }
    }

    /// It is about to close. A connection that lingers after `MakeRoom` may get a stronger order.
    pub(super) fn is_closing(&self) -> bool {
        match self.order() {
            Order::Close => true,
            Order::MakeRoom => self.phase() != Phase::Linger,
            Order::Continue | Order::Drain | Order::Refuse => false,
        }
    }

    /// Asks the connection's task to end; the stronger order stays.
    pub(crate) fn ask(&self, order: Order) {
        self.order.fetch_max(order as u8, Relaxed);
        self.waker.wake();
    }

    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// When the time for the peer's next step ends, on the process's clock.
    pub(crate) fn deadline(&self) -> u64 {
        match self.phase() {
            Phase::Silent | Phase::Head => self.since() + micros(HEAD),
            Phase::Idle if self.is_write_blocked() => self.moved.load(Relaxed) + micros(PROGRESS),
            Phase::Idle => self.since() + micros(IDLE),
            Phase::Exchange if self.waits_for_peer() => self.moved.load(Relaxed) + micros(PROGRESS),
            Phase::Exchange | Phase::Linger | Phase::Upgraded => u64::MAX,
        }
    }
}

impl Observer for ConnectionState {
    fn waits_for_body(&self, waits: bool) {
        self.reading(waits);
    }

    fn moved(&self, bytes: usize) {
        self.moved.store(coarse_now(), Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    fn waits_to_write(&self, waits: bool) {
        self.writing.store(waits, Relaxed);
    }

    fn received(&self) {
        if matches!(self.phase(), Phase::Silent | Phase::Idle) {
            let is_quick = self.phase() == Phase::Idle && now() < self.since() + micros(DOZE);
            self.is_quick.store(is_quick, Relaxed);
            self.enter(Phase::Head);
        }
    }

    fn waits_to_read(&self) {
        self.turn.pause();
    }

    fn holds_reads(&self, is_between: bool, cx: &Context<'_>) -> bool {
        if self.full.load(Relaxed) && !load::is_light() {
            self.held_back.store(true, Relaxed);
            return true;
        }
        if is_between && self.turn.is_waited_for() {
            self.moved.store(now(), Relaxed);
        }
        is_between && !self.turn.take(cx.waker())
    }

    /// Counts head, framing and body. True if the body waited for these bytes and can go on.
    fn sent(&self, bytes: usize) -> bool {
        let queued = self.queued.load(Relaxed).saturating_sub(bytes);
        self.queued.store(queued, Relaxed);
        let is_sent = queued == 0 && !self.writing.load(Relaxed);
        is_sent && self.held.swap(false, Relaxed)
    }
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        if self.phase() == Phase::Exchange {
            load::end();
        }
    }
}

#[cfg(test)]
mod tests;
