//! What the programs of thin-edge.io 2.0.1 send as clients: the upload of an agent, which looks for
//! HTTPS first, a download that is resumed, and the deletion after use.

use std::fs;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::support::answer::Answer;
use crate::support::certificates::Key;
use crate::support::client::{Client, tls};
use crate::support::service::Service;
use crate::{Secured, assert_stored, bytes, start};

/// What `tedgeUrl` of an operation names.
const PATH: &str = "/te/v1/files/child1/log_upload/syslog-c8y-mapper-1234";
const FILE: &str = "child1/log_upload/syslog-c8y-mapper-1234";

/// A service at one of the levels of security, and how its clients speak to it.
struct Level {
    service: Service,
    tls: Option<Arc<ClientConfig>>,
}

impl Level {
    fn all() -> [Self; 3] {
        let https = Secured::start(|_, _| {});
        let mutual = Secured::start(|setup, authority| setup.set("http.ca_path", &authority.cert));
        let child = mutual.authority.client("child1", Key::P256);
        let of_child = tls(&mutual.authority.cert, Some(&child));
        [
            Self { service: start(|_| {}), tls: None },
            Self { tls: Some(https.tls()), service: https.service },
            Self { tls: Some(of_child), service: mutual.service },
        ]
    }

    /// A connection of a client that knows the level.
    fn connect(&self) -> Client {
        match &self.tls {
            None => Client::connect(self.service.address),
            Some(tls) => Client::connect_tls(self.service.address, tls).unwrap(),
        }
    }
}

/// A head as the clients write it: lower case, and `accept` and `host` come last.
fn head(method: &str, fields: &str) -> String {
    format!("{method} {PATH} HTTP/1.1\r\n{fields}accept: */*\r\nhost: localhost:8000\r\n\r\n")
}

fn ask(client: &mut Client, method: &str, fields: &str) -> Answer {
    client.send(head(method, fields)).unwrap();
    client.answer_to(method).unwrap()
}

/// An upload cannot be sent twice, so a HEAD, which can, finds out where it goes.
#[test]
fn an_upload_goes_where_a_head_before_it_is_redirected_to() {
    for level in Level::all() {
        let plain = ask(&mut Client::connect(level.service.address), "HEAD", "");
        let location = format!("https://localhost:8000{PATH}");
        let (status, redirected) = match level.tls {
            None => (404, None),
            Some(_) => (307, Some(location.as_str())),
        };
        assert_eq!((plain.status, plain.field("location")), (status, redirected));

        // That there is no such file yet is no failure, and the connection serves for the upload.
        let mut client = level.connect();
        for (kind, content) in [("text/plain", "a log"), ("application/gzip", "another")] {
            let is_there = kind != "text/plain";
            let found = ask(&mut client, "HEAD", "");
            assert_eq!(found.status, if is_there { 200 } else { 404 });
            let length = content.len();
            client
                .send(head("PUT", &format!("content-type: {kind}\r\ncontent-length: {length}\r\n")))
                .unwrap();
            assert_eq!(client.exchange(content).status, 201, "{kind}");
            assert_stored(&level.service, &[(FILE, content.as_bytes())]);
        }
    }
}

/// The type is that of the file's name. None changes what is stored, not even that of a form.
#[test]
fn an_upload_of_any_type_is_stored_as_it_is() {
    let service = start(|_| {});
    let mut client = Client::connect(service.address);
    for kind in [
        "application/octet-stream",
        "application/json",
        "application/toml",
        "application/x-www-form-urlencoded",
        "application/zstd",
        "message/rfc822",
        "multipart/mixed; boundary=a",
        "multipart/related",
        "text/html",
        "text/x-toml",
    ] {
        let content = format!("--a\r\nContent-Type: {kind}\r\n\r\n\r\n--a--\r\n");
        let fields = format!("content-type: {kind}\r\ncontent-length: {}\r\n", content.len());
        client.send(head("PUT", &fields)).unwrap();
        assert_eq!(client.exchange(&content).status, 201, "{kind}");
        assert_stored(&service, &[(FILE, content.as_bytes())]);
    }
}

/// The client asks for the rest without `If-Range`, if the first answer named `Accept-Ranges`, and
/// compares the ETags itself: strong ones only.
#[test]
fn a_download_that_broke_off_is_resumed_and_one_of_a_changed_file_begins_again() {
    let content = bytes(3_000_000, 1);
    for level in Level::all() {
        let stored = level.service.path("data/file-transfer").join(FILE);
        fs::create_dir_all(stored.parent().unwrap()).unwrap();
        fs::write(&stored, &content).unwrap();

        let mut client = level.connect();
        client.send(head("GET", "")).unwrap();
        let whole = client.head();
        assert_eq!((whole.status, whole.field("accept-ranges")), (200, Some("bytes")));
        assert_eq!(whole.field("content-length"), Some("3000000"));
        let tag = whole.field("etag").unwrap().to_owned();
        assert!(tag.starts_with('"'), "{tag}");
        client.skip(1_000_000).unwrap();
        client.reset();

        let mut client = level.connect();
        let rest = ask(&mut client, "GET", "range: bytes=1000000-\r\n");
        assert_eq!((rest.status, rest.field("etag")), (206, Some(tag.as_str())));
        assert_eq!(rest.field("content-range"), Some("bytes 1000000-2999999/3000000"));
        assert!(rest.body == content[1_000_000..]);

        fs::write(&stored, "shorter").unwrap();
        let refused = ask(&mut client, "GET", "range: bytes=1000000-\r\n");
        assert_eq!(refused.status, 416);
        assert_eq!(ask(&mut client, "GET", "").text(), "shorter");
        fs::write(&stored, [&content[..], b"longer"].concat()).unwrap();
        let other = ask(&mut client, "GET", "range: bytes=1000000-\r\n");
        assert_eq!(other.status, 206);
        assert_ne!(other.field("etag"), Some(tag.as_str()));
    }
}

/// The mapper deletes what it has passed on, and follows no redirect.
#[test]
fn a_file_is_deleted_after_use_where_the_client_knows_the_level() {
    for level in Level::all() {
        let stored = level.service.path("data/file-transfer").join(FILE);
        fs::create_dir_all(stored.parent().unwrap()).unwrap();
        fs::write(&stored, "a log").unwrap();
        if level.tls.is_some() {
            let plain = ask(&mut Client::connect(level.service.address), "DELETE", "");
            assert_eq!(plain.status, 307);
            assert_stored(&level.service, &[(FILE, b"a log")]);
        }
        let mut client = level.connect();
        for _ in 0..2 {
            assert_eq!(ask(&mut client, "DELETE", "").status, 202);
            assert_stored(&level.service, &[]);
        }
    }
}
