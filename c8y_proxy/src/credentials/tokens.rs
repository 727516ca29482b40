//! One token for all requests, fetched when a request needs one and renewed before its end.
//!
//! The [`token_cache`](super::token_cache) decides; this module carries out its decisions. A fetch is a task of
//! its own, so a cancelled request does not end the fetch for others. This module does not know
//! where tokens come from.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_executor::Executor;
use async_io::Timer;
use common::tasks::spawn;
use futures_lite::FutureExt;
use http::HeaderValue;

use super::error::Error;
use super::grant::Grant;
use super::jwt;
use super::token_cache::{Action, Decision, Fetch, Timing, TokenCache};

pub(super) trait TokenSource: Send + Sync {
    /// Fetches a new token, without a time limit: the caller drops the future when it takes too
    /// long.
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String, Error>> + Send + '_>>;

    /// What a slow fetch is waiting for.
    fn waiting(&self) -> String;

    /// The source of the last token, in words.
    fn name(&self) -> String;

    /// The state of the connection to the broker, in one word.
    fn broker(&self) -> &'static str;
}

/// The token, and the only task that may fetch the next.
pub(super) struct Tokens {
    cache: Mutex<TokenCache>,
    source: Box<dyn TokenSource>,
    timing: Timing,
    executor: Arc<Executor<'static>>,
}

impl Tokens {
    pub(super) fn new(
        source: Box<dyn TokenSource>,
        timing: Timing,
        executor: &Arc<Executor<'static>>,
    ) -> Arc<Self> {
        let cache = Mutex::new(TokenCache::new(timing));
        Arc::new(Self { cache, source, timing, executor: Arc::clone(executor) })
    }

    /// The token for a request.
    pub(super) async fn grant(self: &Arc<Self>) -> Result<Grant, Error> {
        let decision = self.cache().decide(Instant::now());
        self.carry_out(decision).await
    }

    /// A token other than `refused`, which was answered by 401, if there is one soon. If not, the
    /// log says why.
    pub(super) async fn other_than(self: &Arc<Self>, refused: &Grant) -> Option<Grant> {
        let decision = self.cache().refused(refused.number(), Instant::now());
        self.carry_out(decision).await.ok()
    }

    /// This token was answered by 401, and no request waits for another.
    pub(super) fn refused(self: &Arc<Self>, grant: &Grant) {
        let decision = self.cache().refused(grant.number(), Instant::now());
        self.begin(decision.fetch);
    }

    pub(super) fn accepted(&self, grant: &Grant) {
        self.cache().accepted(grant.number(), Instant::now());
    }

    pub(super) fn is_proved(&self, grant: &Grant) -> bool {
        self.cache().is_proved(grant.number(), Instant::now())
    }

    pub(super) fn is_valid(&self) -> bool {
        self.cache().is_valid(Instant::now())
    }

    pub(super) fn broker(&self) -> &'static str {
        self.source.broker()
    }

    fn cache(&self) -> MutexGuard<'_, TokenCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry_out(self: &Arc<Self>, decision: Decision) -> Result<Grant, Error> {
        self.begin(decision.fetch);
        match decision.action {
            Action::Use(grant) => Ok(grant),
            Action::Wait(fetch) => fetch.outcome().await,
            Action::WaitUntil(fetch, until) => {
                let too_late = async {
                    Timer::at(until).await;
                    Err(late(&*self.source, self.timing.patience))
                };
                fetch.outcome().or(too_late).await
            }
            Action::Fail(error) => Err(error),
        }
    }

    fn begin(self: &Arc<Self>, fetch: Option<Fetch>) {
        if let Some(fetch) = fetch {
            spawn(&self.executor, Arc::clone(self).run(fetch)).detach();
        }
    }

    async fn run(self: Arc<Self>, fetch: Fetch) {
        // Waiting requests are answered within the limit, whenever the fetch begins.
        let pause = fetch.not_before.saturating_duration_since(Instant::now());
        Timer::after(pause).await;
        let limit = self.timing.limit.saturating_sub(pause);
        let outcome = match self::fetch(&*self.source, limit).await {
            Ok(token) => {
                let now = SystemTime::now();
                let life = jwt::life(&token, now);
                let is_expired = life.is_none() && jwt::is_expired(&token, now);
                log::debug!("a token for Cumulocity, valid for {life:?}");
                self.cache().fetched(bearer(&token), life, is_expired, Instant::now())
            }
            Err(error) => {
                common::journal::complain(&error.to_string(), &"credentials");
                self.cache().failed(error)
            }
        };
        fetch.shared.finish(outcome);
    }
}

/// A new token, within `limit`.
pub(super) async fn fetch(source: &dyn TokenSource, limit: Duration) -> Result<String, Error> {
    let too_late = async {
        Timer::after(limit).await;
        Err(late(source, limit))
    };
    source.fetch().or(too_late).await
}

fn late(source: &dyn TokenSource, limit: Duration) -> Error {
    Error::Late { limit: limit.as_secs(), waiting: source.waiting() }
}

/// The value of `Authorization` by RFC 6750, 2.1. The token's characters were checked on arrival.
pub(super) fn bearer(token: &str) -> HeaderValue {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    value
}
