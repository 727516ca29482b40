//! Binaries, in the inventory and attached to events: bytes of any length with a type.

use serde_json::json;

use super::super::body::Content;
use super::super::connection::{Connection, Ended};
use super::{json, not_allowed, not_found};

/// `/inventory/binaries`, `/inventory/binaries/{id}`.
pub(super) fn binaries(connection: &mut Connection, rest: &[&str]) -> Result<(), Ended> {
    match rest {
        [] | [""] if connection.request.method() == b"POST" => {
            let (content, kind) = upload(connection)?;
            let length = content.length();
            let id = connection.cloud.store().add_binary(content, &kind);
            created(connection, "managedObject", &id, &kind, length)
        }
        [] | [""] => {
            let store = connection.cloud.store();
            let ids = store.binaries.iter();
            let all: Vec<_> =
                ids.map(|(id, (_, kind))| json!({ "id": id, "contentType": kind })).collect();
            drop(store);
            json(connection, "200 OK", "managedObjectCollection", &json!({ "managedObjects": all }))
        }
        [id] => content(connection, id, "managedObject"),
        _ => not_found(connection, "binary"),
    }
}

/// `/event/events/{id}/binaries`.
pub(super) fn attachment(connection: &mut Connection, event: &str) -> Result<(), Ended> {
    let id = format!("event-{event}");
    if connection.request.method() != b"POST" {
        return content(connection, &id, "event");
    }
    let (content, kind) = upload(connection)?;
    let length = content.length();
    connection.cloud.store().binaries.insert(id, (content, kind.clone()));
    let of = format!("https://t12345.cumulocity.example/event/events/{event}/binaries");
    let body = json!({
        "self": of, "source": event, "type": kind, "length": length, "name": "file",
    });
    json(connection, "201 Created", "eventBinary", &body)
}

fn content(connection: &mut Connection, id: &str, what: &str) -> Result<(), Ended> {
    let found = connection.cloud.store().binaries.get(id).cloned();
    let Some((content, kind)) = found else {
        connection.read_body()?;
        return not_found(connection, what);
    };
    match connection.request.method() {
        b"GET" | b"HEAD" => {
            let named = format!("attachment; filename=\"{id}\"");
            let fields = [("Content-Type", kind.as_str()), ("Content-Disposition", &named)];
            connection.answer("200 OK", &fields, &content)
        }
        b"PUT" => {
            let (content, kind) = upload(connection)?;
            let length = content.length();
            connection.cloud.store().binaries.insert(id.to_owned(), (content, kind.clone()));
            created(connection, "managedObject", id, &kind, length)
        }
        b"DELETE" => {
            connection.cloud.store().binaries.remove(id);
            connection.answer("204 No Content", &[], &Content::from(&b""[..]))
        }
        _ => not_allowed(connection),
    }
}

fn created(
    connection: &mut Connection,
    what: &str,
    id: &str,
    kind: &str,
    length: u64,
) -> Result<(), Ended> {
    let body = json!({
        "id": id,
        "self": format!("https://t12345.cumulocity.example/inventory/binaries/{id}"),
        "c8y_IsBinary": "",
        "contentType": kind,
        "length": length,
        "name": "file",
        "type": kind,
        "owner": "device_stand-in",
        "lastUpdated": "2024-05-06T07:08:09.123Z",
        "creationTime": "2024-05-06T07:08:09.123Z",
    });
    json(connection, "201 Created", what, &body)
}

/// The bytes that a request brings, with their type: its body, or the last part of a form.
fn upload(connection: &mut Connection) -> Result<(Content, String), Ended> {
    let body = connection.body()?;
    let kind = connection.request.field("content-type").unwrap_or(b"application/octet-stream");
    let kind = String::from_utf8_lossy(kind).into_owned();
    let Some((_, boundary)) = kind.split_once("boundary=") else { return Ok((body, kind)) };
    let boundary = boundary.split(';').next().unwrap_or_default().trim_matches('"').to_owned();
    Ok(last_part(&body, &boundary)?.unwrap_or((body, kind)))
}

/// The last part of a form: its head is looked for in the first 64 KiB, its end in the last KiB.
fn last_part(body: &Content, boundary: &str) -> Result<Option<(Content, String)>, std::io::Error> {
    let start = body.read(0, 64 * 1024)?;
    let mark = format!("--{boundary}\r\n");
    let Some(at) = rposition(&start, mark.as_bytes()) else { return Ok(None) };
    let Some(length) = rest_of_head(&start[at..]) else { return Ok(None) };
    let from = (at + length) as u64;
    let head = String::from_utf8_lossy(&start[at..at + length]).into_owned();
    let tail_from = body.length().saturating_sub(1024).max(from.saturating_sub(2));
    let tail = body.read(tail_from, 2048)?;
    let mark = format!("\r\n--{boundary}--");
    let Some(end) = rposition(&tail, mark.as_bytes()) else { return Ok(None) };
    let end = tail_from + end as u64;
    let lines = head.lines();
    let kind = lines.filter_map(|line| line.split_once(':'));
    let mut kind = kind.filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let kind = kind.next().map_or("application/octet-stream", |(_, value)| value.trim());
    Ok(Some((body.slice(from, end.saturating_sub(from))?, kind.to_owned())))
}

fn rest_of_head(part: &[u8]) -> Option<usize> {
    part.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn rposition(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).rposition(|window| window == what)
}
