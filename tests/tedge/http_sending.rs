//! What `tedge http` sends, and when.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;

use super::http_output::head;
use crate::support::tedge::{Device, run};

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (listener, port)
}

#[test]
fn in_clear_nothing_of_the_content_is_sent_before_it_is_asked_for() {
    let (listener, port) = listen();
    let server = thread::spawn(move || {
        let port = listener.local_addr().unwrap().port();
        let mut clear = listener.accept().unwrap().0;
        assert!(head(&mut clear).contains("\r\nexpect: 100-continue\r\n"));
        let redirect = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://127.0.0.1:{port}/te/v1/files/a\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        clear.write_all(redirect.as_bytes()).unwrap();
        let mut secure = listener.accept().unwrap().0;
        let mut first = [0];
        secure.read_exact(&mut first).unwrap();
        drop(secure);
        let mut rest = Vec::new();
        clear.read_to_end(&mut rest).unwrap();
        (first[0], rest)
    });
    let device = Device::new();
    let mut put = device.command(&["http", "put", "/te/v1/files/a", "--file", "-"]);
    put.env("TEDGE_HTTP_CLIENT_PORT", &port).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut put = put.spawn().unwrap();
    put.stdin.take().unwrap().write_all(b"secret").unwrap();
    let output = put.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "the service has no certificate");
    let handshake = 22;
    assert_eq!(server.join().unwrap(), (handshake, Vec::new()));
}

#[test]
fn a_redirect_to_elsewhere_is_not_followed() {
    for elsewhere in
        ["https://127.0.0.1:1/te/v1/files/a", "https://example.com/te/v1/files/a", "/b"]
    {
        let (listener, port) = listen();
        let server = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            head(&mut stream);
            let redirect = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"
            );
            stream.write_all(redirect.as_bytes()).unwrap();
        });
        let line = ["http", "put", "/te/v1/files/a", "secret"];
        let done = Device::new().tedge_with(("TEDGE_HTTP_CLIENT_PORT", &port), &line);
        done.failed(1, &["HTTP answer: 307 Temporary Redirect"]);
        server.join().unwrap();
    }
}

/// The head that a line sends, and its content; answered with 200.
fn sent(arguments: &[&str]) -> (String, String) {
    let (listener, port) = listen();
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let head = head(&mut stream);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut content = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        if head.contains("expect: 100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        }
        stream.read_exact(&mut content).unwrap();
        let mut answer: &TcpStream = &stream;
        answer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        (head, String::from_utf8(content).unwrap())
    });
    let device = Device::new();
    let ports = ["TEDGE_HTTP_CLIENT_PORT", "TEDGE_C8Y_PROXY_CLIENT_PORT"];
    let mut command = device.command(&[&["http"], arguments].concat());
    command.envs(ports.map(|variable| (variable, &port)));
    // It is for Cumulocity alone.
    command.env("TEDGE_PROXY_ADDRESS", "http://127.0.0.1:1");
    assert_eq!(run(&mut command).silent_success(), "ok");
    server.join().unwrap()
}

#[test]
fn each_verb_sends_its_content_with_its_type() {
    for (arguments, start, fields, content) in [
        (
            &["get", "/c8y/a b?q=ü"][..],
            "get /c8y/a%20b?q=%c3%bc ",
            &["accept: application/json"][..],
            "",
        ),
        (&["delete", "/te/v1/files/a"], "delete /te/v1/files/a ", &[], ""),
        (&["post", "/c8y/x", "{}"], "post /c8y/x ", &["content-type: application/json"], "{}"),
        (
            &[
                "patch",
                "/c8y/x",
                "--data",
                "a",
                "--content-type",
                "text/csv",
                "--accept-type",
                "text/a",
            ],
            "patch /c8y/x ",
            &["content-type: text/csv", "accept: text/a"],
            "a",
        ),
        (&["post", "/c8y/x"], "post /c8y/x ", &["content-length: 0"], ""),
        (
            &["put", "/te/v1/files/a", "--", "-x"],
            "put /te/v1/files/a ",
            &["content-length: 2"],
            "-x",
        ),
    ] {
        let (head, body) = sent(arguments);
        assert!(head.starts_with(start), "{arguments:?}: {head}");
        for field in fields {
            assert!(head.contains(&format!("\r\n{field}\r\n")), "{field} in {head}");
        }
        assert!(head.contains("\r\nhost: 127.0.0.1"), "{head}");
        assert_eq!(body, content);
    }
}
