//! Asks upstream whether an entry is unchanged: by a conditional request or, if the answer had no
//! validator, by the binary's managed object in the inventory.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_io::Timer;
use common::client::Answer;
use common::http::Body;
use common::journal::complain;
use futures_lite::FutureExt;
use futures_lite::future::Boxed;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HOST, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;

use super::entry::Entry;
use super::key::EntryKey;
use super::validator::{self, Object, Validator};
use super::{CacheDecision, CacheStatus, Shared};
use crate::error::Error;
use crate::upstream::Head;

/// How long to wait for upstream before an entry is served without confirmation, if that is
/// allowed, and for the inventory.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest description of a managed object.
const LONGEST: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManagedObject {
    last_updated: String,
    length: Option<u64>,
}

/// Upstream's verdict about an entry.
pub(super) enum Verdict {
    /// It is unchanged. This is the `304 Not Modified`, if upstream sent it.
    Unchanged(Option<Box<Answer>>),
    /// There is another version. The answer may contain it.
    Changed(Option<Box<Answer>>),
    /// The entry must not be served.
    Refused(Box<Answer>),
    /// The answer does not concern the entry.
    Unclear(Box<Answer>),
    /// Upstream cannot be asked.
    Away(Result<Box<Answer>, Error>),
    /// Upstream has not answered within [`PATIENCE`].
    Silent,
}

impl Shared {
    /// Logs once when upstream cannot be asked any more, and once when it can again; both at most
    /// once a minute.
    pub(super) fn note(&self, verdict: &Verdict) {
        let is_away = matches!(verdict, Verdict::Away(_) | Verdict::Silent);
        let offline = self.options.offline;
        if offline.is_zero() || self.is_offline.load(Relaxed) == is_away {
            return;
        }
        if is_away {
            let complaint = format!(
                "Cumulocity cannot be asked whether binaries are unchanged: cached ones are served \
                 for {} s after their last check",
                offline.as_secs()
            );
            self.is_offline.store(complain(&complaint, &"cache"), Relaxed);
        } else {
            self.is_offline.store(false, Relaxed);
            log::info!("cache: Cumulocity can be asked again whether binaries are unchanged");
        }
    }

    /// A request that the cache sends itself: no field of a client's request influences what is
    /// cached.
    pub(super) fn head(&self, method: Method, path: &str) -> Head {
        let mut fields = HeaderMap::new();
        fields.insert(HOST, self.upstream.host().clone());
        fields.insert(ACCEPT, HeaderValue::from_static("*/*"));
        fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let target = Uri::try_from(path).unwrap_or_default();
        Head { method, target, fields }
    }

    /// Sends one. All who do have this one future.
    pub(super) fn send(&self, head: Head) -> Boxed<Result<Box<Answer>, Error>> {
        let upstream = self.upstream.clone();
        async move { upstream.send_as_the_device(head.with(Body::Empty)).await.map(Box::new) }
            .boxed()
    }

    /// Like [`Shared::validate`], for an entry that may be served without confirmation: does not
    /// wait long for a silent cloud.
    pub(super) async fn revalidate_soon(
        &self,
        key: &EntryKey,
        entry: &Entry,
        head: &Head,
    ) -> Verdict {
        let late = async {
            Timer::after(PATIENCE).await;
            Verdict::Silent
        };
        self.revalidate(key, entry, head).or(late).await
    }

    /// Asks upstream whether the entry is unchanged.
    pub(super) async fn revalidate(&self, key: &EntryKey, entry: &Entry, head: &Head) -> Verdict {
        let Some((name, value)) = entry.validator.condition(&entry.fields) else {
            return self.revalidate_by_inventory(key, entry).await;
        };
        let mut asked = self.head(head.method.clone(), &key.path);
        asked.fields.insert(name, value);
        match self.send(asked).await {
            Ok(answer) => match answer.response.status() {
                StatusCode::NOT_MODIFIED => {
                    if is_of_another(answer.response.headers(), &entry.fields) {
                        Verdict::Changed(None)
                    } else {
                        Verdict::Unchanged(Some(answer))
                    }
                }
                StatusCode::OK if head.method == Method::HEAD && is_same(&answer, entry) => {
                    Verdict::Unchanged(None)
                }
                StatusCode::OK => Verdict::Changed(Some(answer)),
                status if is_away(status) => Verdict::Away(Ok(answer)),
                status if is_of_the_moment(status) => Verdict::Unclear(answer),
                _ => Verdict::Refused(answer),
            },
            Err(error) => Verdict::Away(Err(error)),
        }
    }

