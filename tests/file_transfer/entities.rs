//! The entity store of thin-edge.io's agent, through the port of the file transfer: as the agent
//! answers it, for whoever may ask, in both directions as it comes.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc;

use crate::support::agent::Agent;
use crate::support::answer::Answer;
use crate::support::certificates::{Key, Pair};
use crate::support::client::{Client, ask, tls};
use crate::support::service::{SOON, Service, Setup};
use crate::{Secured, promises, start};

const MB: usize = 1024 * 1024;

/// A child device, as its agent registers it.
const CHILD: &str =
    r#"{"@topic-id":"device/child1//","@type":"child-device","@parent":"device/main//"}"#;

pub(super) fn point_at(setup: &mut Setup, agent: SocketAddr) {
    setup.set_own_path("http.agent.address", agent.to_string());
}

/// A service beside this agent.
pub(super) fn beside(agent: &Agent) -> Service {
    start(|setup| point_at(setup, agent.address))
}

pub(super) fn asked(method: &str, path: &str, body: &str) -> String {
    let (kind, length) = ("Content-Type: application/json", body.len());
    let fields = if body.is_empty() {
        String::new()
    } else {
        format!("{kind}\r\nContent-Length: {length}\r\n")
    };
    format!("{method} /te/v1/entities{path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}")
}

/// What thin-edge.io's documentation and its agents have clients do with entities, in this order.
const USES: &[(&str, &str, &str, u16)] = &[
    ("GET", "/device/child1//", "", 404),
    ("POST", "", CHILD, 201),
    ("POST", "", CHILD, 409),
    ("GET", "/device/child1//", "", 200),
    ("GET", "/device/child1", "", 200),
    ("HEAD", "/device/child1", "", 200),
    ("GET", "?parent=device/main//&type=child-device", "", 200),
    ("PATCH", "/device/child1//", r#"{"@health":"device/child1/service/agent"}"#, 200),
    ("PUT", "/device/child1///twin/hardware", r#"{"revision":"1.2"}"#, 200),
    ("GET", "/device/child1///twin/hardware", "", 200),
    ("PUT", "/device/child1//", "{}", 405),
    ("DELETE", "/device/child1//", "", 200),
    ("DELETE", "/device/child1//", "", 204),
];

/// Asserts that the agent answers this client as it answers one of its own.
#[track_caller]
fn assert_used(mut client: Client) {
    let direct = Agent::start();
    let mut directly = Client::connect(direct.address);
    for &(method, path, body, status) in USES {
        let answered = |client: &mut Client| {
            client.send(asked(method, path, body)).unwrap();
            client.answer_to(method).unwrap()
        };
        let (expected, answer) = (answered(&mut directly), answered(&mut client));
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert_eq!(answer, expected, "{method} {path}");
    }
}

#[test]
fn an_agent_is_used_through_it_as_directly_at_each_level() {
    let agent = Agent::start();
    let service = beside(&agent);
    assert_used(Client::connect(service.address));

    let agent = Agent::start();
    let secured = Secured::start(|setup, _| point_at(setup, agent.address));
    assert_used(secured.client());

    let agent = Agent::start();
    let secured = Secured::start(|setup, authority| {
        point_at(setup, agent.address);
        setup.set("http.ca_path", &authority.cert);
    });
    let child = secured.authority.client("child1", Key::P256);
    let config = tls(&secured.authority.cert, Some(&child));
    assert_used(Client::connect_tls(secured.service.address, &config).unwrap());
}

#[test]
fn no_path_with_dots_reaches_the_agent_which_may_find_another_than_we_do() {
    let agent = Agent::start();
    let service = beside(&agent);
    for rest in ["../files/x", "a/./b", "%2e%2E/x", "..%2fx", "..;/x", "..%5cx", "a%00b", "a%ff"] {
        let target = format!("/te/v1/entities/{rest}");
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(ask(service.address, request).unwrap().status, 404, "{target}");
    }
    assert_eq!(agent.heads().len(), 0);
}

#[test]
fn what_is_asked_crosses_byte_for_byte_and_what_is_of_the_connection_does_not() {
    let agent = Agent::start();
    let service = beside(&agent);
    for target in [
        "/te/v1/entities",
        "/te/v1/entities?root=device/main//&x=%2f;y",
        "/te/v1/entities/device/child%201//",
        "/te/v1/entities/device%2Fchild1//",
        "/te/v1/entities//a/.b/..c/%",
    ] {
        let fields = "Host: localhost:1\r\nX-Own: a \x01\u{fc}\r\nConnection: x-hop, keep-alive\r\n\
                      X-Hop: 1\r\nTE: trailers\r\nAuthorization: Basic eA==\r\n";
        let request = format!("GET {target} HTTP/1.1\r\n{}\r\n", fields.replace('\x01', "\t"));
        ask(service.address, request).unwrap();
        let head = agent.heads().pop().unwrap();
        assert_eq!(head.target, target);
        assert_eq!(head.field("host"), Some(&*agent.address.to_string()));
        assert_eq!(head.field("x-own"), Some("a \t\u{fc}"));
        assert_eq!(head.field("authorization"), Some("Basic eA=="));
        assert_eq!(head.fields.len(), 3, "{head:?}");
    }
    for elsewhere in [
        "/te/v1/entitie",
        "/te/v1/entities2",
        "/te/v1/entities/",
        "/te/v1/entities%2Fa",
        "/te\\v1/entities/a",
    ] {
        let request = format!("GET {elsewhere} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = ask(service.address, request).unwrap();
        assert_eq!((answer.status, &*answer.text()), (404, "Not Found\n"), "{elsewhere}");
    }
    assert_eq!(agent.heads().len(), 5);
}

#[test]
fn other_methods_than_the_agents_are_refused() {
    let agent = Agent::start();
    let service = beside(&agent);
    for method in ["OPTIONS", "TRACE", "get", "PROPFIND"] {
        let answer = ask(service.address, asked(method, "", "")).unwrap();
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.field("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE"));
    }
    assert!(agent.heads().is_empty());
}

#[test]
fn without_an_agent_the_answer_says_what_is_missing() {
    let stopped = Agent::start().address;
    for service in [start(|_| {}), start(|setup| point_at(setup, stopped))] {
        for (method, path, body, _) in USES {
            let mut client = Client::connect(service.address);
            client.send(asked(method, path, body)).unwrap();
            let answer = client.answer_to(method).unwrap();
            assert_eq!(answer.status, 404, "{method} {path}");
            if *method != "HEAD" {
                let text = answer.text();
                assert!(
                    text.contains("tedge-agent") && text.contains("http.agent.address"),
                    "{text}"
                );
            }
        }
        assert_eq!(ask(service.address, crate::request("GET", "foo")).unwrap().status, 404);
    }
}

#[test]
fn an_agent_that_is_restarted_is_found_again() {
    let agent = Agent::start();
    let service = beside(&agent);
    let mut client = Client::connect(service.address);
    for _ in 0..3 {
        assert_eq!(client.exchange(asked("GET", "", "")).status, 200);
        agent.hang_up();
    }
}

#[test]
fn an_agent_that_does_not_answer_is_a_bad_gateway() {
    for (said, cause) in [("", "interrupted"), ("nonsense\r\n\r\n", "interrupted")] {
        let agent = Agent::follow(move |_, stream| {
            stream.get_mut().write_all(said.as_bytes())?;
            Err(std::io::ErrorKind::Other.into())
        });
        let service = beside(&agent);
        let answer = ask(service.address, asked("GET", "", "")).unwrap();
        let text = answer.text();
        assert_eq!(answer.status, 502, "{text}");
        assert!(text.starts_with("Error communicating with tedge-agent: "), "{text}");
        assert!(text.contains(cause), "{text}");
        service.wait_for("no answer from tedge-agent", SOON);
    }
}

#[test]
fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    for head in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let agent = Agent::follow(move |_, stream| {
            let start = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nstart\r\n");
            stream.get_mut().write_all(&start.as_bytes()[..start.len() - 5])?;
            Err(std::io::ErrorKind::Other.into())
        });
        let service = beside(&agent);
        let mut client = Client::connect(service.address);
        client.send(asked("GET", "", "")).unwrap();
        assert!(client.try_answer().is_err(), "{head}");
    }
}

