//! The Cumulocity Proxy: `/c8y/{path}` here is `/{path}` there, with the device's credentials.
//!
//! Read it in the order in which a request passes:
//!
//! 1. [`routes`] lead it on; [`State`] is what all requests share.
//! 2. `forward` takes it to Cumulocity and its answer back, step by step, by `upstream`.
//! 3. `target` says what is asked upstream, and what may not be asked; `access`, by whom.
//! 4. [`common::http::crossing`] says which fields cross.
//! 5. [`cache`] answers again what was downloaded before, where it is on.
//! 6. [`credentials`] adds the device's, from a file, from the broker, or from Cumulocity itself.
//! 7. `upgrade` takes over where upstream switches protocols; `relay` carries the bytes.
//! 8. [`error`] is everything that is answered without Cumulocity.
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

use common::http::respond::{Respond, endpoint};
use common::http::{BELOW, Routes};

pub use self::state::State;

/// The service, without a socket.
pub fn routes(state: State) -> Routes {
    let mut app = tide::with_state(state.clone());
    app.with(Respond);
    for path in ["/c8y", "/c8y/", BELOW] {
        app.at(path).all(endpoint(forward::forward));
    }
    app.at("/health").all(endpoint(health::health));
    Routes::new(app, &["/c8y/"]).with_access(access::judge).with_reload(move || {
        let state = state.clone();
        Box::pin(async move { state.reload().await })
    })
}

#[cfg(test)]
mod tests;