    /// Asks the inventory whether a binary is unchanged.
    pub(super) async fn revalidate_by_inventory(&self, key: &EntryKey, entry: &Entry) -> Verdict {
        let Validator::Object(updated) = &entry.validator else { return Verdict::Changed(None) };
        match self.object(key).await {
            Ok(Ok(object)) => {
                let is_same = object.updated == *updated
                    && object.length.is_none_or(|length| length == entry.length);
                if is_same { Verdict::Unchanged(None) } else { Verdict::Changed(None) }
            }
            Ok(Err(answer)) if is_away(answer.response.status()) => Verdict::Away(Ok(answer)),
            Ok(Err(answer)) if is_of_the_moment(answer.response.status()) => {
                Verdict::Unclear(answer)
            }
            // Upstream reports the error when it is asked for the binary.
            Ok(Err(_)) => Verdict::Changed(None),
            Err(error) => Verdict::Away(Err(error)),
        }
    }

    /// Asks the inventory, but does not wait long for it: the binary may be had without it.
    /// `Ok(Err(_))`: it gives another answer.
    pub(super) async fn object(
        &self,
        key: &EntryKey,
    ) -> Result<Result<Object, Box<Answer>>, Error> {
        let late = async {
            Timer::after(PATIENCE).await;
            Err(Error::Late("the inventory does not answer".into()))
        };
        self.look_up(key).or(late).await
    }

    async fn look_up(&self, key: &EntryKey) -> Result<Result<Object, Box<Answer>>, Error> {
        let Some(path) = key.object() else { return Ok(Err(Box::default())) };
        let head = self.head(Method::GET, &path);
        let mut answer = self.send(head).await?;
        let is_encoded = answer.response.headers().contains_key(CONTENT_ENCODING);
        if answer.response.status() != StatusCode::OK || is_encoded {
            return Ok(Err(answer));
        }
        let mut text = Vec::new();
        while let Some(chunk) = answer.response.body_mut().chunk().await {
            text.extend_from_slice(&chunk.map_err(Error::Unreachable)?);
            if text.len() > LONGEST {
                break;
            }
        }
        Ok(match serde_json::from_slice::<ManagedObject>(&text) {
            Ok(object) if object.last_updated.is_empty() => Err(answer),
            Ok(object) => Ok(Object { updated: object.last_updated, length: object.length }),
            Err(_) => Err(answer),
        })
    }
}

/// Whether a gateway has answered in place of upstream.
fn is_away(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Whether the answer is about the request or the server, not about the entry.
fn is_of_the_moment(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 407 | 408 | 421 | 425 | 429)
}

/// Whether the answer to HEAD describes the entry (RFC 9111, 4.3.5).
fn is_same(answer: &Answer, entry: &Entry) -> bool {
    let (fields, kept) = (answer.response.headers(), &entry.fields);
    let tag = entry.validator.range_condition(kept).filter(|_| entry.validator == Validator::Tag);
    let length = fields.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    tag.is_some_and(|tag| fields.get(ETAG) == Some(tag))
        && length.is_none_or(|length| length == entry.length.to_string().as_bytes())
        && validator::may_be_kept(fields)
}

/// Whether a `304 Not Modified` names another version than that of the entry (RFC 9111, 4.3.4).
fn is_of_another(confirmed: &HeaderMap, kept: &HeaderMap) -> bool {
    if confirmed.contains_key(ETAG) {
        return opaque(confirmed) != opaque(kept);
    }
    let dates = confirmed.get(LAST_MODIFIED).zip(kept.get(LAST_MODIFIED));
    dates.is_some_and(|(confirmed, kept)| confirmed != kept)
}

/// The entity tag, weak or strong.
fn opaque(fields: &HeaderMap) -> Option<&[u8]> {
    let tag = fields.get(ETAG)?.as_bytes();
    Some(tag.strip_prefix(b"W/").unwrap_or(tag))
}

/// Passes on the answer that upstream has given in place of a confirmation.
pub(super) fn forwarded(answer: Box<Answer>) -> CacheDecision {
    let code = answer.response.status();
    let status = CacheStatus::new("fwd=stale; fwd-status=", code.as_str());
    CacheDecision { answer: Some(answer), status }
}
