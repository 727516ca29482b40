//! The connection to the broker is half open, as after a firewall on the path has dropped its
//! state: nothing arrives any more, and neither side is told.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::device::{Device, Outside};

/// The way to a broker. It can forget the connections that it carries.
struct Way {
    port: u16,
    forgotten: Arc<AtomicUsize>,
}

impl Way {
    fn to(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let forgotten = Arc::new(AtomicUsize::new(0));
        let current = Arc::clone(&forgotten);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = TcpStream::connect(broker).unwrap();
                let (back, answers) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                for (from, to) in [(near, far), (answers, back)] {
                    let current = Arc::clone(&current);
                    thread::spawn(move || carry(&from, &to, &current));
                }
            }
        });
        Self { port, forgotten }
    }

    fn forget(&self) {
        self.forgotten.fetch_add(1, SeqCst);
    }
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, forgotten: &AtomicUsize) {
    let begun = forgotten.load(SeqCst);
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if forgotten.load(SeqCst) == begun && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    if forgotten.load(SeqCst) == begun {
        let _ = to.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_half_open_connection_costs_no_request_and_is_replaced() {
    let outside = Outside::new();
    let way = Way::to(outside.broker.address());
    let device = Device::among(outside, |setup| setup.set_raw("mqtt.client.port", way.port));
    device.warm();
    for _ in 0..2 {
        way.forget();
        device.cloud().tokens().revoke_all();
        let begun = Instant::now();
        let answer = device.get("/c8y/tenant/currentTenant");
        assert_eq!(answer.status, 200, "{}\n{}", answer.text(), device.proxy.log());
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    }
    let log = device.proxy.log();
    assert!(log.contains("it has not acknowledged a message for 5 s"), "{log}");
}
