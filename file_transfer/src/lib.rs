//! The File Transfer Service: files below one directory, by HTTP. Read it in the order in which a
//! request passes:
//!
//! 1. [`app`] has the routes; `handlers` are what stands behind them.
//! 2. `path` turns a target into the path of a file, or refuses it.
//! 3. `conditions` decides what a GET is answered with, and whether a PUT or DELETE may go on.
//! 4. `upload` takes a body out of its envelope, checks its digest, and hands it on.
//! 5. [`storage`] reads, replaces and removes files. It knows no HTTP.
//!
//! [`error`] says what can go wrong, and becomes a response in [`common::http::respond`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::http::respond::Respond;
use common::http::{Body, Response};
use http::{Method, request};

mod conditions;
pub mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod handlers;
mod path;
pub mod storage;
mod upload;

pub use path::PREFIXES;

use error::Error;
use storage::Storage;

/// What the endpoints share.
#[derive(Clone)]
pub struct State {
    storage: Storage,
    draining: Arc<AtomicBool>,
}

impl State {
    /// `draining` is set by who stops the service.
    pub fn new(storage: Storage, draining: Arc<AtomicBool>) -> Self {
        Self { storage, draining }
    }

    /// Gives back what was kept for speed. Nothing has been asked for a moment.
    pub fn rest(&self) {
        self.storage.rest();
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// The routes: the documentation's, and those of thin-edge.io 2, to the same files.
pub fn app(state: State) -> tide::Server<State> {
    let mut app = tide::with_state(state);
    app.with(Respond::<Error>::default());
    for prefix in PREFIXES {
        app.at(&format!("{prefix}*path"))
            .get(handlers::download)
            .head(handlers::download)
            .put(handlers::upload)
            .delete(handlers::delete)
            .all(handlers::refuse);
    }
    app.at("/health").get(handlers::health).head(handlers::health).all(handlers::refuse_health);
    app
}

/// The answer to a GET or a HEAD of a file that is in memory. Anything else, and anything that is
/// wrong, is [`app`]'s.
pub fn at_once(state: &State, head: &request::Parts) -> Option<Response<Body>> {
    matches!(head.method, Method::GET | Method::HEAD).then(|| handlers::present(state, head))?
}

#[cfg(test)]
mod tests;
