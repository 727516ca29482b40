//! The answers to requests for an artifact, and for its managed object or event.

use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

use super::super::body::Content;
use super::super::connection::{Connection, Ended};
use super::{Artifact, Framing, Ranges, part};

/// What is sent at once.
const PIECE: u64 = 16 * 1024;

/// Answers a request with good credentials if there is an artifact on its path.
pub(in super::super) fn serve(connection: &mut Connection) -> Result<bool, Ended> {
    let path = String::from_utf8_lossy(connection.request.path()).into_owned();
    let is_get = connection.request.method() == b"GET";
    if !is_get && connection.request.method() != b"HEAD" {
        return Ok(false);
    }
    if let Some((artifact, next_break)) = connection.cloud.artifact(&path, is_get) {
        answer(connection, &artifact, next_break)?;
        return Ok(true);
    }
    let Some((binary, id, collection)) = binary_of(&path) else { return Ok(false) };
    let Some((artifact, _)) = connection.cloud.artifact(&binary, false) else { return Ok(false) };
    describe(connection, &artifact, id, collection)?;
    Ok(true)
}

impl Artifact {
    /// When it is sent, and its validators.
    fn tag(&self) -> String {
        let now = SystemTime::now();
        let date = format!("Date: {}\r\n", httpdate::fmt_http_date(now));
        let etag = self.etag.iter().map(|etag| format!("ETag: {etag}\r\n"));
        let modified = self.modified.iter().map(|date| format!("Last-Modified: {date}\r\n"));
        [date].into_iter().chain(etag).chain(modified).collect()
    }

    /// Whether the request says that its sender has this version already.
    fn is_known_to(&self, connection: &Connection) -> bool {
        let is = |name: &str, value: &Option<String>| {
            let asked = connection.request.field(name);
            asked.is_some() && asked == value.as_ref().map(String::as_bytes)
        };
        is("if-none-match", &self.etag)
            || connection.request.field("if-none-match").is_none()
                && is("if-modified-since", &self.modified)
    }

    /// The part that is to be sent of so many bytes, and whether it is only a part.
    fn part(&self, connection: &Connection, length: u64) -> Result<(u64, u64, bool), ()> {
        let whole = Ok((0, length, self.ranges == Ranges::Always));
        let Some(range) = connection.request.field("range") else { return whole };
        if matches!(self.ranges, Ranges::Unknown | Ranges::Always) {
            return whole;
        }
        if let Some(condition) = connection.request.field("if-range") {
            let is_met = [&self.etag, &self.modified]
                .into_iter()
                .flatten()
                .any(|validator| validator.as_bytes() == condition);
            if !is_met && self.ranges != Ranges::Careless {
                return whole;
            }
        }
        let range = std::str::from_utf8(range).unwrap_or_default();
        let Some((first, last)) = range.strip_prefix("bytes=").and_then(|r| r.split_once('-'))
        else {
            return whole;
        };
        let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(start), Ok(last)) => (start, (last + 1).min(length)),
            (Ok(start), Err(_)) => (start, length),
            (Err(_), Ok(count)) => (length.saturating_sub(count), length),
            (Err(_), Err(_)) => return whole,
        };
        let start = match self.ranges {
            Ranges::Shifted(by) => start + by,
            _ => start,
        };
        if start < end { Ok((start, end, true)) } else { Err(()) }
    }
}

