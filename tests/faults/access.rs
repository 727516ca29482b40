//! Access rules against a simple model: random requests of several clients, spelt in odd ways.
//! No request that the model refuses is answered with anything but 403, and none that it allows
//! with that.

use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestError, TestRunner};

use crate::Secured;
use crate::promises::access::{RULES, set_rules};
use crate::support::client::{Client, tls};

/// The clients: the names in their certificates. The last ones are hostile or absent.
const CLIENTS: [&str; 6] = ["child1", "child2", "main-agent", "child1/../child2", "*", ""];
const PREFIXES: [&str; 3] = ["/tedge/file-transfer/", "/te/v1/files/", "/te/v1/file/"];
const METHODS: [&str; 8] = ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS", "FETCH"];
/// What paths are made of.
const PIECES: &[&str] = &[
    "child1",
    "child2",
    "Child1",
    "main-agent",
    "device_child1__",
    "device_child2__",
    "public",
    "*",
    "a",
    "b",
    "/",
    "/",
    "/",
    "//",
    ".",
    "..",
    "%2e",
    "%2E%2e",
    "%2f",
    "%5c",
    "\\",
    ";",
    ";v=1",
    "%00",
    "%20",
    "+",
    "%63hild1",
    "child%32",
    "%25",
    "252e",
    "%ff",
    "_",
    "1",
    "child",
];

/// A request: client, method, prefix, path, header lines.
type Asked = (usize, &'static str, &'static str, String, &'static str);

fn asked() -> impl Strategy<Value = Asked> {
    let honest = select(&["", "", "child1/", "child2/", "public/", "device_child1__/"][..]);
    let path = (honest, vec(select(PIECES), 1..7))
        .prop_map(|(start, pieces)| format!("{start}{}", pieces.concat()));
    let fields = select(
        &[
            "",
            "Range: bytes=0-0\r\n",
            "If-None-Match: *\r\n",
            "Connection: upgrade\r\nUpgrade: h2c\r\n",
        ][..],
    );
    (0..CLIENTS.len(), select(&METHODS[..]), select(&PREFIXES[..]), path, fields)
}

/// The names of the parts of a path, if it names a file: the words of the contract, plainly.
fn parts(prefix: &str, path: &str) -> Option<Vec<String>> {
    if !PREFIXES[..2].contains(&prefix) {
        return None;
    }
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.filter(|_| byte == b'%').and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.unwrap_or(byte));
        rest = &tail[if code.is_some() { 2 } else { 0 }..];
    }
    let text = String::from_utf8(bytes).ok()?;
    let parts: Vec<_> = text.split('/').filter(|part| !["", "."].contains(part)).collect();
    let is_file = !text.starts_with('/')
        && !text.contains('\0')
        && !parts.is_empty()
        && !parts.contains(&"..");
    is_file.then(|| parts.into_iter().map(str::to_owned).collect())
}

/// Whether the model allows it. The clients are on 127.0.0.1.
fn allows(client: &str, method: &str, parts: &[String]) -> bool {
    let reads = ["GET", "HEAD"].contains(&method);
    let writes = ["PUT", "DELETE", "POST", "PATCH"].contains(&method);
    let is_below = |directory: &str| parts.len() > 1 && parts[0] == directory;
    let own = [client.to_owned(), format!("device_{client}__")];
    match client {
        "main-agent" if reads || writes => true,
        "child1" | "child2" if (reads || writes) && own.iter().any(|own| is_below(own)) => true,
        _ => reads && is_below("public"),
    }
}

fn check(cases: u32) {
    let secured = Secured::start(|setup, authority| {
        setup.set("http.ca_path", &authority.cert);
        set_rules(setup, RULES);
    });
    let files = secured.service.path("data/file-transfer");
    for directory in ["child1", "child2", "public", "device_child2__", "main-agent"] {
        fs::create_dir_all(files.join(directory)).unwrap();
        fs::write(files.join(directory).join("a"), "a content").unwrap();
    }
    let configs: Vec<_> = CLIENTS
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let subject = match *name {
                "" => "/O=thin-edge".to_owned(),
                name => format!("/CN={}", name.replace('/', "\\/")),
            };
            let pair = secured.authority.client_named(&format!("c{index}"), &subject, "");
            tls(&secured.authority.cert, Some(&pair))
        })
        .collect();
    let connect = |index: usize| Client::connect_tls(secured.service.address, &configs[index]);
    let connections: Vec<std::cell::RefCell<Option<Client>>> =
        CLIENTS.iter().map(|_| None.into()).collect();
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&asked(), |(index, method, prefix, path, fields)| {
        // A body where it is refused before it is read, and one that is stored.
        let length = if method == "PUT" { "Content-Length: 1\r\n" } else { "" };
        let request =
            format!("{method} {prefix}{path} HTTP/1.1\r\nHost: localhost\r\n{length}{fields}\r\n");
        let mut slot = connections[index].borrow_mut();
        let mut client = slot.take().unwrap_or_else(|| connect(index).unwrap());
        client.send(request).unwrap();
        if method == "PUT" {
            let _ = client.send("x");
        }
        let answer = client.answer_to(method).unwrap();
        let closes = answer.field("connection").is_some_and(|field| field == "close");
        if !closes && answer.broken.is_none() {
            *slot = Some(client);
        }
        match parts(prefix, &path) {
            Some(parts) => {
                let is_allowed = allows(CLIENTS[index], method, &parts);
                prop_assert_eq!(answer.status != 403, is_allowed, "{}", answer.text());
            }
            None => prop_assert!([400, 404].contains(&answer.status), "{}", answer.status),
        }
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, asked)) => panic!("{reason}\nof {asked:?}"),
        Err(TestError::Abort(reason)) => panic!("given up: {reason}"),
    }
}

#[test]
fn no_request_that_the_model_refuses_is_answered() {
    check(2_000);
}

#[test]
#[ignore = "takes two minutes"]
fn no_request_that_the_model_refuses_is_answered_100_000_times() {
    check(100_000);
}
