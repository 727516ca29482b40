//! Passes requests for entities on to thin-edge.io's `tedge-agent`, and its answers back. Both are
//! streamed. Does not parse them.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_executor::Executor;
use common::access::{Area, Forbidden, Judge};
use common::client::{self, Client, Options};
use common::http::{Answer, Body, HeaderValue, Request, crossing};
use common::net::Origin;
use http::{Method, Version, request};
use percent_encoding::percent_decode_str;

use crate::State;
use crate::error::Error;

/// The routes: the list of entities, where they are also registered, and the entities below it.
pub(crate) const ROUTES: [&str; 2] = ["/te/v1/entities", "/te/v1/entities/*"];

/// The area of the rules for entities. It contains no file.
pub(crate) const AREA: Area = Area { directory: "te/v1/entities", is_within: true };

/// The methods that the agent supports.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// How long the agent may send nothing.
const SILENCE: Duration = Duration::from_secs(600);

pub(crate) struct Agent {
    client: Client,
    host: HeaderValue,
}

impl Agent {
    /// The agent at this address, over HTTP without TLS. `None`: the address is not a valid header
    /// value.
    pub(crate) fn at(origin: Origin, executor: Arc<Executor<'static>>) -> Option<Self> {
        let host = HeaderValue::try_from(origin.host_field(80)).ok()?;
        let client = Client::new(Options { origin, tls: None, proxy: None }, executor);
        Some(Self { client: client.with_silence_limit(SILENCE), host })
    }
}

/// The rest of a target's path after the path of entities; `None` if it is not below that. The rest
/// is empty or begins with a slash.
fn rest(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(ROUTES[0])?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// Checks that the rules allow the client to do this. `None`: the target is not below the path of
/// entities. The agent decodes the path once, and treats missing parts at its end as empty.
pub(crate) fn judge(head: &request::Parts, judge: &Judge<'_>) -> Option<Result<(), Forbidden>> {
    let rest = rest(head.uri.path())?;
    let path = |rest: &str| format!("{}{}/", AREA.directory, rest.trim_end_matches('/'));
    Some(match plain(rest) {
        Some(text) => judge.may(AREA, head.method.as_str(), &path(&text)),
        None => Err(judge.refuse(AREA, head.method.as_str(), &path(rest))),
    })
}

/// The rest of a path, decoded. `None`: a server could read one of its parts as `.` or `..`, and so
/// find another path.
fn plain(rest: &str) -> Option<Cow<'_, str>> {
    let text = percent_decode_str(rest).decode_utf8().ok()?;
    let is_dots = |part: &str| {
        let name = part.split(';').next().unwrap_or_default();
        matches!(name, "." | "..")
    };
    let is_plain = !text.contains(char::is_control) && !text.split(['/', '\\']).any(is_dots);
    is_plain.then_some(text)
}

/// Answers a request for entities with the agent's answer.
pub(crate) async fn pass_on(
    state: State,
    mut request: Box<Request<Body>>,
) -> Result<Answer, Error> {
    let path = request.uri().path();
    let Some(rest) = rest(path) else { return Err(Error::Elsewhere) };
    if plain(rest).is_none() {
        return Err(Error::Outside(path.to_owned()));
    }
    let is_known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH]
        .contains(request.method());
    if !is_known && request.method() != Method::DELETE {
        return Err(Error::Method(METHODS));
    }
    let Some(agent) = &state.agent else { return Err(Error::NoAgent) };
    crossing::to_upstream(request.headers_mut(), &agent.host);
    let mut response = agent.client.exchange(request).await.map_err(Error::of_agent)?.response;
    crossing::to_client(response.headers_mut());
    *response.version_mut() = Version::HTTP_11;
    Ok(response.into())
}

impl Error {
    /// Why there is no answer from the agent.
    fn of_agent(error: client::Error) -> Self {
        match error {
            client::Error::Connect { source, .. }
                if source.kind() == io::ErrorKind::ConnectionRefused =>
            {
                Self::NoAgent
            }
            client::Error::RequestBody(error) => Self::Short(Some(error.into())),
            error => Self::Agent(error),
        }
    }
}
