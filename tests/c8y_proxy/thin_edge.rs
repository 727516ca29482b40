//! What the programs of thin-edge.io 2.0.1 send as clients of its proxy: the mapper, which uploads
//! the file of an operation to an event, and a child's agent, which downloads a configuration.

use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::{Value, from_slice};

use crate::support::answer::Answer;
use crate::support::certificates::{Authority, Key};
use crate::support::client::{Client, tls};
use crate::support::cloud::Script;
use crate::support::device::Device;
use crate::support::directory::Directory;

/// The proxy at one of the levels of security, and how its clients speak to it.
struct Level {
    device: Device,
    tls: Option<Arc<ClientConfig>>,
}

impl Level {
    fn all(directory: &Directory) -> [Self; 3] {
        let authority = Authority::new(directory.path(), "local-ca");
        let server = authority.server("proxy", Key::P256);
        let mapper = authority.client("mapper", Key::P256);
        let start = |keys: &[&str]| {
            Device::with(|setup| {
                let files = [&server.cert, &server.key, &authority.cert];
                for (key, file) in keys.iter().zip(files) {
                    setup.set(&format!("c8y.proxy.{key}"), file);
                }
            })
        };
        let by = |pair| Some(tls(&authority.cert, pair));
        [
            Self { device: start(&[]), tls: None },
            Self { device: start(&["cert_path", "key_path"]), tls: by(None) },
            Self { device: start(&["cert_path", "key_path", "ca_path"]), tls: by(Some(&mapper)) },
        ]
    }

    /// A connection of a client that knows the level.
    fn connect(&self) -> Client {
        match &self.tls {
            None => Client::connect(self.device.proxy.address),
            Some(tls) => Client::connect_tls(self.device.proxy.address, tls).unwrap(),
        }
    }
}

fn ask(client: &mut Client, method: &str, path: &str, fields: &str, body: &str) -> Answer {
    let head = format!("{method} {path} HTTP/1.1\r\n{fields}host: localhost:8001\r\n\r\n{body}");
    client.send(head).unwrap();
    client.answer_to(method).unwrap()
}

/// The external ids of children have colons, the path of events ends with a slash, and the upload
/// looks with a HEAD for a redirect first, whatever Cumulocity says to that.
#[test]
fn the_mapper_uploads_the_file_of_an_operation_to_an_event() {
    const FORM: &str = "--b0-b1\r\nContent-Disposition: form-data; name=\"file\"; \
        filename=\"main:device:child1_syslog\"\r\nContent-Type: text/plain\r\n\r\n\
        a log\r\n--b0-b1--\r\n";
    let directory = Directory::new();
    for level in Level::all(&directory) {
        let mut client = level.connect();
        let json = |content: &str| {
            let length = content.len();
            format!(
                "accept: application/json\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\n"
            )
        };
        let id = "{\"externalId\":\"main:device:child1\",\"type\":\"c8y_Serial\"}";
        let made = "/c8y/identity/globalIds/1001/externalIds";
        assert_eq!(ask(&mut client, "POST", made, &json(id), id).status, 201);
        level.device.cloud().forget();

        let known = "/c8y/identity/externalIds/c8y_Serial/main:device:child1";
        let identity: Value = from_slice(&ask(&mut client, "GET", known, "", "").body).unwrap();
        assert_eq!(identity["managedObject"]["id"], "1001");
        let event =
            "{\"source\":{\"id\":\"1001\"},\"type\":\"log_upload\",\"text\":\"log_upload\"}";
        let event = ask(&mut client, "POST", "/c8y/event/events/", &json(event), event);
        let event: Value = from_slice(&event.body).unwrap();
        let binaries = format!("/event/events/{}/binaries", event["id"].as_str().unwrap());
        let path = format!("/c8y{binaries}");

        if level.tls.is_some() {
            let mut plain = Client::connect(level.device.proxy.address);
            let redirected = ask(&mut plain, "HEAD", &path, "accept: */*\r\n", "");
            let location = format!("https://localhost:8001{path}");
            assert_eq!(redirected.status, 307);
            assert_eq!(redirected.field("location"), Some(location.as_str()));
        }
        let mut upload = level.connect();
        assert_eq!(ask(&mut upload, "HEAD", &path, "accept: */*\r\n", "").status, 404);
        let fields = format!(
            "content-type: multipart/form-data; boundary=b0-b1\r\ncontent-length: {}\r\n\
             accept: */*\r\n",
            FORM.len()
        );
        assert_eq!(ask(&mut upload, "POST", &path, &fields, FORM).status, 201);
        assert_eq!(ask(&mut upload, "GET", &path, "", "").text(), "a log");

        let seen = level.device.cloud().seen().requests;
        let lines: Vec<_> =
            seen.iter().map(|request| [request.method(), request.target()]).collect();
        let binaries = binaries.as_bytes();
        let expected: [[&[u8]; 2]; 5] = [
            [b"GET", b"/identity/externalIds/c8y_Serial/main:device:child1"],
            [b"POST", b"/event/events/"],
            [b"HEAD", binaries],
            [b"POST", binaries],
            [b"GET", binaries],
        ];
        assert_eq!(lines, expected);
        assert_eq!((seen[2].length, seen[3].body.as_slice()), (0, FORM.as_bytes()));
        let length = FORM.len().to_string();
        assert_eq!(seen[3].field("content-length"), Some(length.as_bytes()));
    }
}

/// The downloader asks for the rest without `If-Range`, if Cumulocity named `Accept-Ranges`.
#[test]
fn a_download_that_broke_off_is_resumed_without_if_range() {
    let directory = Directory::new();
    for level in Level::all(&directory) {
        let path = "/inventory/binaries/51541";
        let fields = "accept-ranges: bytes\r\netag: \"v1\"\r\n";
        let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n{fields}\r\n01234");
        let rest = "HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\n\
            content-range: bytes 5-9/10\r\n";
        let first = Script::new().read().send(whole).break_off().once();
        level.device.cloud().answer(path, first);
        let second = Script::new().read().send(format!("{rest}{fields}\r\n56789")).once();
        level.device.cloud().answer(path, second);

        let path = format!("/c8y{path}");
        let broken = ask(&mut level.connect(), "GET", &path, "accept: */*\r\n", "");
        assert_eq!((broken.status, broken.field("accept-ranges")), (200, Some("bytes")));
        assert!(broken.broken.is_some(), "{broken:?}");
        assert_eq!(broken.body, b"01234");

        let fields = "range: bytes=5-\r\naccept: */*\r\n";
        let resumed = ask(&mut level.connect(), "GET", &path, fields, "");
        assert_eq!((resumed.status, resumed.text().as_str()), (206, "56789"));
        assert_eq!(resumed.field("content-range"), Some("bytes 5-9/10"));
        assert_eq!(resumed.field("etag"), broken.field("etag"));
        let last = level.device.cloud().seen().requests.pop().unwrap();
        assert_eq!(last.field("range"), Some(&b"bytes=5-"[..]));
    }
}
