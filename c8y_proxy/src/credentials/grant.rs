//! The credentials of one request: the value of `Authorization`, and which credentials they are.

use http::HeaderValue;

/// The credentials of one request.
#[derive(Clone, Debug)]
pub struct Grant {
    value: HeaderValue,
    number: u64,
}

impl Grant {
    /// `number` distinguishes these credentials from earlier and later ones.
    pub(super) fn new(value: HeaderValue, number: u64) -> Self {
        Self { value, number }
    }

    /// The value of `Authorization`.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }
}
