//! What all requests share.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use async_executor::Executor;
use common::error::Error;
use common::tasks::unblock;
use http::HeaderValue;

use crate::cache::{self, Cache};
use crate::credentials::Credentials;
use crate::upstream::Upstream;

/// The upstream, and whether the service is stopping.
#[derive(Clone)]
pub struct State(Arc<Shared>);

struct Shared {
    upstream: Arc<Upstream>,
    cache: OnceLock<Cache>,
    /// The options of the cache, if it is on.
    options: Option<(cache::Options, Arc<Executor<'static>>)>,
    draining: Arc<AtomicBool>,
}

impl State {
    /// A proxy to the Cumulocity that `client` connects to. `client` must be made of
    /// [`common::client::Client`]. `host` is the value of the field `Host` there. `draining` is set
    /// when the service stops.
    ///
    /// # Errors
    ///
    /// `host` is not a valid header value.
    pub fn new(
        host: &str,
        client: surf::Client,
        credentials: Credentials,
        draining: Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let host = HeaderValue::try_from(host)
            .map_err(|_| Error::Configuration(format!("c8y.http: \"{host}\" is not a host")))?;
        let upstream = Arc::new(Upstream::new(host, client, credentials));
        Ok(Self(Arc::new(Shared { upstream, cache: OnceLock::new(), options: None, draining })))
    }

    /// The same, with a cache, if its directory can be used. If not, a reload tries again. Waits
    /// for the disk.
    pub fn with_cache(self, options: cache::Options, executor: Arc<Executor<'static>>) -> Self {
        let upstream = Arc::clone(self.upstream());
        let draining = Arc::clone(&self.0.draining);
        let options = Some((options, executor));
        let state = Self(Arc::new(Shared { upstream, cache: OnceLock::new(), options, draining }));
        state.open_cache();
        state
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.0.cache.get()
    }

    /// Whether the cache is on, but its directory cannot be used.
    pub(crate) fn lacks_cache(&self) -> bool {
        self.0.options.is_some() && self.cache().is_none()
    }

    fn open_cache(&self) {
        let Some((options, executor)) = self.0.options.clone() else { return };
        match Cache::open(options, Arc::clone(self.upstream()), executor) {
            Ok(cache) => drop(self.0.cache.set(cache)),
            Err(error) => log::warn!("nothing is cached: {error}; then reload this service"),
        }
    }

    /// Reads the device's credentials again, if they are in a file. Opens the cache, if that failed
    /// before.
    pub(crate) async fn reload(&self) {
        self.0.upstream.credentials().reload().await;
        if self.lacks_cache() {
            let state = self.clone();
            unblock(move || state.open_cache()).await;
        }
    }

    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        &self.0.upstream
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Relaxed)
    }
}
