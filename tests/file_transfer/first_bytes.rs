//! What can come first on a TLS port: plain HTTP, an incomplete message, nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ProtocolVersion};

use crate::support::answer::Answer;
use crate::support::client::Client;
use crate::support::curl::Curl;
use crate::{FILES, Secured, assert_stored, request, start};

#[test]
fn plain_http_is_sent_to_https_whatever_the_method() {
    let secured = Secured::start(|_, _| {});
    let authority = format!("localhost:{}", secured.service.address.port());
    for method in ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS"] {
        for target in [&format!("{FILES}/a%20b?x=1&y=%2F"), "/", "/no/such/route?"] {
            let mut client = Client::connect(secured.service.address);
            client
                .send(format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\n\r\n"))
                .unwrap();
            let head = client.head();
            assert_eq!(head.status, 307, "{method} {target}");
            let location = format!("https://{authority}{target}");
            assert_eq!(head.field("location"), Some(location.as_str()), "{method}");
            assert!(client.rest().is_ok(), "the connection is closed");
        }
    }
}

#[test]
fn the_host_is_kept_as_the_client_knows_it() {
    let secured = Secured::start(|_, _| {});
    for host in ["device.local", "device.local:1234", "[fe80::1]", "[::1]:8000", "10.0.0.1"] {
        let mut client = Client::connect(secured.service.address);
        let answer = client.exchange(format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status, 307);
        assert_eq!(answer.field("location"), Some(format!("https://{host}/a").as_str()));
    }
}

#[test]
fn curl_follows_with_its_upload() {
    let secured = Secured::start(|_, _| {});
    let file = secured.service.directory().write("foo", "Hello thin-edge.io\n");
    let url = format!("http://localhost:{}{FILES}/foo", secured.service.address.port());
    let curl = Curl::new(&url).tls(&secured.authority.cert, None).arg("-L").upload(&file);
    assert_eq!(curl.answer().status, 201);
    assert_stored(&secured.service, &[("foo", b"Hello thin-edge.io\n")]);
}

#[test]
fn a_client_without_certificate_is_redirected_as_well() {
    let secured = Secured::start(|setup, authority| setup.set("http.ca_path", &authority.cert));
    let mut client = Client::connect(secured.service.address);
    assert_eq!(client.exchange(request("GET", "foo")).status, 307);
}

#[test]
fn without_a_valid_host_the_client_is_told_that_this_is_https() {
    let secured = Secured::start(|_, _| {});
    let heads = [
        "GET /a HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.0\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a:port\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a?b\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a#b\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: \"><script>\r\n\r\n",
    ];
    for head in heads {
        let mut client = Client::connect(secured.service.address);
        client.send(head).unwrap();
        let answers = Answer::all(&client.rest().expect("the connection is closed"));
        assert_eq!(answers.len(), 1, "{head:?}");
        assert_eq!(answers[0].status, 400, "{head:?}");
        assert!(answers[0].text().contains("HTTPS"), "{}", answers[0].text());
    }
}

#[test]
fn any_first_bytes_are_survived() {
    let service = Secured::start(|_, _| {});
    let beginnings: [&[u8]; 6] = [
        b"GET /tedge/file-transfer/foo HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03AAAAAAAAAAAAAAAAAAAAAAAA",
        b"\x16\x03\x01\xff\xff\x01\xff\xff\xff\x03\x03AAAAAAAAAAAAAAAAAAAAAAAA",
        b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10\x00\x00\x05\x00\x00\x0a\x00\x00\x2f\x00",
        b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
    ];
    for bytes in beginnings {
        for length in [0, 1, 5, 19, 20, bytes.len()] {
            for ending in 0..3 {
                let mut client = Client::connect(service.service.address);
                client.send(&bytes[..length.min(bytes.len())]).unwrap();
                match ending {
                    0 => drop(client),
                    1 => client.reset(),
                    _ => {
                        client.finish();
                        let _ = client.rest();
                    }
                }
            }
        }
    }
    assert_eq!(service.client().exchange(request("GET", "foo")).status, 404);
    assert!(!service.service.log().contains("panicked"), "{}", service.service.log());
}

#[test]
fn tls_on_a_plain_port_is_survived() {
    let service = start(|_| {});
    let url = format!("https://localhost:{}/health", service.address.port());
    assert_eq!(Curl::new(&url).arg("-k").run().exit, 35);
    assert_eq!(Curl::new(&service.url("/health")).answer().status, 200);
}

#[test]
fn a_client_hello_in_single_bytes_is_a_client_hello() {
    let secured = Secured::start(|_, _| {});
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(secured.tls(), name).unwrap();
    let mut socket = TcpStream::connect(secured.service.address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let mut hello = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut hello).unwrap();
    }
    for byte in hello {
        socket.write_all(&[byte]).unwrap();
    }
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(Answer::all(&answer)[0].status, 200);
}

#[test]
fn a_client_that_never_speaks_keeps_nobody_waiting() {
    let secured = Secured::start(|_, _| {});
    let address = secured.service.address;
    let silent: Vec<_> = (0..5).map(|_| Client::connect(address)).collect();
    let mut halting = Client::connect(address);
    halting.send(b"\x16\x03\x01\x02\x00\x01").unwrap();
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(secured.client().exchange(request("GET", "foo")).status, 404);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    drop((silent, halting));
}
