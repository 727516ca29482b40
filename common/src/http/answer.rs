//! The answer to a request: a response, and the use of the connection after it.

use ::http::Response;
use futures_lite::future::Boxed;

use super::body::Body;
use crate::net::Stream;

/// What a request is answered with.
pub struct Answer {
    /// The response.
    pub response: Response<Body>,
    /// What the connection is used for afterwards; `None` means the next request.
    pub upgrade: Option<Upgrade>,
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self { response, upgrade: None }
    }
}

/// What to do with a connection once `101 Switching Protocols` is written.
pub struct Upgrade(Box<dyn FnOnce(Stream) -> Boxed<()> + Send>);

impl Upgrade {
    /// `switch` gets the connection, first the bytes that came early.
    pub fn new<F>(switch: impl FnOnce(Stream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Box::new(|stream| Box::pin(switch(stream))))
    }

    pub(crate) async fn switch(self, stream: Stream) {
        (self.0)(stream).await;
    }
}
