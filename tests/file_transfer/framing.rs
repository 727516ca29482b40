//! Where a message begins and ends: a request in doubt is refused and the connection closed, so
//! that no part of one request is read as another.

use std::time::Duration;

use crate::support::answer::Answer;
use crate::support::client::Client;
use crate::support::service::Service;
use crate::{FILES, assert_stored, bytes, curl, put, request, start};

/// What the service answers to these bytes until it closes; an error where it does not close.
fn answers(service: &Service, sent: impl AsRef<[u8]>) -> Vec<Answer> {
    let mut client = Client::connect(service.address);
    client.send(sent).unwrap();
    Answer::all(&client.rest().expect("the service closes the connection"))
}

const SMUGGLED: &str = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn doubtful_framing_is_answered_400_and_closed() {
    let service = start(|_| {});
    let put = format!("PUT {FILES}/foo HTTP/1.1\r\nHost: x\r\n");
    let doubtful = [
        ("differing lengths", "Content-Length: 3\r\nContent-Length: 4\r\n"),
        ("differing lengths in one field", "Content-Length: 3, 4\r\n"),
        ("a length with a sign", "Content-Length: +3\r\n"),
        ("a negative length", "Content-Length: -3\r\n"),
        ("a hexadecimal length", "Content-Length: 0x3\r\n"),
        ("an empty length", "Content-Length:\r\n"),
        ("a length that is too large", "Content-Length: 99999999999999999999999\r\n"),
        ("xchunked", "Transfer-Encoding: xchunked\r\n"),
        ("a coding that is not known", "Transfer-Encoding: gzip\r\n"),
        ("chunked before another", "Transfer-Encoding: chunked, identity\r\n"),
        ("an obsolete fold", "X-Folded: a\r\n b\r\nContent-Length: 3\r\n"),
        ("a folded length", "Content-Length:\r\n 3\r\n"),
        ("a space before the colon", "Content-Length : 3\r\n"),
        ("a tab before the colon", "Transfer-Encoding\t: chunked\r\n"),
        ("a space before the first field", " X: y\r\nContent-Length: 3\r\n"),
        ("no name", ": y\r\nContent-Length: 3\r\n"),
        ("no colon", "Content-Length\r\n"),
        ("NUL in a value", "X: a\0b\r\nContent-Length: 3\r\n"),
        ("CR in a value", "X: a\rContent-Length: 9\r\nContent-Length: 3\r\n"),
    ];
    for (what, fields) in doubtful {
        let answers = answers(&service, format!("{put}{fields}\r\nnew{SMUGGLED}"));
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [400], "{what}");
    }
    assert_stored(&service, &[]);
}

#[test]
fn a_length_beside_a_transfer_coding_never_gets_two_answers() {
    let service = start(|_| {});
    let shapes = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 50\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: Chunked\r\n",
    ];
    for shape in shapes {
        for line in [format!("PUT {FILES}/foo"), format!("GET {FILES}/foo"), "GET /health".into()] {
            let sent = format!("{line} HTTP/1.1\r\nHost: x\r\n{shape}\r\n0\r\n\r\n{SMUGGLED}");
            let answers = answers(&service, sent);
            assert!(answers.len() <= 1, "{line} {shape}: {answers:?}");
        }
    }
}

#[test]
fn a_transfer_coding_of_http_1_0_is_refused() {
    let service = start(|_| {});
    let sent = format!(
        "PUT {FILES}/foo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
    );
    assert!(answers(&service, sent).len() <= 1);
}

