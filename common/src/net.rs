//! What server and client share: origins, the clock, sockets, streams, shared fetches.

use std::task::Context;

mod arrival;
mod below;
pub(crate) mod clock;
pub mod load;
mod origin;
mod polled;
pub(crate) mod quiet;
pub(crate) mod scratch;
mod shared_fetch;
pub(crate) mod socket;
mod stream;
pub(crate) mod unsent;

pub use self::arrival::Arrival;
pub(crate) use self::origin::without_brackets;
pub use self::origin::{Host, Origin};
pub(crate) use self::polled::Polled;
pub use self::polled::{block_on, run};
pub use self::shared_fetch::SharedFetch;
pub use self::stream::Stream;

/// The state of a connection, updated by its stream.
///
/// The first four methods are about the socket, below TLS. The others are about the data above TLS.
pub(crate) trait Observer: Send + Sync {
    /// This many bytes were read from or written to the socket.
    fn moved(&self, _bytes: usize) {}

    /// The socket has nothing to read.
    fn waits_to_read(&self) {}

    /// Whether the socket accepted no more data at the last write.
    fn waits_to_write(&self, _waits: bool) {}

    /// Whether a body that takes data from the socket itself waits for it.
    fn waits_for_body(&self, _waits: bool) {}

    /// Data of the peer was passed to the reader.
    fn received(&self) {}

    /// Whether the reader has to wait before it gets more. The task is woken then. `is_between`: TLS
    /// has nothing that is decrypted.
    fn holds_reads(&self, _is_between: bool, _cx: &Context<'_>) -> bool {
        false
    }

    /// This many bytes were accepted for sending. True if the task has to be polled again.
    fn sent(&self, _bytes: usize) -> bool {
        false
    }
}

/// For a socket whose state is not needed.
impl Observer for () {}
