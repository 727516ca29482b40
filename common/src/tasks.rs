//! Starts tasks and blocking jobs. An executor is compiled again for each type of future, 3 KB each
//! time, so all futures have one type here.

mod threads;

use std::any::Any;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_executor::{Executor, Task};
use futures_lite::FutureExt;
use futures_lite::future::Boxed;

use self::threads::THREADS;

/// Starts a task. Dropping the task cancels it.
pub fn spawn(
    executor: &Executor<'static>,
    future: impl Future<Output = ()> + Send + 'static,
) -> Task<()> {
    executor.spawn(future.boxed())
}

/// Limits the number of threads for work that may block.
pub(crate) fn limit_threads(most: usize) {
    THREADS.limit(most);
}

/// Work that may block its thread. All work has this one type.
pub(crate) struct Work(Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>);

/// Work on another thread, and its result.
///
/// If this is dropped, work that has not started does not start. Work that has started runs to its
/// end.
pub struct Job<T> {
    task: Task<Box<dyn Any + Send>>,
    returns: PhantomData<fn() -> T>,
}

/// Starts work that may block its thread.
pub fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Job<T> {
    Work::new(work).into_job()
}

impl Work {
    pub(crate) fn new<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Self {
        Self(Box::new(move || Box::new(work())))
    }

    /// The same, and then calls `after`.
    pub(crate) fn then(self, end: impl FnOnce() + Send + 'static) -> Self {
        let Self(work) = self;
        Self(Box::new(move || {
            let returned = work();
            end();
            returned
        }))
    }

    pub(crate) fn start(self) -> Task<Box<dyn Any + Send>> {
        THREADS.start(self.0)
    }

    /// Starts work that returns a `T`.
    pub(crate) fn into_job<T>(self) -> Job<T> {
        Job { task: self.start(), returns: PhantomData }
    }
}

impl<T> Job<T> {
    /// Lets the work run to its end without waiting for it.
    pub fn detach(self) {
        self.task.detach();
    }
}

impl<T: 'static> Future for Job<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.task.poll(cx).map(returned)
    }
}

/// The result of work, which may have to wait before it starts.
///
/// If this is dropped, work that has not started does not start. Work that has started runs to its
/// end.
pub struct Returned<T> {
    future: Boxed<Box<dyn Any + Send>>,
    returns: PhantomData<fn() -> T>,
}

impl<T> Returned<T> {
    /// The future is that of work that returns a `T`.
    pub(crate) fn of(future: impl Future<Output = Box<dyn Any + Send>> + Send + 'static) -> Self {
        Self { future: future.boxed(), returns: PhantomData }
    }
}

impl<T: 'static> Future for Returned<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.future.as_mut().poll(cx).map(returned)
    }
}

fn returned<T: 'static>(any: Box<dyn Any + Send>) -> T {
    match any.downcast() {
        Ok(returned) => *returned,
        Err(_) => unreachable!("the work returns a T"),
    }
}
