//! The field `Cache-Status` of an answer (RFC 9211).

use common::client::Answer;
use common::http::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The cache's member of `Cache-Status`.
pub(crate) struct CacheStatus(HeaderValue);

impl CacheStatus {
    // The statuses of answers that are not cached. As constants they cost nothing.
    pub(super) const METHOD: Self = Self::fixed("tedge-c8y-proxy; fwd=method");
    pub(super) const BYPASS: Self = Self::fixed("tedge-c8y-proxy; fwd=bypass");
    pub(super) const REQUEST: Self = Self::fixed("tedge-c8y-proxy; fwd=request");

    const fn fixed(member: &'static str) -> Self {
        Self(HeaderValue::from_static(member))
    }

    #[expect(clippy::unwrap_used, reason = "visible ASCII is a value")]
    pub(super) fn new(parameters: &str, more: &str) -> Self {
        Self(HeaderValue::try_from(["tedge-c8y-proxy; ", parameters, more].concat()).unwrap())
    }

    /// Appends it to the fields of an answer, after the members of caches on the way.
    pub(crate) fn add(self, fields: &mut HeaderMap) {
        fields.append(CACHE_STATUS, self.0);
    }
}

/// What the cache decides about a request.
pub(crate) struct CacheDecision {
    /// The answer of the cache. `None`: the request is passed on.
    pub(crate) answer: Option<Box<Answer>>,
    /// What the answer gets in any case.
    pub(crate) status: CacheStatus,
}

impl CacheDecision {
    pub(super) fn passed_on(status: &str) -> Self {
        Self { answer: None, status: CacheStatus::new(status, "") }
    }

    pub(super) fn answered(response: Response<Body>, status: CacheStatus) -> Self {
        Self { answer: Some(Box::new(Answer { response, ..Answer::default() })), status }
    }
}
