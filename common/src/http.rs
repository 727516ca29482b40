//! HTTP messages between the connection and the routes: bodies, answers, the bridge to tide and
//! surf, the fields that cross to a server upstream, and the module that turns errors into
//! responses. Opens no socket.

mod answer;
mod body;
mod bridge;
pub mod conditions;
pub mod crossing;
pub mod digest;
mod file;
pub mod respond;
mod routes;
mod unread;

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};

pub use self::answer::{Answer, Upgrade};
pub use self::body::{Body, BodyError};
pub use self::bridge::BELOW;
pub(crate) use self::bridge::{Outgoing, load, unload, unload_request};
pub use self::routes::Routes;
pub use self::unread::Unread;
