//! Why there are no credentials.

/// There is no token. All requests that waited get the same error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No token arrived in time.
    #[error("no token within {limit} s: {waiting}")]
    Late {
        /// The waiting time, in seconds.
        limit: u64,
        /// What was still missing.
        waiting: String,
    },
    /// Cumulocity gives no token over HTTPS.
    #[error("no token from {from}: {fault}")]
    Refused {
        /// The server that was asked.
        from: String,
        /// Why, and what to do.
        fault: String,
    },
    /// The answer is not a token.
    #[error("the answer on {topic} is not a token: {fault}")]
    Malformed {
        /// The topic of the answer.
        topic: String,
        /// The fault of the answer.
        fault: &'static str,
    },
}
