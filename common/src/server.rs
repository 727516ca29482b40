//! The server: what happens on a listening socket, from accept to close.

mod access;
mod bodies;
mod browsers;
pub(crate) mod connection;
mod direct;
mod exchange;
pub(crate) mod listener;
pub(crate) mod places;
mod refusals;
pub(crate) mod state;
mod turns;

use std::sync::Arc;

use event_listener::Event;

use self::places::Places;
use crate::http::Routes;
use crate::tls::ReloadingServer;

pub(crate) use self::access::ReloadingRules;
pub use self::access::RulesFile;
pub use self::browsers::BrowserRules;

/// What is served, and the limits.
pub(crate) struct Server {
    pub(crate) routes: Routes,
    /// Which web pages may send requests, and under which host names.
    pub(crate) browsers: BrowserRules,
    /// The access rules. Without them, every client may do everything.
    pub(crate) access: Option<ReloadingRules>,
    /// HTTPS with this, or plain HTTP.
    pub(crate) tls: Option<ReloadingServer>,
    /// Whether a peer that has shut down its sending half still gets its answer.
    pub(crate) half_close: bool,
    pub(crate) places: Arc<Places>,
    /// Notified when a connection was opened, fell idle or was closed.
    pub(crate) changed: Event,
}
