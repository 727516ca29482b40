//! A crowd that holds all places does not make other clients wait for long: as many as the limit,
//! two and five times as many, from one address and from many.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::certificates::Key;
use crate::support::client::{Client, ask, connect_from, tls};
use crate::support::service::{SOON, Service};
use crate::{Secured, Setup, bytes, put, put_head, request, start};

/// Places for connections.
const PLACES: usize = 16;
/// How long somebody new may wait.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where the crowd comes from; whoever behaves comes from 127.0.0.1.
const ONE: &[u8] = &[66];
const MANY: &[u8] = &[60, 61, 62, 63, 64, 65, 66];

fn small(configure: impl FnOnce(&mut Setup)) -> Service {
    let service = start(|setup| {
        setup.set_own("http.connections.max", PLACES);
        configure(setup);
    });
    prepare(&service);
    service
}

fn prepare(service: &Service) {
    let mut client = Client::connect(service.address);
    assert_eq!(client.exchange(put("small", "content")).status, 201);
    assert_eq!(client.exchange(put("large", bytes(20_000_000, 83))).status, 201);
}

/// What a member of the crowd does each 100 ms. An error means that its connection was closed; it
/// then connects again.
#[derive(Clone, Copy, Debug)]
enum Attack {
    /// Sends a byte of an upload.
    DripBody,
    /// Reads a byte of a download.
    DripReader,
    /// Sends a byte of a head.
    DripHead,
    /// Says nothing.
    Silent,
    /// Begins a handshake.
    Handshake,
    /// Reads so much that nobody can call it slow.
    Reader,
}

impl Attack {
    fn open(self, host: u8, to: SocketAddr) -> std::io::Result<TcpStream> {
        let buffer = if let Self::Reader = self { 100_000 } else { 4096 };
        let mut stream = connect_from(host, to, buffer);
        stream.set_nonblocking(true)?;
        let first = match self {
            Self::DripBody => put_head(&format!("evil-{host}"), 1_000_000, ""),
            Self::DripReader | Self::Reader => request("GET", "large"),
            Self::DripHead => "GET / HTTP/1.1\r\nX: ".to_owned(),
            Self::Silent => String::new(),
            Self::Handshake => "\u{16}\u{3}\u{1}\u{2}".to_owned(),
        };
        stream.write_all(first.as_bytes())?;
        Ok(stream)
    }

