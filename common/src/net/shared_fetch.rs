//! One fetch whose result many tasks wait for. Knows neither what is fetched nor by which task.

use std::sync::OnceLock;

use event_listener::Event;

/// The outcome of a fetch in progress. All waiting tasks get clones of it.
#[derive(Debug)]
pub struct SharedFetch<T, E> {
    outcome: OnceLock<Result<T, E>>,
    done: Event,
}

impl<T, E> Default for SharedFetch<T, E> {
    fn default() -> Self {
        Self { outcome: OnceLock::new(), done: Event::new() }
    }
}

impl<T: Clone, E: Clone> SharedFetch<T, E> {
    /// Ends the fetch and wakes all waiting tasks. Only the first outcome counts.
    pub fn finish(&self, outcome: Result<T, E>) {
        if self.outcome.set(outcome).is_ok() {
            self.done.notify(usize::MAX);
        }
    }

    /// Whether there is an outcome.
    pub fn is_done(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// Waits for the outcome.
    pub async fn outcome(&self) -> Result<T, E> {
        loop {
            let done = self.done.listen();
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
            done.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once, zip};

    use super::*;

    #[test]
    fn everybody_who_asks_gets_the_first_outcome() {
        let fetch = SharedFetch::<u8, u8>::default();
        block_on(async {
            let (mut first, mut second) = (Box::pin(fetch.outcome()), Box::pin(fetch.outcome()));
            assert!(
                poll_once(&mut first).await.is_none() && poll_once(&mut second).await.is_none()
            );
            fetch.finish(Err(1));
            fetch.finish(Ok(2));
            assert_eq!(zip(first, second).await, (Err(1), Err(1)));
            assert_eq!((fetch.outcome().await, fetch.is_done()), (Err(1), true));
        });
    }
}
