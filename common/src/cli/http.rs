//! `tedge http`: asks the two local services, on this device or on the one that the settings
//! name, over TLS where it is on. What is sent comes from [`content`], what comes back goes to
//! [`output`]. Knows no route of the services beyond the first word of a path.

mod content;
mod output;
mod progress;

use std::io;
use std::sync::Arc;

use CertificateError::{
    Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer,
};
use async_executor::Executor;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use rustls::CertificateError;

use self::content::{Content, Gate};
use self::output::Output;
use super::{Command, Line, Stop, Token, Word, report};
use crate::client::{self, Client, Options};
use crate::error::{Error, chain};
use crate::http::Body;
use crate::net::Origin;
use crate::settings::Settings;
use crate::tls::ClientFiles;

/// The subcommand.
pub const COMMAND: Command = Command {
    name: "http",
    summary: "ask the local services for files and for Cumulocity",
    verbs: &[
        Word::new("get URI", "print what is there, or save it"),
        Word::new("delete URI", "remove it"),
        Word::new("put URI [CONTENT]", "store CONTENT there"),
        Word::new("post URI [CONTENT]", "send it"),
        Word::new("patch URI [CONTENT]", "change it"),
    ],
    options: &[
        Word::with(&["get"], "--output FILE", "save there; what broke off is gone on with"),
        Word::with(SENDING, "--data DATA", "the content, - for standard input"),
        Word::with(SENDING, "--file FILE", "the file with the content, - for standard input"),
        Word::with(SENDING, "--content-type TYPE", "what it is, else by its name, else JSON"),
        Word::new("--accept-type TYPE", "what to answer with"),
    ],
    notes: "URI is /c8y/… for Cumulocity, /te/… for files, or /health.\n\
            Settings: http.client.*, c8y.proxy.client.*, c8y.root_cert_path.\n\n\
            Example: tedge http put /te/v1/files/main/log.txt --file log.txt\n",
    run,
};

const SENDING: &[&str] = &["put", "post", "patch"];

fn run(line: &mut Line) -> Result<(), Stop> {
    let asked = Asked::parse(line)?;
    let loaded = Settings::load(&line.config_dir(), std::env::vars_os(), &[])?;
    for warning in &loaded.warnings {
        report(&format!("Warning: {warning}"));
    }
    let service = Service::of(&asked.path, &loaded.settings)?;
    let executor = Arc::new(Executor::new());
    async_io::block_on(executor.run(exchange(asked, service, &loaded.settings, &executor)))
}

/// What stands on the command line.
struct Asked {
    method: Method,
    path: String,
    content: Content,
    content_type: Option<HeaderValue>,
    accept_type: Option<HeaderValue>,
    output: Option<String>,
}

impl Asked {
    fn parse(line: &mut Line) -> Result<Self, Stop> {
        let method = match line.verb()? {
            "get" => Method::GET,
            "delete" => Method::DELETE,
            "put" => Method::PUT,
            "post" => Method::POST,
            _ => Method::PATCH,
        };
        let sends = !matches!(method, Method::GET | Method::DELETE);
        let (mut path, mut content, mut output) = (None, None, None);
        let (mut content_type, mut accept_type) = (None, None);
        while let Some(token) = line.token()? {
            match token {
                Token::Option("--data") if content.is_none() => {
                    content = Some(Content::data(text(line.value()?)?));
                }
                Token::Option("--file") if content.is_none() => {
                    content = Some(Content::file(&text(line.value()?)?)?);
                }
                Token::Option("--data" | "--file") => {
                    return Err(usage("the content is given twice".to_owned()));
                }
                Token::Option("--content-type") => content_type = Some(field(line.value()?)?),
                Token::Option("--accept-type") => accept_type = Some(field(line.value()?)?),
                Token::Option("--output") => output = Some(text(line.value()?)?),
                Token::Word(word) if path.is_none() => path = Some(text(word)?),
                Token::Word(word) if sends && content.is_none() => {
                    content = Some(Content::data(text(word)?));
                }
                other => return Err(other.unexpected()),
            }
        }
        let path = path.ok_or_else(|| usage("URI is missing".to_owned()))?;
        let content = content.unwrap_or_default();
        Ok(Self { method, path, content, content_type, accept_type, output })
    }
}

/// One of the two services, and the settings that lead there.
struct Service {
    origin: Origin,
    is_secure: bool,
    key: &'static str,
}

impl Service {
    fn of(path: &str, settings: &Settings) -> Result<Self, Stop> {
        if path.starts_with("/c8y") {
            return Ok(Self {
                origin: Origin {
                    host: settings.c8y_proxy_client_host.clone(),
                    port: settings.c8y_proxy_client_port,
                },
                is_secure: settings.c8y_proxy_cert_path.is_some(),
                key: "c8y.proxy.client.host",
            });
        }
        if ["/te", "/tedge", "/health"].iter().any(|start| path.starts_with(start)) {
            return Ok(Self {
                origin: Origin {
                    host: settings.http_client_host.clone(),
                    port: settings.http_client_port,
                },
                is_secure: settings.http_cert_path.is_some(),
                key: "http.client.host",
            });
        }
        Err(Error::Failed(format!("Not a local HTTP uri: {path}")).into())
    }

