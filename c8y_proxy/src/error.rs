//! The errors that the proxy answers itself. Each variant has a status and a text.

use common::client;
use common::http::BodyError;
use common::http::respond::Failure;
use http::header::ALLOW;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::credentials;

/// An answer that is not from Cumulocity.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The proxy does not serve this path.
    #[error("Not found: the Cumulocity API is below /c8y")]
    NotFound,
    /// The path does not support this method.
    #[error("Method not allowed: use one of {0}")]
    Method(&'static str),
    /// The request would make Cumulocity revoke the device's token. The client gets no text.
    #[error("")]
    Forbidden,
    /// The client's body ended too early. The client may not be able to read this answer.
    #[error("The request body is incomplete: send it again")]
    RequestBody(#[source] BodyError),
    /// The device has no credentials.
    #[error("no credentials for Cumulocity")]
    Credentials(#[from] credentials::Error),
    /// Cumulocity cannot be reached, or ends the connection before it answers.
    #[error("cannot reach Cumulocity")]
    Unreachable(#[source] BodyError),
    /// Cumulocity does not answer in time.
    #[error("no answer from Cumulocity")]
    Late(#[source] BodyError),
    /// Cumulocity switches to a protocol that was not requested.
    #[error("it switched protocols {0}")]
    UnexpectedUpgrade(&'static str),
    /// Cumulocity answers `304 Not Modified` to a request without a condition.
    #[error("it answered 304 Not Modified to a request without a condition")]
    UnrequestedNotModified,
}

impl Error {
    /// Why there is no answer for the client.
    pub(crate) fn of_client(error: client::Error) -> Self {
        match error {
            client::Error::RequestBody(source) => Self::RequestBody(source.into()),
            error if error.is_timeout() => Self::Late(error.into()),
            error => Self::Unreachable(error.into()),
        }
    }
}

impl Failure for Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::RequestBody(_) => StatusCode::BAD_REQUEST,
            Self::Late(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Credentials(_)
            | Self::Unreachable(_)
            | Self::UnexpectedUpgrade(_)
            | Self::UnrequestedNotModified => StatusCode::BAD_GATEWAY,
        }
    }

    fn fields(&self, fields: &mut HeaderMap) {
        if let Self::Method(methods) = self {
            fields.insert(ALLOW, HeaderValue::from_static(methods));
        }
    }

    fn public(&self) -> Option<String> {
        let cause = match self {
            Self::Credentials(error) => common::error::chain(error),
            Self::Unreachable(error) | Self::Late(error) => common::error::chain(&**error),
            other => other.to_string(),
        };
        Some(format!("Error communicating with Cumulocity: {cause}"))
    }
}
