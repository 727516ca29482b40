//! Receives the body of a PUT: unpacks it, checks its length and digest, and passes it to the
//! storage. Knows no response.

mod age;
pub(crate) mod multipart;
pub(crate) mod parameters;
mod part;

use std::sync::Arc;
use std::time::SystemTime;

use common::http::conditions::Preconditions;
use common::http::digest::Digests;
use common::http::{Body, HeaderMap, Unread, header};
use http::{Version as HttpVersion, request};

use crate::error::Error;
use crate::path::FilePath;
use crate::storage::{Storage, Version};

use multipart::{Envelope, Parsed};

/// How many bytes of a multipart body may be overhead. Only if Content-Length exceeds the limit by
/// more than this is the file certainly too large.
const ENVELOPE: u64 = 64 * 1024;

/// Stores the content of a PUT completely or not at all.
///
/// The body is read only after the request is found acceptable, so a client that waits for `100
/// Continue` does not send it in vain.
pub(crate) async fn receive(
    storage: &Storage,
    path: FilePath,
    head: &request::Parts,
    mut body: Body,
) -> Result<Version, Error> {
    let fields = &head.headers;
    // The end of such a body cannot be distinguished from a broken connection.
    if head.version == HttpVersion::HTTP_10 && !fields.contains_key(header::CONTENT_LENGTH) {
        return Err(Error::LengthRequired);
    }
    if fields.contains_key(header::CONTENT_RANGE) {
        let flaw = "a file can only be replaced as a whole: send all of it";
        return Err(Error::Field { field: "Content-Range", flaw });
    }
    let mut digests = Digests::expected_by(fields)
        .map_err(|field| Error::Field { field, flaw: "use the form sha-256=:BASE64:" })?;
    let mut envelope = Envelope::of(fields)?;
    let declared = declared_length(fields).or_else(|| http_body::Body::size_hint(&body).exact());
    let expected = match envelope {
        Some(_) => declared.map(|length| length.saturating_sub(ENVELOPE)),
        None => declared,
    };
    let own_age = storage.has_ages().then(|| age::of(fields, SystemTime::now())).flatten();
    let mut upload = storage.upload(path, expected, Preconditions::of(fields), own_age).await?;

    let unread: Option<&Arc<Unread>> = head.extensions.get();
    let mut received = 0_u64;
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|error| Error::Short(Some(error)))?;
        received += chunk.len() as u64;
        digests.update(&chunk);
        let Some(envelope) = &mut envelope else {
            upload.write(&chunk).await?;
            if let (Some(unread), true) = (unread, digests.are_none()) {
                received += upload.splice(unread).await?;
            }
            continue;
        };
        envelope.push(&chunk);
        while let Parsed::File(content) = envelope.step().map_err(Error::Envelope)? {
            upload.write(content).await?;
        }
    }

    if declared.is_some_and(|declared| declared != received) {
        return Err(Error::Short(None));
    }
    if let Some(envelope) = envelope {
        envelope.finish().map_err(Error::Envelope)?;
    }
    digests.verify().map_err(|field| Error::Digest { field })?;
    upload.finish().await
}

fn declared_length(fields: &HeaderMap) -> Option<u64> {
    fields.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
