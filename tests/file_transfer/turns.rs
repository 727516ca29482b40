//! Few uploads are received at a time, and one whose client stops sending, or that is refused, holds
//! up no other.

use std::time::Duration;

use crate::support::client::Client;
use crate::{Service, assert_stored, bytes, put, put_head, start, stored};

/// More than are received at a time.
const MANY: usize = 40;
/// How long an upload may take among these.
const PATIENCE: Duration = Duration::from_secs(4);

fn connect(service: &Service) -> Client {
    let client = Client::connect(service.address);
    client.set_patience(PATIENCE);
    client
}

#[test]
fn uploads_that_send_a_byte_now_and_then_hold_up_no_other() {
    let service = start(|_| {});
    let mut slow: Vec<_> = (0..MANY).map(|_| connect(&service)).collect();
    for (number, client) in slow.iter_mut().enumerate() {
        client.send(put_head(&format!("slow-{number}"), 4, "")).unwrap();
    }
    let content = bytes(3_000_000, 91);
    for byte in ["a", "b", "c"] {
        slow.iter_mut().for_each(|client| client.send(byte).unwrap());
        let mut client = connect(&service);
        assert_eq!(client.exchange(put(byte, &content)).status, 201);
    }
    for client in &mut slow {
        client.send("d").unwrap();
        assert_eq!(client.answer().status, 201);
    }
    let stored = stored(&service);
    assert_eq!(stored.len(), MANY + 3);
    assert!(stored.values().all(|found| found == &content || found == b"abcd"));
}

#[test]
fn uploads_that_were_refused_and_go_on_hold_up_no_other() {
    let service = start(|setup| setup.set_own("http.upload.max_size", "\"10k\""));
    let half = format!("80000\r\n{}", "x".repeat(0x40000));
    let head = put_head("large", 0, "").replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let mut refused: Vec<_> = (0..MANY).map(|_| connect(&service)).collect();
    for client in &mut refused {
        client.send(&head).unwrap();
        client.send(&half).unwrap();
        assert_eq!(client.head().status, 413);
    }
    assert_eq!(connect(&service).exchange(put("small", "content")).status, 201);
    assert_stored(&service, &[("small", b"content")]);
}