#[test]
fn events_arrive_while_the_agent_goes_on() {
    let (next, may_send) = mpsc::channel::<()>();
    let may_send = Mutex::new(may_send);
    let agent = Agent::follow(move |_, stream| {
        let stream = stream.get_mut();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")?;
        stream.write_all(b"Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n")?;
        stream.write_all(b"Transfer-Encoding: chunked\r\n\r\n")?;
        while may_send.lock().unwrap().recv().is_ok() {
            stream.write_all(b"8\r\ndata: x\n\r\n")?;
        }
        stream.write_all(b"0\r\n\r\n")
    });
    let service = beside(&agent);
    let mut client = Client::connect(service.address);
    client.send(asked("GET", "/device/main//", "")).unwrap();
    let head = client.head();
    assert_eq!((head.status, head.field("content-type")), (200, Some("text/event-stream")));
    let of_the_connection = ["x-hop", "keep-alive", "connection"].map(|name| head.field(name));
    assert_eq!(of_the_connection, [None; 3]);
    for _ in 0..3 {
        next.send(()).unwrap();
        client.wait_for("data: x");
    }
    drop(next);
    client.wait_for("0\r\n\r\n");
}

#[test]
fn what_is_sent_arrives_before_it_is_whole() {
    let (arrived, seen) = mpsc::channel();
    let arrived = Mutex::new(arrived);
    let agent = Agent::follow(move |head, stream| {
        let mut first = [0; 5];
        stream.read_exact(&mut first)?;
        arrived.lock().unwrap().send((head.clone(), first)).unwrap();
        let mut rest = [0; 5];
        stream.read_exact(&mut rest)?;
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let service = beside(&agent);
    let mut client = Client::connect(service.address);
    let head = "PUT /te/v1/entities/device/main///twin/x HTTP/1.1\r\nHost: localhost\r\n";
    client.send(format!("{head}Content-Length: 10\r\n\r\nfirst")).unwrap();
    let (head, first) = seen.recv_timeout(SOON).unwrap();
    assert_eq!((head.field("content-length"), &first), (Some("10"), b"first"));
    client.send("other").unwrap();
    assert_eq!(client.answer().status, 200);
}

#[test]
fn large_bodies_take_no_more_memory_than_small_ones() {
    const LARGE: usize = 64 * MB;
    let agent = Agent::follow(|head, stream| {
        if head.method == "PUT" {
            std::io::copy(&mut stream.take(LARGE as u64), &mut std::io::sink())?;
            return stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
        let stream = stream.get_mut();
        stream
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes())?;
        (0..LARGE / MB).try_for_each(|_| stream.write_all(&vec![b'x'; MB]))
    });
    let service = beside(&agent);
    let mut client = Client::connect(service.address);
    client.send(asked("GET", "/a/b", "")).unwrap();
    client.head();
    client.skip(MB as u64).unwrap();
    let before = service.memory().resident;
    service.forget_peak();
    client.skip((LARGE - MB) as u64).unwrap();
    let head =
        format!("PUT /te/v1/entities/a/b HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LARGE}");
    client.send(format!("{head}\r\n\r\n")).unwrap();
    for _ in 0..LARGE / MB {
        client.send(vec![b'y'; MB]).unwrap();
    }
    assert_eq!(client.answer().status, 204);
    let grown = service.memory().peak.saturating_sub(before);
    assert!(grown < MB as u64, "{} KB", grown / 1024);
}

#[test]
fn pages_of_other_sites_and_other_names_do_not_reach_the_agent() {
    let agent = Agent::start();
    let service = beside(&agent);
    for (fields, status) in [
        ("Host: localhost\r\nOrigin: https://attacker.example\r\n", 403),
        ("Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", 403),
        ("Host: attacker.example\r\n", 421),
    ] {
        let request = format!("GET /te/v1/entities HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(ask(service.address, request).unwrap().status, status, "{fields}");
    }
    assert!(agent.heads().is_empty());
}

/// A child has its own entity, the agent's user everything, and whoever is called `te` a corner of
/// the files.
const RULES: &str = r#"
[[rule]]
who = "child1"
may = ["read", "write"]
below = "/te/v1/entities/device/{who}//"

[[rule]]
who = "*"
may = ["read"]
exactly = "/te/v1/entities"

[[rule]]
who = "main-agent"
may = ["read", "write"]
below = "/"

[[rule]]
who = "*"
may = ["read", "write"]
below = ["/{who}/", "/te/"]
"#;

#[test]
fn rules_say_who_may_ask_for_which_entity() {
    let agent = Agent::start();
    let secured = Secured::start(|setup, authority| {
        point_at(setup, agent.address);
        setup.set("http.ca_path", &authority.cert);
        promises::access::set_rules(setup, RULES);
    });
    let status = |pair: &Pair, method: &str, path: &str| -> Answer {
        let config = tls(&secured.authority.cert, Some(pair));
        let mut client = Client::connect_tls(secured.service.address, &config).unwrap();
        client.exchange(asked(method, path, ""))
    };
    let [child1, te, main] =
        ["child1", "te", "main-agent"].map(|name| secured.authority.client(name, Key::P256));
    for (pair, method, path, is_allowed) in [
        (&child1, "GET", "/device/child1//", true),
        (&child1, "GET", "/device/child1", true),
        (&child1, "DELETE", "/device/child1", true),
        (&child1, "DELETE", "/device/child1/service/x", true),
        (&child1, "GET", "/device%2Fchild1//", true),
        (&child1, "GET", "", true),
        (&child1, "POST", "", false),
        (&child1, "GET", "/device/child2//", false),
        (&child1, "GET", "/device/child12//", false),
        (&child1, "GET", "/device/main//", false),
        (&child1, "DELETE", "/device//child1/", false),
        (&child1, "DELETE", "//device/child1//", false),
        (&child1, "DELETE", "/device/child1/../main//", false),
        (&child1, "DELETE", "/device/child1/%2e%2E/main//", false),
        (&child1, "DELETE", "/device/child1%2f..%2fmain//", false),
        (&child1, "DELETE", "/device/child1/./x/", false),
        (&child1, "DELETE", "/device/child1/%00/", false),
        (&child1, "DELETE", "/device/child1/%ff/", false),
        (&te, "GET", "/device/main//", false),
        (&te, "DELETE", "/device/main//", false),
        (&te, "GET", "", true),
        (&main, "DELETE", "/device/child2//", true),
    ] {
        let before = agent.heads().len();
        let answer = status(pair, method, path);
        assert_eq!(answer.status != 403, is_allowed, "{method} {path}: {}", answer.text());
        assert_eq!(agent.heads().len() > before, is_allowed, "{method} {path}");
    }
    let refused = status(&child1, "DELETE", "/device/main//");
    let text = "child1 may not write below \"/te/v1/entities/device/\"\n";
    assert_eq!((refused.status, &*refused.text()), (403, text));
}
