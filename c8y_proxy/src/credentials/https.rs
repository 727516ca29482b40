//! A token from Cumulocity itself, requested over mutual TLS with the device's certificate.
//!
//! The certificate and its key are read for each token, so a renewed certificate needs no restart.
//! This module does not know how long a token is valid or which requests wait for it.

use std::fmt::Display;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_executor::Executor;
use async_io::Timer;
use common::client::{self, Client, Options};
use common::http::Body;
use common::staging;
use common::tasks::unblock;
use common::tls::{ClientTls, DeviceIdentity, ReloadingClient};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::response::Parts;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};

use super::error::Error;
use super::jwt;
use super::tokens::TokenSource;

const PATH: &str = "/devicecontrol/deviceAccessToken";

/// The certificates up to the root that the tenant knows: PEM, with blanks in place of line ends.
const CHAIN: HeaderName = HeaderName::from_static("x-ssl-cert-chain");

/// The longest accepted answer.
const LONGEST: usize = 16 * 1024;

/// Certificate and key are replaced one after the other. If they do not belong together, they are
/// read again after this pause, this many times.
const PAUSE: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 5;

/// A connection without an answer is tried again, up to this many times in all. A transient failure
/// then does not fail all waiting requests until the next fetch.
const TRIES: usize = 3;

/// Where a token is requested over HTTPS, and with which certificate.
#[derive(Clone, Debug)]
pub struct HttpsOptions {
    /// The client that connects there.
    pub client: Options,
    /// Verifies the server's certificate, as for all requests to Cumulocity.
    pub trust: Arc<ReloadingClient>,
    /// `device.cert_path`.
    pub certificate: PathBuf,
    /// `device.key_path`.
    pub key: PathBuf,
}

impl HttpsOptions {
    /// Reads the device's certificate and key. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// Names the setting, the file and its fault.
    pub fn identity(&self) -> Result<DeviceIdentity, common::error::Error> {
        staging::refresh(&[&self.certificate, &self.key]);
        DeviceIdentity::load(&self.trust.verifier(), &self.certificate, &self.key)
    }
}

/// Requests a token, each time over a new connection.
pub(super) struct Https {
    options: Arc<HttpsOptions>,
    executor: Arc<Executor<'static>>,
    waiting: Mutex<String>,
}

impl Https {
    pub(super) fn new(options: HttpsOptions, executor: &Arc<Executor<'static>>) -> Self {
        let (options, executor) = (Arc::new(options), Arc::clone(executor));
        Self { options, executor, waiting: Mutex::default() }
    }

    async fn ask(&self) -> Result<String, Error> {
        let identity = self.identity().await.map_err(|fault| self.refused(fault))?;
        self.wait_for(format!("no answer from {}", self.name()));
        let mut tries = 1;
        let answer = loop {
            match self.send(&identity).await {
                Err(_) if tries < TRIES => tries += 1,
                answer => break answer.and_then(|answer| answer),
            }
            Timer::after(PAUSE).await;
        };
        answer.map_err(|fault| self.refused(fault))
    }

    async fn identity(&self) -> Result<DeviceIdentity, String> {
        let mut attempts = 1;
        loop {
            let options = Arc::clone(&self.options);
            match unblock(move || options.identity()).await {
                Err(error) if attempts < ATTEMPTS => self.wait_for(error.to_string()),
                identity => return identity.map_err(|error| error.to_string()),
            }
            attempts += 1;
            Timer::after(PAUSE).await;
        }
    }

    /// Fails if there is no answer. The answer may or may not be a token.
    async fn send(&self, identity: &DeviceIdentity) -> Result<Result<String, String>, String> {
        let mut options = self.options.client.clone();
        options.tls = Some(ClientTls::Fixed(Arc::clone(&identity.config)));
        let client = Client::new(options, Arc::clone(&self.executor));
        let client = surf::Client::with_http_client(client);
        let mut request = Request::new(Body::Empty);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(PATH);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        // Some servers require a body in each POST.
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
        if let Some(chain) = &identity.chain {
            let chain = HeaderValue::from_str(chain).map_err(|error| error.to_string())?;
            request.headers_mut().insert(CHAIN, chain);
        }
        let answer =
            client::send(&client, Box::new(request)).await.map_err(|error| match error {
                client::Error::Tls { .. } => shown(&error, identity),
                _ => error.to_string(),
            })?;
        let (head, body) = answer.response.into_parts();
        match head.status {
            StatusCode::OK => Ok(token(&head, body).await),
            status => {
                let fault = format!("it answers {status}: {}", advice(&head));
                Ok(Err(shown(&fault, identity)))
            }
        }
    }

    fn refused(&self, fault: String) -> Error {
        self.wait_for(fault.clone());
        Error::Refused { from: self.name(), fault }
    }

    fn wait_for(&self, what: String) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

impl TokenSource for Https {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String, Error>> + Send + '_>> {
        Box::pin(self.ask())
    }

    fn waiting(&self) -> String {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn name(&self) -> String {
        self.options.client.origin.to_string()
    }

    fn broker(&self) -> &'static str {
        "unused"
    }
}

/// A fault that may be caused by the certificate, with the certificate's subject.
fn shown(fault: &dyn Display, identity: &DeviceIdentity) -> String {
    let mut text = format!("{fault}; the certificate is that of {}", identity.subject);
    for warning in &identity.warnings {
        text.push_str("; ");
        text.push_str(warning);
    }
    text
}

/// The token in an answer, or what to do.
async fn token(head: &Parts, mut body: Body) -> Result<String, String> {
    let mut content = Vec::new();
    while let Some(chunk) = body.chunk().await {
        content.extend_from_slice(&chunk.map_err(|error| error.to_string())?);
        if content.len() > LONGEST {
            return Err("its answer is longer than 16 KiB: see c8y.proxy.token_url".to_owned());
        }
    }
    jwt::from_json(&content).map_err(|fault| {
        let kind = text(head, CONTENT_TYPE).unwrap_or("something without a type");
        format!("it answers with {kind}, and {fault}: see c8y.proxy.token_url and proxy.address")
    })
}

/// The beginning of a field, for an error message.
fn text(head: &Parts, field: HeaderName) -> Option<&str> {
    let text = head.headers.get(field)?.to_str().ok()?;
    Some(text.get(..200).unwrap_or(text))
}

/// What to do about an answer without a token.
fn advice(head: &Parts) -> String {
    let words = match head.status.as_u16() {
        300..400 => {
            let to = text(head, LOCATION).unwrap_or("nowhere");
            return format!(
                "a redirect to {to} is not followed: name the server with \
                 `tedge config set c8y.proxy.token_url HOST:PORT`"
            );
        }
        400 => {
            "this is not the certificate of a device: name the right file with \
             `tedge config set device.cert_path FILE`, and set device.key_path to its key"
        }
        401 => {
            "the certificate is revoked, or its chain leads to no CA that the tenant trusts: \
             upload the CA to Cumulocity (Device management, Trusted certificates)"
        }
        404 => {
            "device access tokens are not enabled in the tenant: ask its administrator to enable them, \
             or type `tedge config set c8y.proxy.token_source mqtt`"
        }
        422 => {
            "the certificate cannot be verified: upload its CA to Cumulocity (Device management, \
             Trusted certificates), or append the intermediate CA certificates to the file in device.cert_path"
        }
        _ => "try again later",
    };
    words.to_owned()
}
