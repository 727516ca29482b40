//! The File Transfer Service: HTTP access to the files below one directory, and to the entities of
//! an agent on the same device. Read it in the order in which a request passes:
//!
//! 1. [`routes`] lead to `handlers`, the functions that answer.
//! 2. `path` parses the target of a request into the path of a file, or refuses it. Before that,
//!    `access` checks the access rules, if there are any.
//! 3. `conditions` evaluates preconditions and ranges.
//! 4. `upload` unpacks a request body, checks its digest, and passes it to the storage.
//! 5. [`storage`] reads, replaces and deletes files. It knows no HTTP.
//!
//! `entities` passes requests for `/te/v1/entities` on to the agent.
//!
//! [`error`] has the errors. [`common::http::respond`] turns them into responses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_executor::Executor;
use common::http::respond::endpoint;
use common::http::{BELOW, Routes};
use common::net::Origin;
use http::Method;

mod access;
mod conditions;
mod entities;
pub mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod handlers;
mod path;
pub mod storage;
mod upload;

use entities::Agent;
use path::PREFIXES;
use storage::Storage;

/// What the handlers share.
#[derive(Clone)]
pub struct State {
    storage: Storage,
    draining: Arc<AtomicBool>,
    agent: Option<Arc<Agent>>,
}

impl State {
    /// `draining` becomes true when the service is stopping.
    pub fn new(storage: Storage, draining: Arc<AtomicBool>) -> Self {
        Self { storage, draining, agent: None }
    }

    /// The same, with the agent at this address. Its connections run as tasks of `executor`.
    #[must_use]
    pub fn with_agent(self, origin: Origin, executor: Arc<Executor<'static>>) -> Self {
        Self { agent: Agent::at(origin, executor).map(Arc::new), ..self }
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// The routes. The prefix of the documentation and that of thin-edge.io 2 lead to the same files. A
/// GET or HEAD of a file gets an express answer, unless that would wait for the disk.
pub fn routes(state: State) -> Routes {
    let mut app = tide::with_state(state.clone());
    app.at(BELOW)
        .get(endpoint(handlers::download))
        .head(endpoint(handlers::download))
        .put(endpoint(handlers::upload))
        .delete(endpoint(handlers::delete))
        .all(endpoint(handlers::refuse));
    for path in entities::ROUTES {
        app.at(path).all(endpoint(entities::pass_on));
    }
    app.at("/health")
        .get(endpoint(handlers::health))
        .head(endpoint(handlers::health))
        .all(endpoint(handlers::refuse_health));

    let storage = state.storage.clone();
    Routes::new(app, PREFIXES)
        .with_access(access::judge)
        .with_passed_on(entities::ROUTES[0])
        .with_express_answers(move |head, arrival| {
            let is_download = matches!(head.method, Method::GET | Method::HEAD);
            is_download.then(|| handlers::download_cached(&state, head, arrival))?
        })
        .with_release(move || storage.close_unused())
}

#[cfg(test)]
mod tests;
