//! What server and client stand on: origins, shared fetches, sockets and streams.

mod origin;
pub(crate) mod scratch;
mod shared_fetch;
pub(crate) mod socket;

pub(crate) use self::origin::without_brackets;
pub use self::origin::{Host, Origin};
pub use self::shared_fetch::SharedFetch;