    fn go_on(self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut buffer = [0; 20_000];
        let done = match self {
            Self::DripBody | Self::DripHead => stream.write(b"x"),
            Self::DripReader => stream.read(&mut buffer[..1]),
            Self::Reader => stream.read(&mut buffer),
            Self::Silent | Self::Handshake => stream.peek(&mut buffer),
        };
        match done {
            Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

/// So many clients that hold their connections, and connect again when they are closed.
struct Crowd {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    fn gather(service: &Service, attack: Attack, count: usize, hosts: &'static [u8]) -> Self {
        let (stop, to) = (Arc::new(AtomicBool::new(false)), service.address);
        let is_over = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut all: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
            while !is_over.load(Relaxed) {
                for (index, one) in all.iter_mut().enumerate() {
                    let host = hosts[index % hosts.len()];
                    if one.as_mut().is_none_or(|stream| attack.go_on(stream).is_err()) {
                        *one = attack.open(host, to).ok();
                    }
                }
                thread::sleep(Duration::from_millis(100));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

/// Waits until the crowd has all the places; then somebody new asks, again and again.
#[track_caller]
fn assert_somebody_new_is_answered(service: &Service, what: &str) {
    thread::sleep(Duration::from_millis(500));
    for round in 0..3 {
        let begun = Instant::now();
        let answer = ask(service.address, request("GET", "small"));
        let took = begun.elapsed();
        let answer = answer.unwrap_or_else(|error| panic!("{what}, round {round}: {error}"));
        assert_eq!(answer.text(), "content", "{what}, round {round}");
        assert!(took <= PATIENCE, "{what}, round {round}: {took:?}");
    }
}

#[track_caller]
fn withstand(attack: Attack) {
    for (times, hosts) in [(1, ONE), (2, MANY), (5, ONE), (5, MANY)] {
        let service = small(|_| {});
        let crowd = Crowd::gather(&service, attack, times * PLACES, hosts);
        let what = format!("{attack:?}, {times} times, from {} addresses", hosts.len());
        assert_somebody_new_is_answered(&service, &what);
        drop(crowd);
    }
}

#[test]
fn bodies_that_drip_keep_nobody_waiting() {
    withstand(Attack::DripBody);
}

#[test]
fn readers_that_drip_keep_nobody_waiting() {
    withstand(Attack::DripReader);
}

#[test]
fn heads_silence_and_handshakes_keep_nobody_waiting() {
    for attack in [Attack::DripHead, Attack::Silent, Attack::Handshake] {
        withstand(attack);
    }
}

#[test]
fn addresses_with_many_connections_keep_nobody_waiting_however_much_they_move() {
    for (times, hosts) in [(1, ONE), (2, ONE), (2, MANY), (5, ONE), (5, MANY)] {
        let service = small(|_| {});
        let crowd = Crowd::gather(&service, Attack::Reader, times * PLACES, hosts);
        let what = format!("{times} times, from {} addresses", hosts.len());
        assert_somebody_new_is_answered(&service, &what);
        // One that this busy machine did not let read for a while may have been closed as slow.
        let log = service.wait_for("a connection was closed for another client: ", SOON);
        assert!(log.contains("127.0.0.6"), "{log}");
        drop(crowd);
    }
}

#[test]
fn few_places_keep_nobody_waiting_longer() {
    for hosts in [ONE, MANY] {
        let service = small(|setup| setup.set_own("http.connections.max", 4));
        let crowd = Crowd::gather(&service, Attack::DripBody, 400, hosts);
        let what = format!("four places, from {} addresses", hosts.len());
        assert_somebody_new_is_answered(&service, &what);
        drop(crowd);
        let service = small(|setup| setup.wrap(&["prlimit", "--nofile=64:64"]));
        let crowd = Crowd::gather(&service, Attack::DripBody, 400, hosts);
        let what = format!("64 descriptors, from {} addresses", hosts.len());
        assert_somebody_new_is_answered(&service, &what);
        drop(crowd);
    }
}

/// Waits until the next of two pieces a second is due. What a busy machine holds up is made up for.
fn keep_pace(begun: Instant, pieces: u32) {
    let next = begun + Duration::from_millis(500) * pieces;
    thread::sleep(next.saturating_duration_since(Instant::now()));
}

#[test]
fn a_slow_neighbour_finishes_and_somebody_new_is_answered_beside_a_crowd() {
    for hosts in [ONE, MANY] {
        let service = small(|_| {});
        let address = service.address;
        // A modem: 2 KB a second, up and down, for longer than anybody who drips is kept.
        let upload = thread::spawn(move || {
            let mut client = Client::connect(address);
            let content = bytes(24_000, 89);
            client.send(put_head("slow", 24_000, "")).unwrap();
            let begun = Instant::now();
            for (piece, number) in content.chunks(1000).zip(1..) {
                client.send(piece).unwrap();
                keep_pace(begun, number);
            }
            client.answer().status
        });
        let download = thread::spawn(move || {
            let mut stream = connect_from(1, address, 4096);
            stream.write_all(request("GET", "large").as_bytes()).unwrap();
            let (mut piece, begun) = ([0; 1000], Instant::now());
            for number in 1..=24 {
                stream.read_exact(&mut piece)?;
                keep_pace(begun, number);
            }
            std::io::Result::Ok(())
        });
        thread::sleep(Duration::from_millis(300));
        let crowd = Crowd::gather(&service, Attack::DripBody, 2 * PLACES, hosts);
        assert_somebody_new_is_answered(&service, "beside a modem");
        assert_eq!(upload.join().unwrap(), 201);
        download.join().unwrap().unwrap();
        drop(crowd);
    }
}

#[test]
fn who_is_cut_is_told_so_and_the_log_too() {
    let service = small(|_| {});
    let mut uploads: Vec<_> = (0..PLACES)
        .map(|number| {
            let mut client = Client::over(connect_from(66, service.address, 4096));
            client.send(put_head(&format!("{number}"), 1_000_000, "")).unwrap();
            client
        })
        .collect();
    thread::sleep(Duration::from_millis(200));
    let waiting: Vec<_> = (0..PLACES).map(|_| Client::connect(service.address)).collect();
    for upload in &mut uploads {
        upload.set_patience(Duration::from_secs(10));
        assert_eq!(upload.answer().status, 408);
        assert_eq!(upload.rest().unwrap(), b"");
    }
    let why = "this one transfers less than 500 bytes a second";
    let log = service.wait_for(why, SOON);
    assert_eq!(log.matches(why).count(), 1, "{log}");
    drop(waiting);

    // An answer that is cut ends with a reset, so that it does not look complete.
    let mut downloads: Vec<_> = (0..PLACES)
        .map(|_| {
            let mut stream = connect_from(66, service.address, 4096);
            stream.write_all(request("GET", "large").as_bytes()).unwrap();
            stream
        })
        .collect();
    thread::sleep(Duration::from_millis(200));
    assert_somebody_new_is_answered(&service, "beside downloads");
    let is_reset = |download: &mut TcpStream| {
        download.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let ended = std::io::copy(download, &mut std::io::sink());
        ended.unwrap_err().kind() == std::io::ErrorKind::ConnectionReset
    };
    assert!(downloads.iter_mut().any(is_reset));
}

#[test]
fn a_certificate_counts_like_an_address() {
    let secured = Secured::start(|setup, authority| {
        setup.set_own("http.connections.max", PLACES);
        setup.set("http.ca_path", &authority.cert);
    });
    let client = |name| {
        let pair = secured.authority.client(name, Key::P256);
        let config = tls(&secured.authority.cert, Some(&pair));
        move |host| {
            let socket = connect_from(host, secured.service.address, 4096);
            Client::secure(socket, &config)
        }
    };
    let (greedy, modest) = (client("greedy"), client("modest"));
    let mut first = modest(1).unwrap();
    assert_eq!(first.exchange(put("large", bytes(20_000_000, 97))).status, 201);
    first.hang_up().unwrap();
    // From an address of its own each, but all with one certificate, and reading all the time.
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..PLACES {
            let (greedy, stop) = (&greedy, &stop);
            scope.spawn(move || {
                let Ok(mut client) = greedy(100 + number as u8) else { return };
                let _ = client.send(request("GET", "large"));
                while !stop.load(Relaxed) && client.skip(20_000).is_ok() {
                    thread::sleep(Duration::from_millis(100));
                }
            });
        }
        thread::sleep(Duration::from_millis(700));
        let begun = Instant::now();
        let status = modest(1).map(|mut client| client.exchange(request("GET", "none")).status);
        stop.store(true, Relaxed);
        assert_eq!(status.unwrap(), 404);
        assert!(begun.elapsed() <= PATIENCE, "{:?}", begun.elapsed());
    });
}
