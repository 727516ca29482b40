//! One request to a local service, and its response.

use std::fmt::Display;
use std::sync::Arc;

use async_executor::Executor;
use http::uri::InvalidUri;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};

use super::Invocation;
use super::destination::Destination;
use super::output::Output;
use super::upload::Gate;
use crate::cli::command_line::Exit;
use crate::cli::print::{report, warn};
use crate::client::{self, Client, Options};
use crate::error::Error;
use crate::http::Body;
use crate::settings::Settings;
use crate::tls::ClientFiles;

/// Sends the request, again over HTTPS where the service says so, and takes the response.
pub(super) async fn exchange(
    invocation: Invocation,
    destination: Destination,
    settings: &Settings,
    executor: &Arc<Executor<'static>>,
) -> Result<(), Exit> {
    let path = escaped(&invocation.path);
    let mut output = Output::open(invocation.output.as_deref()).map_err(Error::from)?;
    let mut is_secure = destination.is_secure;
    loop {
        let url = destination.url(is_secure, &path);
        let failed = |why: &dyn Display| {
            Exit::from(Error::Failed(format!("failed to {} {url}: {why}", invocation.method)))
        };
        let tls = if is_secure { Some(trust(settings)?) } else { None };
        let options = Options { origin: destination.origin.clone(), tls, proxy: None };
        let client = surf::Client::with_http_client(Client::new(options, Arc::clone(executor)));
        let request =
            request(&invocation, &path, &output, is_secure).map_err(|error| failed(&error))?;
        let answer = match client.send(client::request(request)).await {
            Ok(carrier) => client::answer(carrier).response,
            Err(error) => {
                let advice = match error.downcast_ref() {
                    Some(error) => destination.advice(error),
                    None => String::new(),
                };
                return Err(failed(&format_args!("{error}{advice}")));
            }
        };
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

fn request(
    invocation: &Invocation,
    path: &str,
    output: &Output,
    is_secure: bool,
) -> Result<Request<Body>, InvalidUri> {
    let uri = Uri::try_from(path)?;
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = invocation.method.clone();
    *request.uri_mut() = uri;
    output.ask(request.headers_mut());
    let fields = request.headers_mut();
    let json = || path.starts_with("/c8y").then(|| HeaderValue::from_static("application/json"));
    if let Some(accept) = invocation.accept_type.clone().or_else(json) {
        fields.insert(header::ACCEPT, accept);
    }
    if invocation.content.is_empty() {
        if !matches!(invocation.method, Method::GET | Method::DELETE) {
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        return Ok(request);
    }
    let media_type =
        invocation.content_type.clone().unwrap_or_else(|| invocation.content.media_type());
    fields.insert(header::CONTENT_TYPE, media_type);
    let gate = if is_secure {
        Gate::default()
    } else {
        fields.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        Gate::closed(&mut request)
    };
    *request.body_mut() = invocation.content.body(gate);
    Ok(request)
}

fn trust(settings: &Settings) -> Result<Arc<rustls::ClientConfig>, Error> {
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
    Ok(loaded.config)
}

fn said(status: StatusCode) -> String {
    let whose = match status.as_u16() {
        400..500 => "client error",
        500.. => "server error",
        _ => "answer",
    };
    format!("HTTP {whose}: {status}")
}

/// The body of an answer that is an error, for a person.
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

/// What a URI cannot hold is percent-encoded; what is encoded stays as it is.
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'"'
            | b'#'
            | b'<'
            | b'>'
            | b'\\'
            | b'^'
            | b'`'
            | b'{'
            | b'|'
            | b'}'
            | ..=b' '
            | 0x7f.. => {
                escaped.push_str(&format!("%{byte:02X}"));
            }
            _ => escaped.push(char::from(byte)),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_encoded_where_it_must_be_and_nowhere_else() {
        assert_eq!(escaped("/te/v1/files/a b/ü%20?q=1;2"), "/te/v1/files/a%20b/%C3%BC%20?q=1;2");
    }
}
