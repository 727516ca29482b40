//! What server and client stand on: sockets and streams.

pub(crate) mod scratch;
pub(crate) mod socket;
