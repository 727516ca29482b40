//! WebSocket and whatever else a connection may switch to, once upstream has agreed to it.
//!
//! It knows nothing of the protocol that follows.

use common::http::{Body, Upgrade, answer_with_upgrade, crossing};
use common::net::Stream;
use http::header::UPGRADE;
use http::{HeaderValue, Response};

use crate::relay::relay;

/// Passes upstream's `101 Switching Protocols` on, and then bytes both ways.
pub(crate) fn switch(
    mut response: Response<Body>,
    upstream: Stream,
    asked: HeaderValue,
) -> tide::Response {
    let fields = response.headers_mut();
    let agreed = fields.remove(UPGRADE).unwrap_or(asked);
    crossing::to_client(fields);
    crossing::set_upgrade(fields, agreed);

    let tunnel = Upgrade::new(move |client| async move {
        if let Err(error) = relay(client, upstream).await {
            log::debug!("an upgraded connection ended: {error}");
        }
    });
    answer_with_upgrade(response, tunnel)
}