/// Serves it to a request with a good token.
fn answer(
    connection: &mut Connection,
    artifact: &Artifact,
    next_break: Option<u64>,
) -> Result<(), Ended> {
    connection.read_body()?;
    if let Some(status) = artifact.refusal {
        let body = Content::from(&br#"{"error":"security/Forbidden"}"#[..]);
        return connection.answer(status, &[("Content-Type", "application/json")], &body);
    }
    let more: String = artifact.fields.iter().map(|field| format!("{field}\r\n")).collect();
    let tag = artifact.tag();
    if artifact.is_known_to(connection) {
        let head = format!("HTTP/1.1 304 Not Modified\r\nServer: nginx\r\n{tag}{more}\r\n");
        return connection.send(head.as_bytes());
    }
    let takes_gzip = connection
        .request
        .all("accept-encoding")
        .iter()
        .any(|value| String::from_utf8_lossy(value).to_ascii_lowercase().contains("gzip"));
    let (version, coding) = match artifact.coding {
        Some(version) if takes_gzip => (version, "Content-Encoding: gzip\r\n"),
        _ => (artifact.version, ""),
    };
    let vary = if artifact.coding.is_some() { "Vary: Accept-Encoding\r\n" } else { "" };
    let Ok((start, end, is_part)) = artifact.part(connection, artifact.length) else {
        let head = format!(
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{}\r\n\
             Content-Length: 0\r\n\r\n",
            artifact.length
        );
        return connection.send(head.as_bytes());
    };
    let status = if is_part { "206 Partial Content" } else { "200 OK" };
    let mut head = format!(
        "HTTP/1.1 {status}\r\nServer: nginx\r\nContent-Type: application/octet-stream\r\n\
         {coding}{vary}{tag}{more}"
    );
    if is_part {
        let (last, length) = (end - 1, artifact.length);
        head.push_str(&format!("Content-Range: bytes {start}-{last}/{length}\r\n"));
    }
    match artifact.framing {
        Framing::Length => head.push_str(&format!("Content-Length: {}\r\n", end - start)),
        Framing::Wrong(by) => {
            let said = (end - start).saturating_add_signed(by);
            head.push_str(&format!("Content-Length: {said}\r\n"));
        }
        Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        Framing::UntilClose => head.push_str("Connection: close\r\n"),
    }
    head.push_str("\r\n");
    connection.send(head.as_bytes())?;
    if connection.request.method() == b"HEAD" {
        return Ok(());
    }
    send(connection, artifact, version, start..end, next_break)?;
    match artifact.framing {
        Framing::Length => Ok(()),
        Framing::Chunked => connection.send(b"0\r\n\r\n"),
        Framing::Wrong(_) | Framing::UntilClose => Err(Ended::Closed),
    }
}

fn send(
    connection: &mut Connection,
    artifact: &Artifact,
    version: u64,
    range: Range<u64>,
    next_break: Option<u64>,
) -> Result<(), Ended> {
    let (begun, mut at) = (Instant::now(), range.start);
    loop {
        if next_break.is_some_and(|place| at >= place) {
            return Err(Ended::Broken);
        }
        if at >= range.end {
            return Ok(());
        }
        let mut to = (at + PIECE).min(range.end);
        if let Some((place, gate)) = &artifact.gate {
            if at == *place {
                connection.pause(Duration::from_secs(600), || gate.is_open())?;
            } else if at < *place {
                to = to.min(*place);
            }
        }
        if let Some(place) = next_break {
            to = to.min(place);
        }
        let piece = part(version, at, to);
        if artifact.framing == Framing::Chunked {
            connection.send(format!("{:x}\r\n", piece.len()).as_bytes())?;
            connection.send_content(&piece)?;
            connection.send(b"\r\n")?;
        } else {
            connection.send_content(&piece)?;
        }
        at = to;
        if let Some(per_second) = artifact.per_second {
            let due = Duration::from_secs_f64((at - range.start) as f64 / per_second as f64);
            connection.pause(due.saturating_sub(begun.elapsed()), || false)?;
        }
    }
}

/// Says of an artifact what Cumulocity says of a managed object or an event.
fn describe(
    connection: &mut Connection,
    artifact: &Artifact,
    id: &str,
    collection: &str,
) -> Result<(), Ended> {
    connection.read_body()?;
    let fields = [("Content-Type", "application/json")];
    let hidden = (!artifact.has_object).then_some("403 Forbidden");
    if let Some(status) = artifact.refusal.or(hidden) {
        let body = Content::from(&br#"{"error":"security/Forbidden"}"#[..]);
        return connection.answer(status, &fields, &body);
    }
    let body = artifact.object(id, collection).to_string();
    connection.answer("200 OK", &fields, &Content::from(body.as_bytes()))
}

/// The path of the binary that an object's path belongs to, with the object's id and collection.
fn binary_of(path: &str) -> Option<(String, &str, &'static str)> {
    const INVENTORY: &str = "/inventory/managedObjects";
    const EVENTS: &str = "/event/events";
    let id = |collection: &str| {
        path.strip_prefix(collection)?.strip_prefix('/').filter(|id| !id.contains('/'))
    };
    if let Some(id) = id(INVENTORY) {
        return Some((format!("/inventory/binaries/{id}"), id, INVENTORY));
    }
    let id = id(EVENTS)?;
    Some((format!("/event/events/{id}/binaries"), id, EVENTS))
}
