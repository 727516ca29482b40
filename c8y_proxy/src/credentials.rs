//! The device's credentials: one for everybody, renewed once for all.
//!
//! Basic credentials never change. A token is fetched when somebody needs one, kept ([`cache`]
//! decides, and knows neither time nor broker), and renewed ahead of its end. It is fetched by
//! a task of its own, so that nobody who gives up waiting takes the others' token along. This
//! module knows no HTTP beyond the value of one field.

mod basic;
mod cache;
mod flight;
pub(crate) mod jwt;
mod mqtt;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use async_executor::Executor;
use async_io::Timer;
use futures_lite::FutureExt;
use http::HeaderValue;

use self::cache::{Cache, Launch, Pace, Step, Then};
pub use self::mqtt::Broker;
use self::mqtt::Mqtt;

/// Where the credentials come from (`c8y.auth_method`).
#[derive(Clone, Debug)]
pub enum Method {
    /// A token that the device's certificate earns, by way of the broker.
    Certificate(Broker),
    /// User name and password in this file (`c8y.credentials_path`).
    Basic(PathBuf),
}

/// Why there are no credentials to be had. Whoever waited gets the same one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Nothing came in time.
    #[error("no token within {limit} s: {waiting}")]
    Late {
        /// How long was waited, in seconds.
        limit: u64,
        /// What had not happened by then.
        waiting: String,
    },
    /// What came is no token.
    #[error("the answer on {topic} is not a token: {fault}")]
    Malformed {
        /// Where it came.
        topic: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}

/// What one request is sent with.
#[derive(Clone, Debug)]
pub struct Grant {
    value: HeaderValue,
    number: u64,
}

impl Grant {
    /// The value of `Authorization`.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }
}

/// The device's credentials.
pub struct Credentials(Kind);

enum Kind {
    Basic(HeaderValue),
    Token(Arc<Tokens>),
}

impl Credentials {
    /// Reads what there is to read, and begins to look for the broker.
    ///
    /// # Errors
    ///
    /// Only of the configuration: a broker that is away is waited for.
    pub fn new(
        method: Method,
        executor: &Arc<Executor<'static>>,
    ) -> Result<Self, common::error::Error> {
        match method {
            Method::Basic(path) => Ok(Self(Kind::Basic(basic::authorization(&path)?))),
            Method::Certificate(broker) => {
                let source = Mqtt::start(broker, executor)?;
                Ok(Self(Kind::Token(Tokens::new(Box::new(source), Pace::default(), executor))))
            }
        }
    }

    /// None that anybody takes, for who brings credentials of their own.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn none() -> Self {
        Self(Kind::Basic(HeaderValue::from_static("Basic Og==")))
    }

    /// What to send the next request with.
    ///
    /// # Errors
    ///
    /// No token came within 20 s, or what came is none.
    pub async fn grant(&self) -> Result<Grant, Error> {
        match &self.0 {
            Kind::Basic(value) => Ok(Grant { value: value.clone(), number: 0 }),
            Kind::Token(tokens) => {
                let step = tokens.cache().step(Instant::now());
                tokens.take(step).await
            }
        }
    }

    /// What to try in place of `refused`, which was answered by 401: one that is not this one.
    /// Nothing where there is no other to be had.
    ///
    /// # Errors
    ///
    /// As [`Credentials::grant`].
    pub async fn other_than(&self, refused: &Grant) -> Option<Result<Grant, Error>> {
        let Kind::Token(tokens) = &self.0 else {
            return None;
        };
        let step = tokens.cache().refused(refused.number, Instant::now());
        Some(tokens.take(step).await)
    }

    /// Upstream answered 401 to this one, and nobody waits for another.
    pub fn refused(&self, grant: &Grant) {
        if let Kind::Token(tokens) = &self.0 {
            let step = tokens.cache().refused(grant.number, Instant::now());
            tokens.begin(step.launch);
        }
    }

    /// Upstream took this one.
    pub fn accepted(&self, grant: &Grant) {
        if let Kind::Token(tokens) = &self.0 {
            tokens.cache().accepted(grant.number, Instant::now());
        }
    }

    /// Whether this one can be trusted with a body that cannot be sent twice.
    pub fn is_proved(&self, grant: &Grant) -> bool {
        match &self.0 {
            Kind::Basic(_) => true,
            Kind::Token(tokens) => tokens.cache().is_proved(grant.number, Instant::now()),
        }
    }

    /// In one word each, for a health check: the token's state, and the broker's.
    pub fn health(&self) -> (&'static str, &'static str) {
        match &self.0 {
            Kind::Basic(_) => ("basic", "unused"),
            Kind::Token(tokens) => {
                let token = if tokens.cache().is_alive(Instant::now()) { "valid" } else { "none" };
                (token, if tokens.source.is_connected() { "connected" } else { "disconnected" })
            }
        }
    }
}

/// Where tokens come from.
trait Source: Send + Sync {
    /// A new token. It may take its time: the wait is cut off by who asks.
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String, Error>> + Send + '_>>;

    /// What a fetch that takes long is waiting for.
    fn waiting(&self) -> String;

    /// Whether a fetch could begin at once.
    fn is_connected(&self) -> bool;
}

/// The token, and the one task that may be fetching the next.
struct Tokens {
    cache: Mutex<Cache>,
    source: Box<dyn Source>,
    pace: Pace,
    executor: Arc<Executor<'static>>,
}

impl Tokens {
    fn new(source: Box<dyn Source>, pace: Pace, executor: &Arc<Executor<'static>>) -> Arc<Self> {
        let cache = Mutex::new(Cache::new(pace));
        Arc::new(Self { cache, source, pace, executor: Arc::clone(executor) })
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, launch: Option<Launch>) {
        if let Some(launch) = launch {
            self.executor.spawn(Arc::clone(self).fetch(launch)).detach();
        }
    }

    async fn take(self: &Arc<Self>, step: Step) -> Result<Grant, Error> {
        self.begin(step.launch);
        match step.then {
            Then::Use(grant) => Ok(grant),
            Then::Wait(flight) => flight.landed().await,
            Then::Fail(error) => Err(error),
        }
    }

    async fn fetch(self: Arc<Self>, launch: Launch) {
        let fetched = async {
            Timer::at(launch.not_before).await;
            self.source.fetch().await
        };
        let late = async {
            Timer::after(self.pace.limit).await;
            let limit = self.pace.limit.as_secs();
            Err(Error::Late { limit, waiting: self.source.waiting() })
        };
        let fetched = fetched.or(late).await;

        let outcome = match fetched {
            Ok(token) => {
                let life = jwt::life(&token, SystemTime::now());
                log::debug!("a token for Cumulocity, good for {life:?}");
                self.cache().landed(bearer(&token), life, Instant::now())
            }
            Err(error) => {
                common::journal::complain(&error.to_string(), &"credentials");
                self.cache().failed(error)
            }
        };
        launch.flight.land(outcome);
    }
}

/// RFC 6750, 2.1. The characters of a token were checked on its arrival.
fn bearer(token: &str) -> HeaderValue {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
pub(crate) mod tests;
