//! The digests of the body in upstream's answer: the answer is cached only if they match.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::http::digest::Digests as Standard;
use http::{HeaderMap, HeaderName};

use super::md5::Md5;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// The expected digests, and those of the bytes so far. A field that cannot be parsed is ignored.
#[derive(Default)]
pub(super) struct AllDigests {
    standard: Standard,
    md5: Option<(Vec<u8>, Md5)>,
}

impl AllDigests {
    pub(super) fn expected_by(fields: &HeaderMap) -> Self {
        let md5 = fields.get(CONTENT_MD5).and_then(|value| STANDARD.decode(value).ok());
        Self {
            standard: Standard::expected_by(fields).unwrap_or_default(),
            md5: md5.filter(|digest| digest.len() == 16).map(|digest| (digest, Md5::default())),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.standard.update(bytes);
        if let Some((_, md5)) = &mut self.md5 {
            md5.update(bytes);
        }
    }

    /// The first field whose digest does not match the body.
    pub(super) fn wrong(self) -> Option<&'static str> {
        let is_wrong = |(expected, md5): (Vec<u8>, Md5)| md5.finish()[..] != expected;
        let wrong = self.standard.verify().err();
        wrong.or_else(|| self.md5.is_some_and(is_wrong).then_some("Content-MD5"))
    }
}
