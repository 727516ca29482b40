//! A stand-in for thin-edge.io's `tedge-agent`: its entity store, as version 2.0.1 answers
//! (`entity_store.rs` of its HTTP server), and scripts for what a server can do besides.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Map, Value, json};

const ROOT: &str = "/te/v1/entities";

/// The largest body that it takes.
const LARGEST: usize = 1024 * 1024;

/// What it does with a connection on which this head has come, in place of an answer of the store.
type Script = Box<dyn Fn(&Head, &mut BufReader<TcpStream>) -> io::Result<()> + Send + Sync>;

/// The agent. It ends with this value.
pub(crate) struct Agent {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Option<Script>,
    entities: Mutex<BTreeMap<String, Map<String, Value>>>,
    heads: Mutex<Vec<Head>>,
    connections: Mutex<Vec<TcpStream>>,
    ended: AtomicBool,
}

/// The head of a request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    /// `name: value`, names as they came.
    pub(crate) fields: Vec<String>,
}

impl Head {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let of = |line: &&String| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        self.fields.iter().find(of).map(|line| line[name.len() + 1..].trim())
    }

    fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let first = lines.remove(0);
        let mut words = first.split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap();
        Ok(Some(Self { method: word(), target: word(), fields: lines }))
    }

    fn read_body(&self, stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = self.field("content-length") {
            stream.take(length.parse().unwrap()).read_to_end(&mut body)?;
        }
        while self.field("transfer-encoding").is_some() {
            let mut size = String::new();
            stream.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).unwrap();
            stream.by_ref().take(size).read_to_end(&mut body)?;
            stream.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
        Ok(body)
    }
}

impl Agent {
    /// Its entity store, which knows the main device.
    pub(crate) fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), None)
    }

    /// A server that follows a script.
    pub(crate) fn follow(
        script: impl Fn(&Head, &mut BufReader<TcpStream>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), Some(Box::new(script)))
    }

    fn on(listener: TcpListener, script: Option<Script>) -> Self {
        let address = listener.local_addr().unwrap();
        let main = json!({ "@topic-id": "device/main//", "@type": "device", "@id": "main" });
        let main = main.as_object().unwrap().clone();
        let shared = Arc::new(Shared {
            script,
            entities: Mutex::new(BTreeMap::from([("device/main//".to_owned(), main)])),
            heads: Mutex::default(),
            connections: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.ended.load(Ordering::Relaxed) {
                    return;
                }
                serving.connections.lock().unwrap().push(stream.try_clone().unwrap());
                let serving = Arc::clone(&serving);
                // What goes wrong with a connection is for its client to see.
                thread::spawn(move || {
                    let _ = serving.serve(&stream);
                    stream.shutdown(Shutdown::Both)
                });
            }
        });
        Self { address, shared }
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<Head> {
        self.shared.heads.lock().unwrap().clone()
    }

    /// Closes all connections, as a server does that is restarted.
    pub(crate) fn hang_up(&self) {
        for stream in self.shared.connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.hang_up();
        // Wakes the thread that accepts, which lets go of the port.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream.try_clone()?);
        while let Some(head) = Head::read(&mut stream)? {
            self.heads.lock().unwrap().push(head.clone());
            if let Some(script) = &self.script {
                script(&head, &mut stream)?;
                continue;
            }
            let body = head.read_body(&mut stream)?;
            let (status, answer) = if body.len() > LARGEST {
                ("413 Payload Too Large", None)
            } else {
                let (status, value) = self.answer(&head, &body);
                (status, value.map(|value| value.to_string()))
            };
            let kind = if answer.is_some() { "content-type: application/json\r\n" } else { "" };
            let text = answer.unwrap_or_default();
            let length = match status {
                "204 No Content" => String::new(),
                _ => format!("content-length: {}\r\n", text.len()),
            };
            let sent = if head.method == "HEAD" { "" } else { &text };
            let date = "date: Thu, 26 Nov 2026 10:00:00 GMT";
            let head = format!("HTTP/1.1 {status}\r\n{kind}{length}{date}");
            stream.get_mut().write_all(format!("{head}\r\n\r\n{sent}").as_bytes())?;
        }
        Ok(())
    }

    /// The answer of the store: a status, and JSON where it has some.
    fn answer(&self, head: &Head, body: &[u8]) -> (&'static str, Option<Value>) {
        const OK: &str = "200 OK";
        let error = |status, text: String| (status, Some(json!({ "error": text })));
        let value = || serde_json::from_slice::<Value>(body);
        let mut entities = self.entities.lock().unwrap();
        let path = head.target.split('?').next().unwrap();
        let Some(path) = path.strip_prefix(ROOT) else { return ("404 Not Found", None) };
        if path.is_empty() {
            return match head.method.as_str() {
                "GET" | "HEAD" => (OK, Some(entities.values().cloned().map(Value::from).collect())),
                "POST" if head.field("content-type") != Some("application/json") => {
                    ("415 Unsupported Media Type", None)
                }
                "POST" => {
                    let Ok(Value::Object(entity)) = value() else {
                        return ("400 Bad Request", None);
                    };
                    let id = entity["@topic-id"].as_str().unwrap().to_owned();
                    if entities.contains_key(&id) {
                        let text = format!("An entity with topic id: {id} is already registered");
                        return error("409 Conflict", text);
                    }
                    entities.insert(id.clone(), entity);
                    ("201 Created", Some(json!({ "@topic-id": id })))
                }
                _ => ("405 Method Not Allowed", None),
            };
        }
        let path = path[1..].replace("%2F", "/").replace("%20", " ");
        let parts: Vec<_> = path.split('/').collect();
        let part = |index| parts.get(index).copied().unwrap_or_default();
        let id = format!("{}/{}/{}/{}", part(0), part(1), part(2), part(3));
        let unknown = || error("404 Not Found", format!("Entity with topic id: {id} not found"));
        match (head.method.as_str(), part(4), part(5)) {
            ("GET" | "HEAD", "", _) => match entities.get(&id) {
                Some(entity) => (OK, Some(entity.clone().into())),
                None => unknown(),
            },
            ("DELETE", "", _) => match entities.remove(&id) {
                Some(entity) => (OK, Some(json!([entity]))),
                None => ("204 No Content", None),
            },
            ("PATCH", "", _) => match (entities.get_mut(&id), value()) {
                (Some(entity), Ok(Value::Object(change))) => {
                    entity.extend(change);
                    (OK, Some(entity.clone().into()))
                }
                _ => unknown(),
            },
            ("PUT", "twin", key) => match (entities.get_mut(&id), value()) {
                (Some(entity), Ok(value)) => {
                    entity.insert(key.to_owned(), value.clone());
                    (OK, Some(value))
                }
                _ => unknown(),
            },
            ("GET", "twin", key) => match entities.get(&id).and_then(|entity| entity.get(key)) {
                Some(value) => (OK, Some(value.clone())),
                None => unknown(),
            },
            _ => error("405 Method Not Allowed", "Method Not Allowed".to_owned()),
        }
    }
}
