//! Large files that the kernel moves between disk and socket: the bytes are the same as when it
//! cannot, and come in the same order.

use std::fs;

use crate::support::client::Client;
use crate::support::service::{Service, Setup};
use crate::{FILES, bytes, request, start};

use super::stalled_disk::{can_trace, trace};

const LARGE: usize = 3_000_000;

/// A service with a large file and a small one, and the content of the large one.
fn with_files(configure: impl FnOnce(&mut Setup)) -> (Service, Vec<u8>) {
    let content = bytes(LARGE, 41);
    let service = start(|setup| {
        configure(setup);
        let files = setup.directory().join("data/file-transfer");
        fs::create_dir_all(&files).unwrap();
        fs::write(files.join("large"), &content).unwrap();
        fs::write(files.join("small"), "small").unwrap();
    });
    (service, content)
}

/// How often the service has made this system call without an error.
fn calls(service: &Service, call: &str) -> usize {
    let trace = fs::read_to_string(service.path("trace")).unwrap();
    trace.lines().filter(|line| line.contains(call) && !line.contains(" = -1 ")).count()
}

fn range(first: usize, last: usize) -> String {
    format!("GET {FILES}/large HTTP/1.1\r\nHost: localhost\r\nRange: bytes={first}-{last}\r\n\r\n")
}

/// Requests without a pause between them, large and small, and the answers to each.
fn assert_answered_in_turn(service: &Service, content: &[u8]) {
    let mut client = Client::connect(service.address);
    let requests = [
        request("GET", "small"),
        request("GET", "large"),
        request("HEAD", "large"),
        range(7, 2_000_000),
        request("GET", "small"),
        range(1_000_000, 1_131_071),
        range(1_000_000, 1_131_070),
        request("GET", "large"),
        request("GET", "none"),
    ];
    client.send(requests.concat()).unwrap();
    assert_eq!(client.answer().text(), "small");
    assert!(client.answer().body == content);
    assert_eq!(client.answer_to("HEAD").unwrap().field("content-length"), Some("3000000"));
    assert!(client.answer().body == content[7..=2_000_000]);
    assert_eq!(client.answer().text(), "small");
    assert!(client.answer().body == content[1_000_000..=1_131_071]);
    assert!(client.answer().body == content[1_000_000..=1_131_070]);
    assert!(client.answer().body == content);
    assert_eq!(client.answer().status, 404);
}

#[test]
fn large_files_are_sent_by_the_kernel_in_turn_with_small_ones() {
    if !can_trace() {
        return;
    }
    let (service, content) = with_files(|setup| trace(setup, "sendfile", ""));
    assert_answered_in_turn(&service, &content);
    assert!(calls(&service, "sendfile(") >= 4, "the kernel was not asked to send");
}

#[test]
fn large_files_are_sent_where_the_kernel_cannot() {
    if !can_trace() {
        return;
    }
    for inject in [
        "inject=sendfile:error=ENOSYS",
        "inject=sendfile:error=EPERM",
        "inject=sendfile:error=EINVAL:when=2+3",
        "inject=sendfile:error=EINTR:when=1+2",
        "inject=preadv2:error=EOPNOTSUPP",
        "inject=preadv2:error=EAGAIN:when=3+5",
    ] {
        let (service, content) = with_files(|setup| trace(setup, "sendfile,preadv2", inject));
        assert_answered_in_turn(&service, &content);
    }
}

#[test]
fn a_large_file_is_sent_to_the_end_over_http_1_0() {
    let (service, content) = with_files(|_| {});
    let mut client = Client::connect(service.address);
    client.send(format!("GET {FILES}/large HTTP/1.0\r\n\r\n")).unwrap();
    assert!(client.answer().body == content);
    assert!(client.is_closed());
}
