//! Exchanges whose large body is read without hyper: the kernel can move it to a file, and hyper's
//! buffers are freed meanwhile.
//!
//! hyper reads the head, and passes on the beginning of the body. Then the connection's task takes
//! the connection and the exchange out of hyper. When the exchange has its response, a new hyper
//! gets a head in place of the first one, and sends the response to it.

use std::sync::Arc;

use http::{Version, header, request};
use hyper::body::{Body, Incoming};

use super::state::ConnectionState;
use crate::http::Unread;

/// The shortest body that is worth it.
const LARGE: u64 = 512 * 1024;

/// How an exchange goes on without hyper.
pub(super) struct Direct {
    pub(super) unread: Arc<Unread>,
    /// The head for the second hyper. It decides with it whether the connection stays open.
    pub(super) head: Vec<u8>,
}

impl Direct {
    /// If the body is large, and its end is known. The route finds it in the extensions.
    pub(super) fn of(head: &mut request::Parts, incoming: &Incoming) -> Option<Self> {
        let length = incoming.size_hint().exact().filter(|length| *length >= LARGE)?;
        if head.version != Version::HTTP_11 {
            return None;
        }
        let unread = Arc::new(Unread::new(length));
        head.extensions.insert(Arc::clone(&unread));
        // No longer than the first one, which was short enough.
        let mut second = b"PUT / HTTP/1.1\r\n".to_vec();
        for value in head.headers.get_all(header::CONNECTION) {
            second.extend([b"connection:", value.as_bytes(), b"\r\n"].concat());
        }
        second.extend(b"\r\n");
        Some(Self { unread, head: second })
    }

    /// The body has begun to arrive, and hyper has nothing to send: neither an earlier answer nor
    /// `100 Continue`.
    pub(super) fn is_due(&self, state: &ConnectionState) -> bool {
        self.unread.is_begun() && !self.unread.is_over() && !state.is_write_blocked()
    }
}
