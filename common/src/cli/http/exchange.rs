//! One request to a local service, and its response.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use async_executor::Executor;
use http::{Response, StatusCode, header};

use super::destination::Destination;
use super::output::Output;
use super::request::{Invocation, escaped};
use crate::cli::command_line::Exit;
use crate::cli::print::{report, warn};
use crate::client::{self, Client, Options};
use crate::error::Error;
use crate::http::Body;
use crate::settings::Settings;
use crate::tls::{ClientFiles, ClientTls};

/// The time without a transferred byte after which an exchange is ended, as the services do.
const SILENCE: Duration = Duration::from_secs(60);

/// Sends the request, a second time if the service redirects to HTTPS, and writes the response.
pub(super) async fn exchange(
    invocation: Invocation,
    destination: Destination,
    settings: &Settings,
    executor: &Arc<Executor<'static>>,
) -> Result<(), Exit> {
    let path = escaped(&invocation.path);
    // Without the scheme and the port, which may change between two parts.
    let source = format!("{}{path}", destination.origin.host);
    let output = Output::open(invocation.output.as_deref(), &source);
    let mut output = output.map_err(Error::from)?;
    let mut is_secure = destination.is_secure;
    loop {
        let url = destination.url(is_secure, &path);
        let failed = |why: &dyn Display| {
            Exit::from(Error::Failed(format!("failed to {} {url}: {why}", invocation.method)))
        };
        let tls = if is_secure { Some(trust(settings)?) } else { None };
        let options = Options { origin: destination.origin.clone(), tls, proxy: None };
        let client = Client::new(options, Arc::clone(executor)).with_silence_limit(SILENCE);
        let client = surf::Client::with_http_client(client);
        let mut request = invocation.request(&path, is_secure).map_err(|error| failed(&error))?;
        output.ask(request.headers_mut());
        let answer = client::send(&client, Box::new(request)).await.map_err(|error| {
            let advice = destination.advice(&error);
            failed(&format_args!("{error}{advice}"))
        })?;
        let answer = answer.response;
        if !is_secure && answer.status() == StatusCode::TEMPORARY_REDIRECT {
            let there = answer.headers().get(header::LOCATION);
            if there.is_some_and(|there| there == &destination.url(true, &path)) {
                is_secure = true;
                continue;
            }
        }
        if output.is_outdated(&answer).map_err(Error::from)? {
            continue;
        }
        if !answer.status().is_success() {
            report(&format!(
                "Error: failed to {} {url}: {}",
                invocation.method,
                said(answer.status())
            ));
            return refuse(answer).await;
        }
        return output.take(answer).await.map_err(|error| failed(&error));
    }
}

fn trust(settings: &Settings) -> Result<ClientTls, Error> {
    let files = ClientFiles {
        roots: settings.c8y_root_cert_path.clone(),
        roots_key: "c8y.root_cert_path",
        cert_file: settings.http_client_auth_cert_file.clone(),
        key_file: settings.http_client_auth_key_file.clone(),
        auth_prefix: "http.client.auth",
        protocol: Some("http/1.1"),
    };
    let loaded = files.load_with_system()?;
    warn(&loaded.warnings);
    Ok(ClientTls::Fixed(loaded.config))
}

fn said(status: StatusCode) -> String {
    let whose = match status.as_u16() {
        400..500 => "client error",
        500.. => "server error",
        _ => "answer",
    };
    format!("HTTP {whose}: {status}")
}

/// Prints the body of an error response.
async fn refuse(answer: Response<Body>) -> Result<(), Exit> {
    let mut body = answer.into_body();
    let mut text = Vec::new();
    while let Some(Ok(chunk)) = body.chunk().await {
        text.extend_from_slice(&chunk);
        if text.len() > 64 * 1024 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    if !text.trim().is_empty() {
        text.trim_end().lines().for_each(report);
    }
    Err(Exit::Reported(1))
}
