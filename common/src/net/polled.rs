//! Non-blocking sockets, and the loop that waits for them: one epoll for each thread.
//!
//! A socket is registered once, for all its events (`EPOLLET`). async-io, which has the timers, the
//! signals and the socket to the broker, would register it again for each wait, and need five
//! system calls to wait. Other events (timers, signals, jobs on other threads) wake the loop from
//! their own threads.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::atomic::{
    AtomicBool, AtomicU8,
    Ordering::{AcqRel, Acquire, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use async_executor::Executor;
use atomic_waker::AtomicWaker;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{AddressFamily, SocketFlags, SocketType, acceptfrom_with, sockopt};

use super::Arrival;
use super::clock;
use crate::error::Error;

/// Runs the tasks of an executor on this thread until `future` has its output.
///
/// # Errors
/// The kernel has no epoll for this thread.
pub fn run<T>(executor: &Executor<'static>, future: impl Future<Output = T>) -> Result<T, Error> {
    let mut output = None;
    run_to_end(executor, pin!(async { output = Some(future.await) }))?;
    match output {
        Some(output) => Ok(output),
        None => unreachable!("it has run to its end"),
    }
}

#[inline(never)]
fn run_to_end(
    executor: &Executor<'static>,
    future: Pin<&mut dyn Future<Output = ()>>,
) -> Result<(), Error> {
    block_on(executor.run(future))
}

/// Runs a future on this thread, and waits for the sockets that were made on it.
///
/// # Errors
/// The kernel has no epoll for this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Error> {
    /// How many events are taken at a time.
    const EVENTS: usize = 128;
    let failed = |error| Error::Failed(format!("cannot wait for sockets: {error}"));
    let poller = Poller::of_this_thread().map_err(failed)?;
    let waker = Waker::from(Arc::clone(&poller));
    let mut future = pin!(future);
    let (mut events, mut wakers) = (Vec::with_capacity(EVENTS), Vec::new());
    loop {
        poller.state.swap(AWAKE, AcqRel);
        clock::begin_polling();
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        clock::end_polling();
        if let Poll::Ready(output) = polled {
            return Ok(output);
        }
        poller.wait(&mut events, &mut wakers).map_err(failed)?;
    }
}

/// The sockets of one thread.
struct Poller {
    epoll: OwnedFd,
    /// An eventfd that wakes the thread while it waits.
    wakeup: OwnedFd,
    state: AtomicU8,
    sockets: Mutex<Sockets>,
}

#[derive(Default)]
struct Sockets {
    /// The last key. Keys are not used again, since events may arrive late.
    last: u64,
    readiness: HashMap<u64, Arc<Readiness>, BuildHasherDefault<KeyHasher>>,
}

/// Keys are counted here, so nobody can choose them: they are spread enough by one multiplication.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// The future is being polled.
const AWAKE: u8 = 0;
/// It must be polled, or polled again.
const WOKEN: u8 = 1;
/// The thread waits for events, or is about to.
const ASLEEP: u8 = 2;

/// The flags of new sockets, so that no further call is needed.
const NONBLOCKING: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// The key of the eventfd that wakes the thread.
const WAKEUP: u64 = 0;

impl Poller {
    fn of_this_thread() -> io::Result<Arc<Self>> {
        thread_local! {
            static POLLER: RefCell<Option<Arc<Poller>>> = const { RefCell::new(None) };
        }
        POLLER.with_borrow_mut(|poller| {
            let made = match poller.take() {
                Some(poller) => poller,
                None => Self::new()?,
            };
            Ok(Arc::clone(poller.insert(made)))
        })
    }

    fn new() -> io::Result<Arc<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wakeup = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // Edge-triggered: each write is an event, and the counter need not be read.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &wakeup, epoll::EventData::new_u64(WAKEUP), flags)?;
        let (state, sockets) = (AtomicU8::new(AWAKE), Mutex::default());
        Ok(Arc::new(Self { epoll, wakeup, state, sockets }))
    }

    /// Waits for events, unless the future must be polled already, and wakes the tasks that wait
    /// for them.
    fn wait(&self, events: &mut Vec<epoll::Event>, wakers: &mut Vec<Waker>) -> io::Result<()> {
        use epoll::EventFlags;
        const READABLE: EventFlags = EventFlags::IN.union(EventFlags::HUP).union(EventFlags::ERR);
        const OVER: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP);
        const WRITABLE: EventFlags = EventFlags::OUT.union(EventFlags::HUP).union(EventFlags::ERR);
        const NOT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        let may_sleep = self.state.compare_exchange(AWAKE, ASLEEP, AcqRel, Acquire).is_ok();
        events.clear();
        let limit = if may_sleep { None } else { Some(&NOT) };
        let waited = epoll::wait(&self.epoll, spare_capacity(events), limit);
        Arrival::begin();
        // What happens until the next poll is seen by that poll.
        self.state.swap(WOKEN, AcqRel);
        if let Err(errno) = waited {
            return if errno == Errno::INTR { Ok(()) } else { Err(errno.into()) };
        }
        let sockets = self.lock();
        for event in &*events {
            // The fields of a packed structure must be copied.
            let (flags, data) = (event.flags, event.data);
            let Some(readiness) = sockets.readiness.get(&data.u64()) else { continue };
            if flags.contains(EventFlags::PRI) {
                readiness.stops_early.store(true, Release);
            }
            if flags.intersects(OVER) {
                readiness.read.is_over.store(true, Release);
            }
            if flags.intersects(READABLE) {
                readiness.read.set(wakers);
            }
            if flags.intersects(WRITABLE) {
                readiness.write.set(wakers);
            }
        }
        // A waker may drop a socket.
        drop(sockets);
        wakers.drain(..).for_each(Waker::wake);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Poller {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, AcqRel) == ASLEEP {
            let _ = rustix::io::write(&self.wakeup, &1_u64.to_ne_bytes());
        }
    }
}

