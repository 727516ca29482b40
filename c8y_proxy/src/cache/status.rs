//! What the cache says of an answer (RFC 9211).

use http::{HeaderMap, HeaderName, HeaderValue};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The cache's member of `Cache-Status`.
pub(crate) struct Status(String);

impl Status {
    pub(super) fn new(parameters: &str) -> Self {
        Self(format!("tedge-c8y-proxy; {parameters}"))
    }

    /// Adds it to the fields of an answer, after what caches on the way have said.
    pub(crate) fn add(self, fields: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(self.0) {
            fields.append(CACHE_STATUS, value);
        }
    }
}
