//! Whatever bytes a client sends: the inputs that are kept of the fuzz target `connection`, and
//! some by chance, are sent to the real program, and its answers are judged as there.

#[path = "../fuzz/properties/conversation.rs"]
mod conversation;

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use proptest::test_runner::{Config, FileFailurePersistence};

use conversation::Conversation;

use crate::support::answer::Answer;
use crate::support::client::Client;
use crate::support::service::Service;
use crate::{request, start};

/// Sends all of it, and judges what comes until the service closes.
fn check(service: &Service, input: &[u8]) {
    let conversation = Conversation::decode(input);
    let mut client = Client::connect(service.address);
    let heard = std::thread::scope(|scope| {
        let mut mouth = client.socket().try_clone().unwrap();
        let conversation = &conversation;
        scope.spawn(move || {
            for piece in &conversation.pieces {
                // It may have been cut off.
                if std::io::Write::write_all(&mut mouth, piece).is_err() {
                    return;
                }
            }
            let _ = mouth.shutdown(std::net::Shutdown::Write);
        });
        client.heard()
    });
    conversation.judge(&heard);
}

#[test]
fn every_conversation_that_is_kept_is_answered_rightly() {
    let service = start(|_| {});
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/connection");
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("the input is {}", path.display());
        check(&service, &fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 10, "only {count} conversations are kept");
}

#[test]
fn any_conversation_is_answered_rightly() {
    let service = start(|_| {});
    let kept = FileFailurePersistence::Direct("../tests/faults/bytes.regressions");
    let config = Config { failure_persistence: Some(Box::new(kept)), ..Config::default() };
    proptest!(config, |(input in vec(any::<u8>(), 0..200))| check(&service, &input));
}

/// hyper would read what follows the content, and if that is malformed, write an error into the
/// middle of an answer that still waits for the socket.
#[test]
fn nothing_is_answered_behind_content_that_was_not_read() {
    let service = start(|_| {});
    for content in ["Content-Length: 4\r\n\r\nabcd", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
    {
        for (method, status) in [("GET", 404), ("DELETE", 202), ("POST", 405)] {
            let head = request(method, "foo").replace("\r\n\r\n", "\r\n");
            let sent = format!("{head}{content}{}\0 malformed\r\n\r\n", request("GET", "foo"));
            let mut client = Client::connect(service.address);
            client.send(sent).unwrap();
            client.finish();
            let answers = Answer::all(&client.heard());
            assert_eq!(answers.len(), 1, "{method} {content:?}");
            assert_eq!(
                (answers[0].status, answers[0].field("connection")),
                (status, Some("close"))
            );
        }
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_seen() {
    // A GET of a file, and all the rest as it is by default.
    let conversation = Conversation::decode(&[0, 0, 0, 0, 0]);
    assert_eq!(
        String::from_utf8_lossy(&conversation.pieces[0]),
        "GET /tedge/file-transfer/a HTTP/1.1\r\nHost: x\r\n\r\n"
    );
    let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nhi";
    conversation.judge(answer.as_bytes());
    for wrong in [
        String::new(),
        answer.repeat(2),
        answer.replace("404", "500"),
        answer.replace("hi", "h"),
        answer.replace("hi", "hi!"),
        answer.replace("content-length: 2\r\n", ""),
        answer.replace("content-length: 2", "content-length: 2\r\ncontent-length: 2"),
        answer.replace("content-length", "content length"),
        format!("HTTP/1.1 100 Continue\r\n\r\n{answer}"),
    ] {
        let judged = std::panic::catch_unwind(|| conversation.judge(wrong.as_bytes()));
        assert!(judged.is_err(), "let pass: {wrong:?}");
    }
}
