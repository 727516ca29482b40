//! A switch of the connection to WebSocket or another protocol, after upstream has agreed.
//!
//! It does not know the protocol that follows.

use common::http::{Answer, Body, Upgrade, crossing};
use common::net::Stream;
use http::header::UPGRADE;
use http::{HeaderValue, Response};

use crate::relay::relay;

/// Passes upstream's `101 Switching Protocols` on, and then carries bytes in both directions.
pub(crate) fn switch(mut response: Response<Body>, upstream: Stream, asked: HeaderValue) -> Answer {
    let fields = response.headers_mut();
    let agreed = fields.remove(UPGRADE).unwrap_or(asked);
    crossing::to_client(fields);
    crossing::set_upgrade(fields, agreed);

    let tunnel = Upgrade::new(move |client| async move {
        if let Err(error) = relay(client, upstream).await {
            log::debug!("an upgraded connection ended: {error}");
        }
    });
    Answer { response, upgrade: Some(tunnel) }
}
