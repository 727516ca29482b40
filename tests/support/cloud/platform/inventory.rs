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

/// The bytes that a request brings, with their type: its body, or the file of a form.
fn upload(connection: &mut Connection) -> Result<(Content, String), Ended> {
    let body = connection.body()?;
    let kind = connection.request.field("content-type").unwrap_or(b"application/octet-stream");
    let kind = String::from_utf8_lossy(kind).into_owned();
    let Some((_, boundary)) = kind.split_once("boundary=") else { return Ok((body, kind)) };
    let boundary = boundary.split(';').next().unwrap_or_default().trim_matches('"').to_owned();
    Ok(file_part(&body, &boundary)?.unwrap_or((body, kind)))
}

/// The part of a form that is named `file`: its head is looked for in the first 64 KiB, its end
/// there and in the last 64 KiB.
fn file_part(body: &Content, boundary: &str) -> Result<Option<(Content, String)>, std::io::Error> {
    const NEAR: usize = 64 * 1024;
    let start = body.read(0, NEAR)?;
    let Some(at) = position(&start, b"name=\"file\"") else { return Ok(None) };
    let Some(length) = position(&start[at..], b"\r\n\r\n") else { return Ok(None) };
    let from = at + length + 4;
    let head = String::from_utf8_lossy(&start[at..from]).into_owned();
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let kind = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let kind = kind.map_or("application/octet-stream", |(_, value)| value.trim());
    let mark = format!("\r\n--{boundary}");
    // A file may be empty: then the mark is the end of its head as well.
    let near = position(&start[from - 2..], mark.as_bytes()).map(|end| (from - 2 + end) as u64);
    let end = near.map_or_else(
        || {
            let tail = body.length().saturating_sub(NEAR as u64).max(from as u64);
            let end = position(&body.read(tail, NEAR)?, mark.as_bytes());
            Ok::<_, std::io::Error>(end.map(|end| tail + end as u64))
        },
        |end| Ok(Some(end)),
    )?;
    let Some(end) = end else { return Ok(None) };
    let length = end.saturating_sub(from as u64);
    Ok(Some((body.slice(from as u64, length)?, kind.to_owned())))
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
