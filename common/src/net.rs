//! What server and client share: origins, the clock, sockets, streams, shared fetches.

mod below;
pub(crate) mod clock;
pub mod load;
mod origin;
pub(crate) mod scratch;
mod shared_fetch;
pub(crate) mod socket;
mod stream;
pub(crate) mod unsent;

pub(crate) use self::origin::without_brackets;
pub use self::origin::{Host, Origin};
pub use self::shared_fetch::SharedFetch;
pub use self::stream::Stream;

/// The state of a connection, which its stream keeps up to date.
///
/// The first three methods speak of the socket, below TLS; the last two of what is above it.
pub(crate) trait Observer: Send + Sync {
    /// So many bytes have crossed the socket, in either direction.
    fn moved(&self, _bytes: usize) {}

    /// The socket has nothing to read.
    fn waits_to_read(&self) {}

    /// Whether the last write found that the socket takes no more.
    fn waits_to_write(&self, _waits: bool) {}

    /// Some bytes of the peer's were handed on.
    fn received(&self) {}

    /// So many bytes were taken to be sent. True where the task has to be polled again.
    fn sent(&self, _bytes: usize) -> bool {
        false
    }
}

/// For a socket whose state nobody asks for.
impl Observer for () {}
