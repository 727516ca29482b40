//! The collections of the API that all work alike: managed objects, events, alarms, measurements,
//! operations, external ids, subscriptions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::body::Content;
use super::super::connection::{Connection, Ended};
use super::{TENANT, decode, json, not_allowed, not_found};

/// One collection: its path, the name of its list, and the type of one and of many.
struct Collection {
    path: &'static [&'static str],
    list: &'static str,
    one: &'static str,
    many: &'static str,
}

const fn collection(
    path: &'static [&'static str],
    list: &'static str,
    one: &'static str,
    many: &'static str,
) -> Collection {
    Collection { path, list, one, many }
}

const COLLECTIONS: &[Collection] = &[
    collection(
        &["inventory", "managedObjects"],
        "managedObjects",
        "managedObject",
        "managedObjectCollection",
    ),
    collection(&["event", "events"], "events", "event", "eventCollection"),
    collection(&["alarm", "alarms"], "alarms", "alarm", "alarmCollection"),
    collection(
        &["measurement", "measurements"],
        "measurements",
        "measurement",
        "measurementCollection",
    ),
    collection(&["devicecontrol", "operations"], "operations", "operation", "operationCollection"),
    collection(
        &["notification2", "subscriptions"],
        "subscriptions",
        "subscription",
        "subscriptionCollection",
    ),
];

/// Everything that was sent here.
#[derive(Default)]
pub(crate) struct Store {
    last: u64,
    documents: BTreeMap<(&'static str, String), Value>,
    /// By type and external id.
    identities: BTreeMap<(String, String), String>,
    /// Binaries and attachments of events, by id: content and type.
    pub(super) binaries: BTreeMap<String, (Content, String)>,
}

impl Store {
    pub(super) fn next_id(&mut self) -> String {
        self.last += 1;
        (1000 + self.last).to_string()
    }

    pub(crate) fn add_binary(&mut self, content: Content, kind: &str) -> String {
        let id = self.next_id();
        self.binaries.insert(id.clone(), (content, kind.to_owned()));
        id
    }

    fn list(&self, list: &str) -> Vec<Value> {
        let all = self.documents.iter().filter(|((of, _), _)| *of == list);
        all.map(|(_, document)| document.clone()).collect()
    }
}

pub(super) fn answer(connection: &mut Connection, parts: &[&str]) -> Result<(), Ended> {
    match parts {
        ["tenant", "currentTenant"] => {
            let tenant = json!({
                "name": TENANT,
                "domainName": "t12345.cumulocity.example",
                "allowCreateTenants": false,
                "customProperties": {},
                "applications": { "references": [] },
                "self": "https://t12345.cumulocity.example/tenant/currentTenant",
            });
            json(connection, "200 OK", "currenttenant", &tenant)
        }
        ["notification2", "token"] => {
            let token = connection.cloud.tokens.issue();
            json(connection, "200 OK", "", &json!({ "token": token }))
        }
        ["identity", "globalIds", id, "externalIds"] => global_id(connection, id),
        ["identity", "externalIds", kind, id @ ..] if !id.is_empty() => {
            external_id(connection, &decode(kind), &decode(&id.join("/")))
        }
        _ => {
            let found = COLLECTIONS.iter().find(|one| parts.starts_with(one.path));
            let Some(collection) = found else { return not_found(connection, "resource") };
            match &parts[2..] {
                [] | [""] => whole(connection, collection),
                id => one(connection, collection, &decode(&id.join("/"))),
            }
        }
    }
}

fn whole(connection: &mut Connection, collection: &Collection) -> Result<(), Ended> {
    match connection.request.method() {
        b"GET" | b"HEAD" => {
            let all = connection.cloud.store().list(collection.list);
            let size = number(connection, "pageSize").unwrap_or(5).clamp(1, 2000);
            let page = number(connection, "currentPage").unwrap_or(1).max(1);
            let pages = all.len().div_ceil(size);
            let shown: Vec<_> = all.into_iter().skip((page - 1) * size).take(size).collect();
            let body = json!({
                collection.list: shown,
                "statistics": { "currentPage": page, "pageSize": size, "totalPages": pages },
                "self": format!("https://t12345.cumulocity.example/{}", collection.path.join("/")),
            });
            json(connection, "200 OK", collection.many, &body)
        }
        b"POST" => {
            let Some(sent) = document(connection)? else { return malformed(connection) };
            let Value::Array(bulk) = sent.get(collection.list).unwrap_or(&Value::Null) else {
                let created = create(connection, collection, sent);
                return json(connection, "201 Created", collection.one, &created);
            };
            let objects = bulk.iter().filter_map(|one| one.as_object().cloned());
            let created: Vec<_> = objects.map(|one| create(connection, collection, one)).collect();
            let body = json!({ collection.list: created });
            json(connection, "201 Created", collection.many, &body)
        }
        _ => not_allowed(connection),
    }
}

/// A number in the query.
fn number(connection: &Connection, name: &str) -> Option<usize> {
    let query = String::from_utf8_lossy(connection.request.query()?).into_owned();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok())
}

