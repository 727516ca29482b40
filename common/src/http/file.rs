//! A file as a message body.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::body::{Body, BodyError};
use crate::storage::Reader;

impl Body {
    /// The content of a file. If it is short and in memory, it is read immediately.
    pub fn file(mut reader: Reader) -> Self {
        match reader.read_small() {
            Some(content) => Self::text(content),
            None => Self::stream(FileBody(reader)),
        }
    }
}

/// The content of a file as a response body. If it cannot be sent completely, the connection is
/// reset, so that the client notices it.
struct FileBody(Reader);

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().0.poll_chunk(cx).map(|chunk| {
            chunk.map(|chunk| {
                chunk.map(Frame::data).map_err(|error| {
                    log::error!("a download was interrupted: {error}");
                    error.into()
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.remaining())
    }
}
