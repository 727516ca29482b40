//! Drives a connection upstream. Between two exchanges a task does; while an exchange waits for its
//! answer or reads it, the exchange itself, which is cheaper than waking the task and being woken
//! by it. The task also drives it while a request's body arrives, since the body may have to move
//! while nobody reads the answer.

use std::pin::Pin;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{AcqRel, Acquire, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use atomic_waker::AtomicWaker;
use hyper::client::conn::http1::Connection;

use super::request_body::RequestBody;
use super::state::ConnectionState;
use super::stream::HttpStream;
use crate::net::Stream;
use crate::net::clock::DeadlineTimer;
use crate::net::quiet::{is_quiet, quietly};

/// A connection, and who is woken when it can go on.
pub(super) struct Driver {
    running: Mutex<Running>,
    drivers: Arc<Drivers>,
    state: Arc<ConnectionState>,
}

struct Running {
    connection: Option<Connection<HttpStream, RequestBody>>,
    timer: DeadlineTimer,
    /// That of `drivers`.
    waker: Waker,
}

/// Who drives the connection. hyper has the waker of this one, whoever polls it.
#[derive(Default)]
struct Drivers {
    is_exchange: AtomicBool,
    task: AtomicWaker,
    exchange: AtomicWaker,
    /// The exchange was woken, and has not driven the connection since.
    was_woken: AtomicBool,
}

impl Wake for Drivers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if is_quiet() {
            return;
        }
        if self.is_exchange.load(Acquire) {
            self.was_woken.store(true, Release);
            self.exchange.wake();
        } else {
            self.task.wake();
        }
    }
}

impl Driver {
    pub(super) fn new(
        connection: Connection<HttpStream, RequestBody>,
        state: Arc<ConnectionState>,
    ) -> Self {
        let drivers = Arc::new(Drivers::default());
        let waker = Waker::from(Arc::clone(&drivers));
        let timer = DeadlineTimer::new();
        let running = Mutex::new(Running { connection: Some(connection), timer, waker });
        Self { running, drivers, state }
    }

    /// From now on, the exchange calls [`Driver::drive`].
    pub(super) fn begin(&self) {
        self.drivers.is_exchange.store(true, Release);
    }

    /// From now on, the task drives the connection again.
    pub(super) fn end(&self) {
        let Drivers { is_exchange, task, exchange, was_woken } = &*self.drivers;
        is_exchange.store(false, Release);
        drop(exchange.take());
        let running = &mut *self.running();
        if was_woken.swap(false, AcqRel) || !running.timer.is_set() {
            task.wake();
        }
    }

    /// Whether the exchange drives the connection.
    pub(super) fn is_with_exchange(&self) -> bool {
        self.drivers.is_exchange.load(Acquire)
    }

    fn is_open(&self) -> bool {
        self.running().connection.is_some()
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drives the connection for the exchange that `cx` wakes.
    pub(super) fn drive(&self, cx: &Context<'_>) {
        let Drivers { task, exchange, was_woken, .. } = &*self.drivers;
        exchange.register(cx.waker());
        was_woken.store(false, Release);
        if self.poll().is_ready() {
            task.wake();
        }
    }

    /// Drives the connection until it is closed, exceeds a time limit, or switches to another
    /// protocol.
    fn poll(&self) -> Poll<Option<Stream>> {
        let running = &mut *self.running();
        let Some(connection) = &mut running.connection else { return Poll::Ready(None) };
        let cx = &mut Context::from_waker(&running.waker);
        self.state.begin_turn();
        match Pin::new(connection).poll(cx) {
            Poll::Ready(Ok(())) if self.state.is_switching() => {
                let parts = running.connection.take().map(Connection::into_parts);
                Poll::Ready(parts.map(|parts| {
                    let mut stream = parts.io.into_stream();
                    stream.put_back(parts.read_buf);
                    stream
                }))
            }
            // hyper has passed the error to the task that waits for the answer or the body.
            Poll::Ready(_) => {
                running.connection = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(running.timer.poll(cx, self.state.deadline()));
                self.state.time_out();
                running.connection = None;
                Poll::Ready(None)
            }
        }
    }
}

/// The task that drives a connection.
pub(super) struct Watch(pub(super) Arc<Driver>);

impl Future for Watch {
    type Output = Option<Stream>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        let Self(driver) = self.get_mut();
        driver.drivers.task.register(cx.waker());
        if driver.is_with_exchange() && driver.is_open() {
            return Poll::Pending;
        }
        driver.poll()
    }
}

/// Polls what hyper gives to an exchange that drives the connection. It only changes while the
/// connection is driven, so nobody is woken for it, in either direction.
pub(super) fn take<T>(poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
    quietly(|| poll(&mut Context::from_waker(Waker::noop()))).0
}
