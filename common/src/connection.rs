//! One connection.

pub(crate) mod scratch;
mod watch;
mod wire;

pub use watch::Watch;
pub use wire::Wire;
