//! A broker, or a client that may publish on it, sends packets that are too long. The proxy does
//! not store them, warns once, and works again when they end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::bridge::Answer;
use crate::support::device::{Device, Outside, SOON};
use crate::support::memory::Memory;
use crate::support::mqtt::Client;
use crate::support::wait::eventually;

const MB: u64 = 1024 * 1024;

const COMPLAINT: &str = "bytes; the limit is 16384";

/// Makes the proxy fetch a new token.
fn renew(device: &Device) {
    device.cloud().tokens().revoke_all();
    eventually("a new token is fetched", 3 * SOON, || {
        device.get("/c8y/tenant/currentTenant").status == 200
    });
}

/// The peak of the proxy's memory during the attack.
fn cost(device: &Device, attack: impl FnOnce()) -> u64 {
    let before = device.proxy.memory().resident;
    Memory::forget_peak(device.proxy.pid());
    attack();
    device.proxy.memory().peak.saturating_sub(before)
}

fn complaints(device: &Device) -> usize {
    device.proxy.log().lines().filter(|line| line.contains(COMPLAINT)).count()
}

#[test]
fn a_message_of_200_mb_costs_no_memory_and_one_complaint() {
    let device = Device::start();
    device.warm();
    renew(&device);
    let mut attacker = Client::connect(device.outside.broker.address(), "attacker").unwrap();
    let cost = cost(&device, || {
        attacker.publish("c8y/s/dat", &vec![b'x'; 200_000_000]).unwrap();
        device.proxy.wait_for(COMPLAINT, 3 * SOON);
        renew(&device);
    });
    assert!(cost < MB, "{cost} bytes");
    assert_eq!(complaints(&device), 1, "{}", device.proxy.log());
}

#[test]
fn an_answer_that_is_too_long_is_asked_for_again() {
    let device = Device::start();
    let long = [&b"71,"[..], &[b'a'; 100_000]].concat();
    device.bridge().answer(Answer::Payload(long));
    thread::scope(|scope| {
        let asked = scope.spawn(|| device.get("/c8y/tenant/currentTenant"));
        device.proxy.wait_for(COMPLAINT, SOON);
        device.bridge().answer(Answer::Token);
        let answer = asked.join().unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    });
}

#[test]
fn a_broker_that_announces_256_mb_is_tried_less_and_less_and_used_again_once_it_is_well() {
    let outside = Outside::new();
    let hostile = Hostile::start(outside.broker.address());
    let device = Device::among(outside, |setup| setup.set_raw("mqtt.client.port", hostile.port));
    device.proxy.wait_for(COMPLAINT, SOON);
    let cost = cost(&device, || {
        eventually("it is tried again", 2 * SOON, || hostile.tried.load(SeqCst) >= 3);
    });
    assert!(cost < MB, "{cost} bytes");
    assert_eq!(complaints(&device), 1, "{}", device.proxy.log());
    // After pauses of 1 s, 2 s and 4 s there are four tries, and a fifth 8 s later.
    thread::sleep(Duration::from_secs(6));
    let tried = hostile.tried.load(SeqCst);
    assert!(tried <= 5, "{tried} tries");
    hostile.is_well.store(true, SeqCst);
    renew(&device);
    // The first packet may have come a moment after the broker had let us subscribe.
    let log = device.proxy.log();
    let (_, after) = log.split_once(COMPLAINT).unwrap();
    assert!(!after.contains("connected to the broker"), "{log}");
}

#[test]
fn a_token_on_another_topic_is_not_taken() {
    let outside = Outside::new();
    let token = outside.cloud.tokens().issue();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = format!("71,{token}");
    thread::spawn(move || {
        let (mut proxy, _) = listener.accept().unwrap();
        welcome(&mut proxy).unwrap();
        let (kind, body) = packet(&mut proxy).unwrap();
        assert_eq!((kind & 0xf0, &body[2..11]), (0x30, &b"c8y/s/uat"[..]));
        for topic in ["c8y/s/da", "c8y/s/dat/", "/c8y/s/dat", "C8Y/S/DAT", "c8y/s/uat", "x"] {
            proxy.write_all(&publish(topic.as_bytes(), b"71,planted")).unwrap();
        }
        proxy.write_all(&publish(b"c8y/s/dat", answer.as_bytes())).unwrap();
        while proxy.read(&mut [0; 10]).is_ok_and(|length| length > 0) {}
    });
    let device = Device::among(outside, |setup| {
        setup.set_raw("mqtt.client.port", port);
        setup.set_own("c8y.proxy.publish_health", false);
    });
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    let seen = device.cloud().seen().requests;
    assert_eq!((seen.len(), seen[0].bearer()), (1, Some(token.as_str())));
}