fn one(connection: &mut Connection, collection: &Collection, id: &str) -> Result<(), Ended> {
    let key = (collection.list, id.to_owned());
    let Some(mut found) = connection.cloud.store().documents.get(&key).cloned() else {
        connection.read_body()?;
        return not_found(connection, collection.one);
    };
    match connection.request.method() {
        b"GET" | b"HEAD" => json(connection, "200 OK", collection.one, &found),
        b"PUT" => {
            let Some(sent) = document(connection)? else { return malformed(connection) };
            for (name, value) in sent {
                found[name] = value;
            }
            connection.cloud.store().documents.insert(key, found.clone());
            json(connection, "200 OK", collection.one, &found)
        }
        b"DELETE" => {
            connection.cloud.store().documents.remove(&key);
            connection.answer("204 No Content", &[], &Content::from(&b""[..]))
        }
        _ => not_allowed(connection),
    }
}

fn create(connection: &Connection, collection: &Collection, mut sent: Map<String, Value>) -> Value {
    let mut store = connection.cloud.store();
    let id = store.next_id();
    let of = format!("https://t12345.cumulocity.example/{}/{id}", collection.path.join("/"));
    let now = "2024-05-06T07:08:09.123Z";
    sent.insert("self".into(), of.into());
    sent.insert("id".into(), id.clone().into());
    for time in ["creationTime", "lastUpdated", "time"] {
        sent.entry(time).or_insert_with(|| now.into());
    }
    let created = Value::Object(sent);
    store.documents.insert((collection.list, id.clone()), created.clone());
    let source = created["source"]["id"].as_str().unwrap_or(&id);
    let (list, number) = (collection.list.to_lowercase(), store.last);
    connection
        .cloud
        .subscribers
        .publish(&format!("CAESBAg{number}\n/{TENANT}/{list}/{source}\nCREATE\n\n{created}"));
    created
}

fn global_id(connection: &mut Connection, id: &str) -> Result<(), Ended> {
    let owner = decode(id);
    if connection.request.method() != b"POST" {
        let store = connection.cloud.store();
        let own = store.identities.iter().filter(|(_, of)| **of == owner);
        let all: Vec<_> = own.map(|((kind, id), of)| identity(kind, id, of)).collect();
        drop(store);
        let body = json!({ "externalIds": all });
        return json(connection, "200 OK", "externalIdCollection", &body);
    }
    let Some(sent) = document(connection)? else { return malformed(connection) };
    let text = |name: &str| sent.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, external) = (text("type"), text("externalId"));
    let body = identity(&kind, &external, &owner);
    connection.cloud.store().identities.insert((kind, external), owner);
    json(connection, "201 Created", "externalId", &body)
}

fn external_id(connection: &mut Connection, kind: &str, id: &str) -> Result<(), Ended> {
    let key = (kind.to_owned(), id.to_owned());
    let owner = connection.cloud.store().identities.get(&key).cloned();
    let Some(owner) = owner else { return not_found(connection, "identity") };
    match connection.request.method() {
        b"GET" | b"HEAD" => json(connection, "200 OK", "externalId", &identity(kind, id, &owner)),
        b"DELETE" => {
            connection.cloud.store().identities.remove(&key);
            connection.answer("204 No Content", &[], &Content::from(&b""[..]))
        }
        _ => not_allowed(connection),
    }
}

fn identity(kind: &str, id: &str, owner: &str) -> Value {
    json!({
        "type": kind,
        "externalId": id,
        "managedObject": { "id": owner },
        "self": format!("https://t12345.cumulocity.example/identity/externalIds/{kind}/{id}"),
    })
}

/// The body of the request, if it is a JSON object.
fn document(connection: &mut Connection) -> Result<Option<Map<String, Value>>, Ended> {
    let body = connection.body()?;
    let mut bytes = Vec::new();
    body.each(|piece| {
        bytes.extend_from_slice(piece);
        Ok::<_, Ended>(())
    })?;
    Ok(serde_json::from_slice(&bytes).ok())
}

fn malformed(connection: &mut Connection) -> Result<(), Ended> {
    let body = json!({ "error": "general/Malformed", "message": "JSON object expected" });
    json(connection, "422 Unprocessable Entity", "error", &body)
}
