//! One fetch under way, and those who wait for it.

use std::sync::OnceLock;

use event_listener::Event;

use super::{Error, Grant};

/// An outcome that everybody shares, whoever asked first and however it ends.
#[derive(Debug, Default)]
pub(super) struct Flight {
    outcome: OnceLock<Result<Grant, Error>>,
    done: Event,
}

impl Flight {
    /// Lets everybody know. The first outcome counts.
    pub(super) fn land(&self, outcome: Result<Grant, Error>) {
        if self.outcome.set(outcome).is_ok() {
            self.done.notify(usize::MAX);
        }
    }

    /// Waits for the outcome.
    pub(super) async fn landed(&self) -> Result<Grant, Error> {
        loop {
            let done = self.done.listen();
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
            done.await;
        }
    }
}
