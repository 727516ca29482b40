//! What server and client stand on: origins, sockets and streams.

mod origin;
pub(crate) mod scratch;
pub(crate) mod socket;

pub(crate) use self::origin::without_brackets;
pub use self::origin::{Host, Origin};