#[test]
fn an_upload_without_a_length_in_http_1_0_is_refused() {
    let service = start(|_| {});
    curl(&service, "foo").put("old").answer();
    for content in ["", "new"] {
        let sent = format!("PUT {FILES}/foo HTTP/1.0\r\nHost: x\r\n\r\n{content}");
        let statuses: Vec<_> = answers(&service, sent).iter().map(|it| it.status).collect();
        assert_eq!(statuses, [411], "{content:?}");
        assert_stored(&service, &[("foo", b"old")]);
    }
    let sent = format!("PUT {FILES}/foo HTTP/1.0\r\nContent-Length: 3\r\n\r\nnew");
    assert_eq!(answers(&service, sent)[0].status, 201);
    // In HTTP/1.1 it means that there is no content.
    let sent = format!("PUT {FILES}/foo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(answers(&service, sent)[0].status, 201);
    assert_stored(&service, &[("foo", b"")]);
}

#[test]
fn a_transfer_coding_beside_chunked_is_not_supported() {
    let service = start(|_| {});
    curl(&service, "foo").put("old").answer();
    for coding in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip,chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: x-unknown;q=1, chunked",
    ] {
        for method in ["PUT", "GET", "DELETE"] {
            let head = format!("{method} {FILES}/foo HTTP/1.1\r\nHost: x\r\n{coding}\r\n\r\n");
            let answers = answers(&service, format!("{head}3\r\nnew\r\n0\r\n\r\n{SMUGGLED}"));
            let statuses: Vec<_> = answers.iter().map(|it| it.status).collect();
            assert_eq!(statuses, [501], "{method} {coding}");
            assert!(answers[0].text().contains("chunked"), "{}", answers[0].text());
            assert_stored(&service, &[("foo", b"old")]);
        }
    }
}

#[test]
fn broken_chunks_end_the_connection() {
    let service = start(|_| {});
    let head = format!("PUT {FILES}/foo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunks in [
        "g\r\nx\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "1\r\nxyz\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nx\r\n0\r\n\r\n",
        "\r\nx\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
    ] {
        let answers = answers(&service, format!("{head}{chunks}{SMUGGLED}"));
        assert!(answers.len() <= 1, "{chunks:?}: {answers:?}");
        assert!(answers.iter().all(|answer| answer.status == 400), "{chunks:?}: {answers:?}");
    }
    assert_stored(&service, &[]);
}

