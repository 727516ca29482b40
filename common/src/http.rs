//! HTTP messages between the wire and the routes: bodies, the bridge to tide and surf, and the one
//! place where an error becomes a response.

pub mod bridge;
pub mod respond;

pub use bridge::*;
