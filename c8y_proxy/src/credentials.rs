//! The device's credentials: one set for all requests, renewed once for all requests that wait.
//!
//! Read [`Credentials`] first, then `basic` (user name and password from a file), or `tokens` (one
//! token for all requests), `cache` (when to fetch), and the token sources `mqtt`, `https` and
//! `either`.

mod basic;
mod either;
mod error;
mod grant;
mod https;
pub(crate) mod jwt;
mod mqtt;
mod token_cache;
mod tokens;

use std::path::PathBuf;
use std::sync::Arc;

use async_executor::Executor;
use common::cli::FetchedToken;
use common::net::run;
use common::tls::ReloadingClient;
use common::x509::Time;

use self::basic::Basic;
use self::either::Either;
pub use self::error::Error;
pub use self::grant::Grant;
use self::https::Https;
pub use self::https::HttpsOptions;
use self::mqtt::Mqtt;
pub use self::mqtt::{BrokerOptions, Health};
use self::token_cache::Timing;
use self::tokens::{TokenSource, Tokens};

/// Where the credentials come from (`c8y.auth_method`).
#[derive(Clone, Debug)]
pub enum Method {
    /// A token, which Cumulocity gives for the device's certificate.
    Certificate(Box<Sources>),
    /// User name and password in this file (`c8y.credentials_path`).
    Basic(PathBuf),
}

/// Where a token comes from (`c8y.proxy.token_source`).
#[derive(Clone, Debug)]
pub enum Sources {
    /// From the broker.
    Mqtt(BrokerOptions),
    /// From Cumulocity, over mutual TLS.
    Https(HttpsOptions),
    /// From the broker, and over HTTPS if the broker gives none in time.
    Auto(BrokerOptions, HttpsOptions),
}

impl Method {
    /// Reads the files that the start and a connection to the broker read.
    ///
    /// # Errors
    ///
    /// Those of the start.
    pub fn check(&self) -> Result<(), common::error::Error> {
        match self {
            Self::Basic(path) => Basic::load(path.clone()).map(drop),
            Self::Certificate(sources) => match &**sources {
                Sources::Mqtt(broker) | Sources::Auto(broker, _) => broker.check(),
                Sources::Https(_) => Ok(()),
            },
        }
    }

    /// TLS to the broker, if it is used.
    pub fn trust(&self) -> Option<Arc<ReloadingClient>> {
        match self {
            Self::Basic(_) => None,
            Self::Certificate(sources) => match &**sources {
                Sources::Mqtt(broker) | Sources::Auto(broker, _) => broker.trust.clone(),
                Sources::Https(_) => None,
            },
        }
    }
}

impl Sources {
    fn start(
        self,
        executor: &Arc<Executor<'static>>,
    ) -> Result<Box<dyn TokenSource>, common::error::Error> {
        Ok(match self {
            Self::Mqtt(broker) => Box::new(Mqtt::start(broker, executor)?),
            Self::Https(https) => Box::new(Https::new(https, executor)),
            Self::Auto(broker, https) => {
                Box::new(Either::new(Mqtt::start(broker, executor)?, Https::new(https, executor)))
            }
        })
    }
}

/// The device's credentials.
pub struct Credentials(Inner);

enum Inner {
    Basic(Basic),
    Token(Arc<Tokens>),
}

impl Credentials {
    /// Reads the files, and begins to connect to the broker.
    ///
    /// # Errors
    ///
    /// Only errors of the configuration: if the broker is not available, the connection is tried
    /// again.
    pub fn new(
        method: Method,
        executor: &Arc<Executor<'static>>,
    ) -> Result<Self, common::error::Error> {
        match method {
            Method::Basic(path) => Ok(Self(Inner::Basic(Basic::load(path)?))),
            Method::Certificate(sources) => {
                let source = sources.start(executor)?;
                Ok(Self(Inner::Token(Tokens::new(source, Timing::default(), executor))))
            }
        }
    }