    /// What to do about a request that got no answer.
    fn advice(&self, error: &client::Error) -> String {
        let host = &self.origin.host;
        let refused = match error {
            client::Error::Tls { source, .. } => source.get_ref(),
            error if error.was_sent() => return String::new(),
            _ => None,
        };
        match refused.and_then(|refused| refused.downcast_ref()) {
            Some(rustls::Error::AlertReceived(_)) => {
                " (see http.client.auth.cert_file and http.client.auth.key_file)".to_owned()
            }
            Some(rustls::Error::InvalidCertificate(error)) => match error {
                UnknownIssuer => " (its CA has to be in c8y.root_cert_path)".to_owned(),
                NotValidForName | NotValidForNameContext { .. } => format!(
                    " (set {} to a name that it is for, or make one for this with \
                     `tedge certs server NAME --host {host}`)",
                    self.key
                ),
                Expired | ExpiredContext { .. } => {
                    " (`tedge certs server NAME --force` there makes a new one)".to_owned()
                }
                _ => String::new(),
            },
            _ => format!(" ({} and {} point there)", self.key, self.key.replace("host", "port")),
        }
    }

    fn url(&self, is_secure: bool, path: &str) -> String {
        let scheme = if is_secure { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.origin)
    }
}

async fn exchange(
    asked: Asked,
    service: Service,
    settings: &Settings,
    executor: &Arc<Executor<'static>>,
) -> Result<(), Stop> {
    let path = escaped(&asked.path);
    let mut output = Output::open(asked.output.as_deref())?;
    let mut is_secure = service.is_secure;
    loop {
        let url = service.url(is_secure, &path);
        let failed = |why: String| failure(&asked.method, &url, &why);
        let tls = if is_secure { Some(trust(settings)?) } else { None };
        let options = Options { origin: service.origin.clone(), tls, proxy: None };
        let client = surf::Client::with_http_client(Client::new(options, Arc::clone(executor)));
        let request = request(&asked, &path, &output, is_secure).map_err(&failed)?;
        let answer = match client.send(client::request(request)).await {
            Ok(carrier) => client::answer(carrier).response,
            Err(error) => {
                let advice = match error.downcast_ref() {
                    Some(error) => service.advice(error),
                    None => String::new(),
                };
                return Err(failed(format!("{error}{advice}")));
            }
        };
        if !is_secure && answer.status() == StatusCode::TEMPORARY_REDIRECT {
            let there = answer.headers().get(header::LOCATION);
            if there.is_some_and(|there| there == &service.url(true, &path)) {
                is_secure = true;
                continue;
            }
        }
        if output.is_outdated(&answer)? {
            continue;
        }
        if !answer.status().is_success() {
            report(&format!("Error: failed to {} {url}: {}", asked.method, said(answer.status())));
            return refuse(answer).await;
        }
        return output.take(answer).await.map_err(failed);
    }
}

fn request(
    asked: &Asked,
    path: &str,
    output: &Output,
    is_secure: bool,
) -> Result<Request<Body>, String> {
    let uri = Uri::try_from(path).map_err(|error| error.to_string())?;
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = asked.method.clone();
    *request.uri_mut() = uri;
    output.ask(request.headers_mut());
    let fields = request.headers_mut();
    let json = || path.starts_with("/c8y").then(|| HeaderValue::from_static("application/json"));
    if let Some(accept) = asked.accept_type.clone().or_else(json) {
        fields.insert(header::ACCEPT, accept);
    }
    if asked.content.is_empty() {
        if !matches!(asked.method, Method::GET | Method::DELETE) {
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        return Ok(request);
    }
    let kind = asked.content_type.clone().unwrap_or_else(|| asked.content.kind());
    fields.insert(header::CONTENT_TYPE, kind);
    let gate = if is_secure {
        Gate::default()
    } else {
        fields.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        Gate::closed(&mut request)
    };
    *request.body_mut() = asked.content.body(gate);
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
    let loaded = files.load()?;
    for warning in &loaded.warnings {
        report(&format!("Warning: {warning}"));
    }
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
async fn refuse(answer: Response<Body>) -> Result<(), Stop> {
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
        report(text.trim_end());
    }
    Err(Stop::Reported(1))
}

fn failure(method: &Method, url: &str, why: &str) -> Stop {
    Error::Failed(format!("failed to {method} {url}: {why}")).into()
}

fn unreadable(what: &str, error: &io::Error) -> Stop {
    Error::Failed(format!("{what}: {}", chain(error))).into()
}

fn usage(message: String) -> Stop {
    Error::Usage(message).into()
}

fn text(word: std::ffi::OsString) -> Result<String, Stop> {
    word.into_string().map_err(|word| usage(format!("'{}' is not UTF-8", word.to_string_lossy())))
}

fn field(word: std::ffi::OsString) -> Result<HeaderValue, Stop> {
    let text = text(word)?;
    HeaderValue::from_str(&text).map_err(|_| usage(format!("'{text}' is no media type")))
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