/// Events of a socket that no attempt has consumed.
#[derive(Default)]
struct Readiness {
    read: Half,
    write: Half,
    /// Urgent data has come: a read ends before it, though more may follow.
    stops_early: AtomicBool,
}

#[derive(Default)]
struct Half {
    is_ready: AtomicBool,
    /// The peer sends no more. This is reported once, perhaps together with the last data, and must
    /// be read.
    is_over: AtomicBool,
    waker: AtomicWaker,
}

impl Half {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_due() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        if self.is_due() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn is_due(&self) -> bool {
        self.is_over.load(Acquire) || self.is_ready.swap(false, AcqRel)
    }

    fn set(&self, wakers: &mut Vec<Waker>) {
        self.is_ready.swap(true, AcqRel);
        wakers.extend(self.waker.take());
    }
}

/// A non-blocking socket. Its events arrive in [`block_on`] on the thread that created it.
pub(crate) struct Polled<T> {
    io: T,
    key: u64,
    readiness: Arc<Readiness>,
    poller: Arc<Poller>,
}

impl<T: AsFd> Polled<T> {
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(crate) fn new(io: T) -> io::Result<Self> {
        ioctl_fionbio(&io, true)?;
        Self::register(io)
    }

    /// Takes a socket that is already non-blocking.
    fn register(io: T) -> io::Result<Self> {
        use epoll::EventFlags;
        let poller = Poller::of_this_thread()?;
        let readiness = Arc::<Readiness>::default();
        let key = {
            let mut sockets = poller.lock();
            sockets.last += 1;
            let key = sockets.last;
            sockets.readiness.insert(key, Arc::clone(&readiness));
            key
        };
        let polled = Self { io, key, readiness, poller };
        let flags = EventFlags::IN | EventFlags::PRI | EventFlags::OUT | EventFlags::RDHUP;
        let flags = flags | EventFlags::ET;
        epoll::add(&polled.poller.epoll, &polled.io, epoll::EventData::new_u64(key), flags)?;
        Ok(polled)
    }

    /// Ready after an event by which the socket may have data, since the last time that this was
    /// ready. Call it only after a read has found nothing, or fewer bytes than requested.
    pub(crate) fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        self.readiness.read.poll(cx)
    }

    /// Discards the event of data that is about to be read without waiting for it.
    pub(crate) fn forget_readable(&self) {
        self.readiness.read.is_ready.swap(false, AcqRel);
    }

    /// Whether a read may return fewer bytes than there are, as it does around urgent data (TCP).
    pub(crate) fn stops_early(&self) -> bool {
        self.readiness.stops_early.load(Acquire)
    }

    /// See [`Polled::poll_readable`].
    pub(crate) async fn readable(&self) {
        poll_fn(|cx| self.poll_readable(cx)).await;
    }

    /// Reads by `attempt`, once the socket has something to read.
    async fn read_with<R>(&self, mut attempt: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|cx| self.poll_with(&self.readiness.read, cx, &mut attempt)).await
    }

    /// Writes by `attempt`, once the socket accepts data.
    pub(crate) fn poll_write_with<R>(
        &self,
        cx: &Context<'_>,
        attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_with(&self.readiness.write, cx, attempt)
    }

    fn poll_with<R>(
        &self,
        half: &Half,
        cx: &Context<'_>,
        mut attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            // Events from before this attempt are consumed.
            half.is_ready.swap(false, AcqRel);
            match attempt(&self.io) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(half.poll(cx)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    pub(crate) fn get_ref(&self) -> &T {
        &self.io
    }
}

impl Polled<TcpListener> {
    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<(Polled<TcpStream>, SocketAddr)> {
        let accept = |listener: &TcpListener| Ok(acceptfrom_with(listener, NONBLOCKING)?);
        let (socket, peer) = self.read_with(accept).await?;
        let peer = peer.ok_or(Errno::CONNABORTED)?.try_into()?;
        Ok((Polled::register(TcpStream::from(socket))?, peer))
    }
}

impl Polled<TcpStream> {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = rustix::net::socket_with(family, SocketType::STREAM, NONBLOCKING, None)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Not earlier: a socket that is not connecting is reported as closed.
        let polled = Self::register(TcpStream::from(socket))?;
        loop {
            sockopt::socket_error(&polled.io)??;
            match polled.io.peer_addr() {
                Err(error) if error.kind() == ErrorKind::NotConnected => {
                    poll_fn(|cx| polled.readiness.write.poll(cx)).await;
                }
                outcome => return outcome.map(|_| polled),
            }
        }
    }

    /// Reads at least a byte, or 0 at the end.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_with(|mut stream| stream.read(buffer)).await
    }
}

impl<T: AsFd> AsFd for Polled<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl<T> Drop for Polled<T> {
    fn drop(&mut self) {
        // The kernel removes it from the epoll when it is closed.
        self.poller.lock().readiness.remove(&self.key);
    }
}

#[cfg(test)]
mod tests;
