//! What a connection is doing, and what it is asked to do.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Accepted; no byte has arrived, or the handshake is incomplete.
    Silent,
    /// Between two requests.
    Idle,
    /// Some bytes of a request's head have arrived.
    Head,
    /// From a complete head to the last byte of its answer.
    Exchange,
    /// The answer is sent; what the peer still sends is discarded.
    Linger,
    /// A tunnel: it no longer speaks HTTP.
    Upgraded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Order {
    Continue,
    /// Finish the exchange in progress, then close.
    Drain,
    /// Answer the exchange in progress with 503, then close.
    Refuse,
    /// Close now. If a request is in progress and its answer has not begun, answer 408 first.
    MakeRoom,
    Close,
}