    /// Credentials that are never accepted, for requests that bring their own.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn none() -> Self {
        Self::fixed(http::HeaderValue::from_static("Basic Og=="))
    }

    #[cfg(any(test, feature = "fuzzing"))]
    fn fixed(value: http::HeaderValue) -> Self {
        Self(Inner::Basic(Basic::new(PathBuf::new(), value)))
    }

    /// The credentials for the next request.
    ///
    /// # Errors
    ///
    /// No token arrived within 20 s, or the answer is not a token.
    pub async fn grant(&self) -> Result<Grant, Error> {
        match &self.0 {
            Inner::Basic(basic) => Ok(basic.grant()),
            Inner::Token(tokens) => tokens.grant().await,
        }
    }

    /// The user name, if the credentials are a user name and a password.
    pub(crate) fn user(&self) -> Option<Vec<u8>> {
        match &self.0 {
            Inner::Basic(basic) => basic.user(),
            Inner::Token(_) => None,
        }
    }

    /// How often the user has changed since the start, as far as is known.
    pub(crate) fn user_changes(&self) -> u64 {
        match &self.0 {
            Inner::Basic(basic) => basic.changes(),
            Inner::Token(_) => 0,
        }
    }

    /// The credentials to send in place of `refused`, which was answered by 401. `None` if there
    /// are no others within 5 s.
    pub async fn other_than(&self, refused: &Grant) -> Option<Grant> {
        match &self.0 {
            Inner::Basic(basic) => basic.other_than(refused).await,
            Inner::Token(tokens) => tokens.other_than(refused).await,
        }
    }

    /// Upstream answered 401 to these credentials, and the request is not sent again.
    pub async fn refused(&self, grant: &Grant) {
        match &self.0 {
            Inner::Basic(basic) => drop(basic.other_than(grant).await),
            Inner::Token(tokens) => tokens.refused(grant),
        }
    }

    /// Reads the files again.
    pub async fn reload(&self) {
        if let Inner::Basic(basic) = &self.0 {
            basic.read_again().await;
        }
    }

    /// Upstream accepted these credentials.
    pub fn accepted(&self, grant: &Grant) {
        if let Inner::Token(tokens) = &self.0 {
            tokens.accepted(grant);
        }
    }

    /// Whether upstream accepted these credentials within the last minute. If so, a body that
    /// cannot be sent twice may be sent with them.
    pub fn is_proved(&self, grant: &Grant) -> bool {
        match &self.0 {
            Inner::Basic(_) => true,
            Inner::Token(tokens) => tokens.is_proved(grant),
        }
    }

    /// For `/health`, in one word each: the state of the token, and that of the broker.
    pub fn health(&self) -> (&'static str, &'static str) {
        match &self.0 {
            Inner::Basic(_) => ("basic", "unused"),
            Inner::Token(tokens) => {
                let token = if tokens.is_valid() { "valid" } else { "none" };
                (token, tokens.broker())
            }
        }
    }
}

impl Sources {
    /// Fetches one token, for `tedge c8y token`. Blocks.
    ///
    /// # Errors
    ///
    /// Why there is no token.
    pub fn fetch(mut self) -> Result<FetchedToken, common::error::Error> {
        // This process is not the service, so it publishes no health.
        if let Self::Mqtt(broker) | Self::Auto(broker, _) = &mut self {
            broker.health = None;
        }
        let executor = Arc::new(Executor::new());
        let source = self.start(&executor)?;
        let fetched = tokens::fetch(&*source, Timing::default().limit);
        let fetched = run(&executor, fetched)?;
        let secret = fetched.map_err(|error| common::error::Error::Failed(error.to_string()))?;
        let [user, tenant] = jwt::bearer(&secret);
        let until = match jwt::end(&secret) {
            Some(end) => Time::from_unix(end as i64).to_string(),
            None => "unknown, the token does not say".to_owned(),
        };
        Ok(FetchedToken { secret, user, tenant, source: source.name(), until })
    }
}

#[cfg(test)]
mod tests;