#[test]
fn a_topic_that_is_not_text_ends_the_connection_and_not_the_service() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (ended, endings) = mpsc::channel();
    thread::spawn(move || {
        for topic in [&b"c8y/s/dat\0"[..], b"\0", b"c8y/s/\xff", b"\xc3"] {
            let (mut proxy, _) = listener.accept().unwrap();
            welcome(&mut proxy).unwrap();
            proxy.write_all(&publish(topic, b"71,planted")).unwrap();
            while proxy.read(&mut [0; 10]).is_ok_and(|length| length > 0) {}
            ended.send(()).unwrap();
        }
    });
    let device = Device::with(|setup| setup.set_raw("mqtt.client.port", port));
    for _ in 0..4 {
        endings.recv_timeout(2 * SOON).unwrap();
        assert!(device.proxy.is_running(), "{}", device.proxy.log());
    }
    device.proxy.wait_for("a message with an invalid topic", SOON);
    assert_eq!(device.get("/health").status, 200);
}

/// The MQTT client reads the first code of a SUBACK without looking whether there is one.
#[test]
fn an_answer_to_a_subscription_without_a_code_ends_the_connection_and_not_the_service() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (ended, endings) = mpsc::channel();
    thread::spawn(move || {
        for _ in 0..3 {
            let (mut proxy, _) = listener.accept().unwrap();
            let [high, low] = subscription(&mut proxy).unwrap();
            proxy.write_all(&[0x90, 2, high, low]).unwrap();
            while proxy.read(&mut [0; 10]).is_ok_and(|length| length > 0) {}
            ended.send(()).unwrap();
        }
    });
    let device = Device::with(|setup| setup.set_raw("mqtt.client.port", port));
    for _ in 0..3 {
        endings.recv_timeout(2 * SOON).unwrap();
        assert!(device.proxy.is_running(), "{}", device.proxy.log());
    }
    device.proxy.wait_for("it sent data that is not MQTT", SOON);
    assert_eq!(device.get("/health").status, 200);
}

/// A message with QoS 0.
fn publish(topic: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = 2 + topic.len() + payload.len();
    let low = u8::try_from(length & 0x7f).unwrap();
    let mut packet = vec![0x30, low | 0x80, u8::try_from(length >> 7).unwrap()];
    packet.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
    packet.extend([topic, payload].concat());
    packet
}

/// A broker that lets the proxy connect and subscribe, and then sends a packet that never ends.
/// When the test says so, it is replaced by the real broker.
struct Hostile {
    port: u16,
    tried: Arc<AtomicUsize>,
    is_well: Arc<AtomicBool>,
}

impl Hostile {
    fn start(real: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tried, is_well) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let started = Self { port, tried: Arc::clone(&tried), is_well: Arc::clone(&is_well) };
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                tried.fetch_add(1, SeqCst);
                if is_well.load(SeqCst) {
                    join(client, TcpStream::connect(real).unwrap());
                } else {
                    // The proxy has gone: that is what the test is about.
                    let _gone = attack(client);
                }
            }
        });
        started
    }
}

/// Lets the proxy connect and subscribe.
fn welcome(client: &mut TcpStream) -> io::Result<()> {
    let [high, low] = subscription(client)?;
    client.write_all(&[0x90, 3, high, low, 1])
}

/// Lets the proxy connect, and returns the identifier of its SUBSCRIBE.
fn subscription(client: &mut TcpStream) -> io::Result<[u8; 2]> {
    let connect = packet(client)?;
    assert_eq!(connect.0, 0x10);
    client.write_all(&[0x20, 2, 0, 0])?;
    // What is left of the connection before may come first.
    let (mut kind, mut body) = packet(client)?;
    while (kind, body.get(2..body.len() - 1)) != (0x82, Some(&b"\0\x09c8y/s/dat"[..])) {
        (kind, body) = packet(client)?;
    }
    Ok([body[0], body[1]])
}

fn attack(mut client: TcpStream) -> io::Result<()> {
    welcome(&mut client)?;
    client.write_all(&[0x30, 0xff, 0xff, 0xff, 0x7f, 0, 9])?;
    client.write_all(b"c8y/s/dat")?;
    loop {
        client.write_all(&[b'x'; 4096])?;
    }
}

/// A short packet: its first byte and what follows its length.
fn packet(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let mut length = usize::from(head[1] & 0x7f);
    if head[1] > 0x7f {
        let mut more = [0];
        stream.read_exact(&mut more)?;
        if more[0] > 0x7f {
            return Err(ErrorKind::InvalidData.into());
        }
        length |= usize::from(more[0]) << 7;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((head[0], body))
}

fn join(client: TcpStream, broker: TcpStream) {
    for (mut from, mut to) in
        [(client.try_clone().unwrap(), broker.try_clone().unwrap()), (broker, client)]
    {
        thread::spawn(move || {
            // If one side has closed, the other side is closed too.
            let _gone = io::copy(&mut from, &mut to);
            let _gone = to.shutdown(Shutdown::Both);
        });
    }
}
