//! A switch of the connection to WebSocket or another protocol, after upstream has agreed.
//!
//! It does not know the protocol that follows.

use common::http::{Answer, Body, Upgrade, crossing};
use common::net::Stream;
use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue, Response};

use crate::error::Error;
use crate::relay::relay;

/// Passes upstream's `101 Switching Protocols` on, and then carries bytes in both directions.
///
/// # Errors
///
/// The protocol is not one of those that were `asked` for.
pub(crate) fn switch(
    mut response: Response<Body>,
    upstream: Stream,
    asked: &HeaderValue,
) -> Result<Answer, Error> {
    let fields = response.headers_mut();
    let agreed = agreed(fields, asked).map_err(Error::UnexpectedUpgrade)?;
    crossing::to_client(fields);
    crossing::set_upgrade(fields, agreed);

    let tunnel = Upgrade::new(move |client| async move {
        if let Err(error) = relay(client, upstream).await {
            log::debug!("an upgraded connection ended: {error}");
        }
    });
    Ok(Answer { response, upgrade: Some(tunnel) })
}

/// The protocol to which upstream switches, or what is wrong with it. Upstream may choose only what
/// was requested (RFC 9110, 7.8).
fn agreed(fields: &mut HeaderMap, asked: &HeaderValue) -> Result<HeaderValue, &'static str> {
    let is_asked = |chosen: &[u8]| {
        let mut asked = asked.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        asked.any(|asked| asked.eq_ignore_ascii_case(chosen))
    };
    if !crossing::members(fields, UPGRADE).all(is_asked) {
        return Err("to another protocol than requested");
    }
    let chosen = fields.remove(UPGRADE).filter(|chosen| !chosen.is_empty());
    chosen.ok_or("without saying to which")
}
