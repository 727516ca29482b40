//! What is served on a listening socket, from accept to close.

pub(crate) mod connection;
mod exchange;
pub(crate) mod listener;
pub(crate) mod state;

pub use state::ConnectionState;