#[test]
fn chunks_of_any_shape_are_put_together() {
    let service = start(|_| {});
    let head = format!("PUT {FILES}/foo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunks =
        "1\r\na\r\n02;name=\"value\"\r\nbc\r\nA\r\n0123456789\r\n0\r\nX-Trailer: x\r\n\r\n";
    let mut client = Client::connect(service.address);
    for piece in (head + chunks).as_bytes().chunks(7) {
        client.send(piece).unwrap();
    }
    assert_eq!(client.answer().status, 201);
    assert_stored(&service, &[("foo", b"abc0123456789")]);
    // What follows the trailer is the next request.
    assert_eq!(client.exchange(SMUGGLED).status, 200);
}

#[test]
fn bare_line_feeds_hang_nothing() {
    let service = start(|_| {});
    for sent in ["GET /health HTTP/1.1\nHost: x\n\n", "GET /health HTTP/1.1\r\nHost: x\n\r\n"] {
        let mut client = Client::connect(service.address);
        client.send(sent).unwrap();
        // An answer or the end, but within the time that a head may take.
        let answer = client.try_answer().expect("no answer and no end");
        assert!(answer.is_none_or(|answer| [200, 400].contains(&answer.status)));
    }
}

#[test]
fn three_requests_at_once_are_answered_in_turn() {
    let service = start(|_| {});
    let three = [
        put("foo", "content"),
        request("GET", "foo").into_bytes(),
        request("DELETE", "foo").into_bytes(),
    ];
    let mut client = Client::connect(service.address);
    client.send(three.concat()).unwrap();
    assert_eq!(client.answer().status, 201);
    assert_eq!(client.answer().text(), "content");
    assert_eq!(client.answer().status, 202);
    assert_stored(&service, &[]);
    // And in one piece with what comes later.
    client
        .send([put("foo", "again"), request("GET", "foo").as_bytes()[..10].to_vec()].concat())
        .unwrap();
    assert_eq!(client.answer().status, 201);
    client.send(&request("GET", "foo").as_bytes()[10..]).unwrap();
    assert_eq!(client.answer().text(), "again");
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let service = start(|_| {});
    let content = bytes(100_000, 35);
    let file = service.directory().write("content", &content);
    curl(&service, "foo").upload(&file).answer();
    let answers = answers(&service, format!("GET {FILES}/foo HTTP/1.0\r\n\r\n"));
    assert_eq!(answers.len(), 1);
    assert!(answers[0].status == 200 && answers[0].body == content);
    assert_eq!(answers[0].field("transfer-encoding"), None);
}

#[test]
fn a_client_that_asks_for_it_is_closed() {
    let service = start(|_| {});
    let asked = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(answers(&service, format!("{asked}{SMUGGLED}")).len(), 1);
}

#[test]
fn values_that_are_not_ascii_end_nothing() {
    let service = start(|_| {});
    curl(&service, "foo").put("content").answer();
    for name in [
        "X-Name",
        "User-Agent",
        "If-None-Match",
        "If-Modified-Since",
        "Range",
        "If-Range",
        "Cookie",
        "Content-Type",
        "Content-Digest",
        "Repr-Digest",
        "Host",
        "Accept-Encoding",
    ] {
        for value in ["J\u{f6}rg".as_bytes(), b"J\xf6rg", b"\xff\xfe", b"\"\xe4\"", b"bytes=\xe4-"]
        {
            for method in ["GET", "PUT"] {
                let mut sent = format!("{method} {FILES}/foo HTTP/1.1\r\n").into_bytes();
                if name != "Host" {
                    sent.extend_from_slice(b"Host: x\r\n");
                }
                sent.extend_from_slice(name.as_bytes());
                sent.extend_from_slice(b": ");
                sent.extend_from_slice(value);
                sent.extend_from_slice(b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let answers = answers(&service, sent);
                assert_eq!(answers.len(), 1, "{method} {name}: {value:?}");
                assert!(answers[0].status < 500, "{method} {name}: {}", answers[0].status);
            }
        }
    }
    let mut client = Client::connect(service.address);
    let plain = [b"GET /health HTTP/1.1\r\nHost: x\r\nX-Name: J\xf6rg\r\n\r\n".as_slice()].concat();
    assert_eq!(client.exchange(plain).status, 200);
    assert!(service.is_running());
    assert!(!service.log().contains("panicked"), "{}", service.log());
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let service = start(|_| {});
    let with_field = |length: usize| {
        format!("GET /health HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(length))
    };
    assert_eq!(Client::connect(service.address).exchange(with_field(30 * 1024)).status, 200);
    for length in [33 * 1024, 400 * 1024] {
        let mut client = Client::connect(service.address);
        // A service that has seen enough may stop reading.
        let _ = client.send(with_field(length));
        assert_eq!(client.answer().status, 431, "{length}");
    }
    let with_fields = |count: usize| {
        let fields: String = (1..count).map(|number| format!("X-{number}: x\r\n")).collect();
        format!("GET /health HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
    };
    assert_eq!(Client::connect(service.address).exchange(with_fields(100)).status, 200);
    assert_eq!(Client::connect(service.address).exchange(with_fields(101)).status, 431);
}

#[test]
fn a_request_in_single_bytes_is_a_request() {
    let service = start(|_| {});
    let mut client = Client::connect(service.address);
    for byte in put("foo", "content") {
        client.send([byte]).unwrap();
    }
    assert_eq!(client.answer().status, 201);
}

#[test]
fn noise_is_survived() {
    let service = start(|_| {});
    for seed in 0..200 {
        let mut client = Client::connect(service.address);
        let _ = client.send(bytes(1 + seed * 13 % 4000, seed as u64));
        client.finish();
        client.set_patience(Duration::from_secs(15));
        let rest = client.rest();
        assert!(
            rest.is_ok() || rest.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
        );
    }
    assert_eq!(Client::connect(service.address).exchange(SMUGGLED).status, 200);
    assert!(!service.log().contains("panicked"), "{}", service.log());
}
