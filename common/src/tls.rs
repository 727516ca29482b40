//! Builds the rustls configurations of servers and clients from PEM files, reloads them, and
//! describes certificates and refusals in words.
//!
//! Opens no socket and knows no HTTP. Files are read with blocking calls: at start, or on a thread
//! that may block.

mod admission;
mod authorities;
mod client;
mod device;
mod explain;
mod fingerprint;
mod identity;
mod pinned;
mod reload;
mod reloading_client;
mod revocation;
mod server;
mod source;
#[cfg(test)]
mod tests;
mod tickets;

pub use client::{ClientFiles, ClientIdentity};
pub use device::DeviceIdentity;
pub(crate) use explain::refusal;
pub use explain::{explain, explain_io};
pub(crate) use fingerprint::Fingerprint;
pub use reload::ReloadingServer;
pub(crate) use reload::VerifiedClient;
pub use reloading_client::{ClientTls, ReloadingClient};
pub use rustls::client::danger::ServerCertVerifier;
pub use server::{ServerFiles, ServerIdentity};

/// The application protocol that is agreed on in a handshake (ALPN).
const HTTP: &[u8] = b"http/1.1";
