//! One connection.

mod watch;
mod wire;

pub use watch::Watch;
pub use wire::Wire;
