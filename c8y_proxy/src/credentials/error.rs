//! Why there are no credentials to be had.

/// No token. Everybody who waited gets the same error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Nothing came in time.
    #[error("no token within {limit} s: {waiting}")]
    Late {
        /// How long was waited, in seconds.
        limit: u64,
        /// What had not happened by then.
        waiting: String,
    },
    /// Cumulocity gives no token over HTTPS.
    #[error("no token from {from}: {fault}")]
    Refused {
        /// Who was asked.
        from: String,
        /// Why not, and what to do.
        fault: String,
    },
    /// What came is no token.
    #[error("the answer on {topic} is not a token: {fault}")]
    Malformed {
        /// Where it came.
        topic: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}
