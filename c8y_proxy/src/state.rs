//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_executor::Executor;
use common::error::Error;
use http::HeaderValue;

use crate::cache::{self, Cache};
use crate::credentials::Credentials;
use crate::upstream::Upstream;

/// The way to Cumulocity, and whether the service is about to stop.
#[derive(Clone)]
pub struct State(Arc<Shared>);

struct Shared {
    upstream: Arc<Upstream>,
    cache: Option<Cache>,
    draining: Arc<AtomicBool>,
}

impl State {
    /// A proxy to the Cumulocity that `client` connects to, which has to be made of
    /// [`common::client::Client`]. `host` is what the field `Host` names there. `draining` is set
    /// by whoever stops the service.
    ///
    /// # Errors
    ///
    /// `host` is no value of a header field.
    pub fn new(
        host: &str,
        client: surf::Client,
        credentials: Credentials,
        draining: Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let host = HeaderValue::try_from(host)
            .map_err(|_| Error::Configuration(format!("c8y.http: \"{host}\" is no host")))?;
        let upstream = Arc::new(Upstream::new(host, client, credentials));
        Ok(Self(Arc::new(Shared { upstream, cache: None, draining })))
    }

    /// The same, with a cache.
    ///
    /// # Errors
    ///
    /// The directory of the cache cannot be used.
    pub fn with_cache(
        self,
        options: cache::Options,
        executor: Arc<Executor<'static>>,
    ) -> Result<Self, Error> {
        let upstream = Arc::clone(self.upstream());
        let draining = Arc::clone(&self.0.draining);
        let cache = Some(Cache::open(options, Arc::clone(&upstream), executor)?);
        Ok(Self(Arc::new(Shared { upstream, cache, draining })))
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.0.cache.as_ref()
    }

    /// Reads the device's credentials again, where they are in a file.
    pub(crate) async fn reload(&self) {
        self.0.upstream.credentials().reload().await;
    }

    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        &self.0.upstream
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Relaxed)
    }
}
