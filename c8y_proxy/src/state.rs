//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::error::Error;
use http::HeaderValue;

use crate::credentials::Credentials;

/// The client of Cumulocity, the device's credentials, and whether the service is about to stop.
#[derive(Clone)]
pub struct State(Arc<Shared>);

struct Shared {
    host: HeaderValue,
    client: surf::Client,
    credentials: Credentials,
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
        Ok(Self(Arc::new(Shared { host, client, credentials, draining })))
    }

    /// Reads the device's credentials again, where they are in a file.
    pub(crate) async fn reload(&self) {
        self.0.credentials.reload().await;
    }

    pub(crate) fn host(&self) -> &HeaderValue {
        &self.0.host
    }

    pub(crate) fn client(&self) -> &surf::Client {
        &self.0.client
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Relaxed)
    }
}
