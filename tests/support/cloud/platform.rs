//! The part of Cumulocity's REST API that devices use, as its OpenAPI documents it, over a store
//! in memory. It knows nothing of connections and tokens, except that fetching what belongs to
//! the web applications revokes the token that it was fetched with.

mod collections;
mod inventory;

use super::body::Content;
use super::connection::{Connection, Ended};
use super::notifications;
pub(super) use collections::Store;

/// The tenant of everybody.
pub(super) const TENANT: &str = "t12345";

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(std::sync::Arc::new(bytes.to_vec()))
    }
}

/// Says that the request brings no good token.
pub(super) fn refuse(connection: &mut Connection) -> Result<(), Ended> {
    connection.read_body()?;
    let message = "Invalid credentials! : Full authentication is required";
    let fields = [
        ("Content-Type", "application/vnd.com.nsn.cumulocity.error+json;charset=UTF-8"),
        ("WWW-Authenticate", "Basic realm=\"Cumulocity IoT\", Bearer"),
    ];
    let body = serde_json::json!({
        "error": "security/Unauthorized",
        "message": message,
        "info": "https://www.cumulocity.com/guides/reference/rest-implementation//#a-name-error-reporting-a-error-reporting",
    });
    connection.answer("401 Unauthorized", &fields, &Content::from(body.to_string().as_bytes()))
}

/// Answers a request that brings a good token.
pub(super) fn answer(connection: &mut Connection) -> Result<(), Ended> {
    let path = String::from_utf8_lossy(connection.request.path()).into_owned();
    if costs_the_token(&path) {
        if let Some(token) = connection.request.bearer() {
            connection.cloud.tokens.revoke(token);
        }
        let page = Content::from(&b"// a web application"[..]);
        return connection.answer("200 OK", &[("Content-Type", "text/javascript")], &page);
    }
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let websocket = notifications::is_asked(connection);
    match parts.as_slice() {
        ["service", "echo", ..] if websocket => notifications::echo(connection),
        ["service", "echo", ..] => echo(connection),
        ["notification2", "consumer", ..] if websocket => notifications::consume(connection),
        ["inventory", "binaries", rest @ ..] => inventory::binaries(connection, rest),
        ["event", "events", id, "binaries"] => inventory::attachment(connection, id),
        _ => collections::answer(connection, &parts),
    }
}

/// Answers with a document.
fn json(
    connection: &mut Connection,
    status: &str,
    kind: &str,
    body: &serde_json::Value,
) -> Result<(), Ended> {
    let kind = match kind {
        "" => "application/json".to_owned(),
        kind => format!("application/vnd.com.nsn.cumulocity.{kind}+json;charset=UTF-8;ver=0.9"),
    };
    let location = body["self"].as_str().filter(|_| status.starts_with("201"));
    let mut fields = vec![("Content-Type", kind.as_str())];
    fields.extend(location.map(|location| ("Location", location)));
    connection.answer(status, &fields, &Content::from(body.to_string().as_bytes()))
}

/// Says that there is no such thing.
fn not_found(connection: &mut Connection, what: &str) -> Result<(), Ended> {
    let message = format!("Finding {what} from database failed : No {what} for given ID!");
    let body = serde_json::json!({ "error": format!("{what}/Not Found"), "message": message });
    json(connection, "404 Not Found", "error", &body)
}

/// Says that the method does not go there.
fn not_allowed(connection: &mut Connection) -> Result<(), Ended> {
    let fields = [("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS")];
    let status = match connection.request.method() {
        b"OPTIONS" => "200 OK",
        _ => "405 Method Not Allowed",
    };
    connection.answer(status, &fields, &Content::from(&b""[..]))
}

/// Sends the body back, with the type that it came with and the request line in a field.
fn echo(connection: &mut Connection) -> Result<(), Ended> {
    let body = connection.body()?;
    let kind =
        String::from_utf8_lossy(connection.request.field("content-type").unwrap_or(b"text/plain"));
    let line = connection.request.head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let (kind, line) = (kind.into_owned(), String::from_utf8_lossy(line).into_owned());
    connection.answer("200 OK", &[("Content-Type", &kind), ("X-Request-Line", &line)], &body)
}

/// Judged more strictly than a proxy needs to, so that no spelling slips through here.
fn costs_the_token(path: &str) -> bool {
    let path = decode(path).to_lowercase();
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let first = parts.next();
    first == Some("apps")
        || first == Some("user") && parts.next() == Some("logout")
        || path.trim_end_matches('/').ends_with(".js")
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = text.get(at + 1..at + 3).and_then(|two| u8::from_str_radix(two, 16).ok());
        match (bytes[at], byte) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
