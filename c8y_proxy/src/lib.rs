//! The Cumulocity Proxy: it passes a request for `/c8y/{path}` on to `/{path}` of Cumulocity, with
//! the device's credentials.
//!
//! Read it in the order in which a request passes:
//!
//! 1. [`routes`] are the routes, and [`State`] is what all requests share.
//! 2. `forward` passes a request on and its answer back. It sends the request by `upstream`.
//! 3. `target` is the upstream target, and refuses dangerous ones. `access` applies the
//!    access rules.
//! 4. [`common::http::crossing`] says which fields are passed on.
//! 5. [`cache`] answers with what was downloaded before, if the cache is on.
//! 6. [`credentials`] are the device's: from a file, from the broker, or from Cumulocity itself.
//! 7. `upgrade` handles a switch of protocols, and `relay` carries the bytes after it.
//! 8. [`error`] has the answers that the proxy gives itself.
//!
//! `health` answers `/health`.

mod access;
pub mod cache;
pub mod credentials;
pub mod error;
mod forward;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod relay;
mod state;
mod target;
mod upgrade;
mod upstream;

use common::http::respond::endpoint;
use common::http::{BELOW, Routes};

pub use self::state::State;

/// The service, without a socket.
pub fn routes(state: State) -> Routes {
    let mut app = tide::with_state(state.clone());
    for path in ["/c8y", "/c8y/", BELOW] {
        app.at(path).all(endpoint(forward::forward));
    }
    app.at("/health").all(endpoint(health::health));
    Routes::new(app, &["/c8y/"]).with_access(access::judge).with_reload(move || {
        let state = state.clone();
        Box::pin(async move { state.reload().await })
    })
}
