//! Peers that are slow, greedy or hostile, as many of each as one small machine can run. They pause
//! now and then: the service is tried, not the processor.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::scene::{LARGE, SMALL, Scene};
use crate::{FILES, put_head, request};

/// What one kind of peer does until it is told to stop, and how often it has done so.
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) is_tls: bool,
    pub(super) run: fn(&Scene, &Activity),
}

#[derive(Default)]
pub(super) struct Activity {
    pub(super) stop: AtomicBool,
    pub(super) count: AtomicU64,
}

const fn plain(name: &'static str, run: fn(&Scene, &Activity)) -> Attack {
    Attack { name, is_tls: false, run }
}

const fn over_tls(name: &'static str, run: fn(&Scene, &Activity)) -> Attack {
    Attack { name, is_tls: true, run }
}

pub(super) const ATTACKS: [Attack; 16] = [
    plain("slow heads", |scene, activity| {
        Swarm { hello: "GET / HTTP/1.1\r\nX: ".into(), more: "a".into(), ..CALM }
            .run(scene, activity);
    }),
    plain("slow bodies", |scene, activity| {
        let hello = put_head("slow", 1 << 30, "");
        Swarm { hello: hello.into(), more: "x".into(), ..CALM }.run(scene, activity);
    }),
    plain("slow readers", |scene, activity| {
        Swarm { hello: request("GET", LARGE).into(), reads: 100, ..CALM }.run(scene, activity);
    }),
    plain("connects", |scene, activity| {
        storm(activity, Duration::from_micros(200), || TcpStream::connect(scene.service.address));
    }),
    plain("resets", |scene, activity| {
        storm(activity, Duration::from_millis(1), || {
            let mut socket = TcpStream::connect(scene.service.address)?;
            socket.write_all(&request("GET", SMALL).as_bytes()[..20])?;
            reset(&socket)
        });
    }),
    plain("huge heads", |scene, activity| {
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(100_000));
        storm(activity, Duration::from_millis(5), || {
            let mut socket = TcpStream::connect(scene.service.address)?;
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            // It is refused before it is whole.
            let _ = socket.write_all(head.as_bytes());
            socket.read(&mut [0; 1000])
        });
    }),
    plain("endless chunks", |scene, activity| {
        let more = "1\r\nx\r\n".repeat(30);
        Swarm { hello: chunked(), more: more.into(), ..CALM }.run(scene, activity);
    }),
    plain("chunk extensions", |scene, activity| {
        let more = format!("1;{}\r\nx\r\n", "a".repeat(4000));
        Swarm { hello: chunked(), more: more.into(), ..CALM }.run(scene, activity);
    }),
    plain("several ranges", |scene, activity| {
        let ranges: String = (0..2000).map(|number| format!(",{number}-{number}")).collect();
        let line = format!("Range: bytes=0-0{ranges}\r\n\r\n");
        let hello = request("GET", LARGE).replace("\r\n\r\n", &format!("\r\n{line}"));
        Swarm { hello: hello.repeat(5).into(), reads: 100, ..CALM }.run(scene, activity);
    }),
    plain("single ranges", |scene, activity| {
        let range = "\r\nRange: bytes=-1\r\n\r\n";
        let more = request("GET", LARGE).replace("\r\n\r\n", range).repeat(3);
        Swarm { hello: more.clone().into(), more: more.into(), size: 30, ..CALM }
            .run(scene, activity);
    }),
    plain("pipelined requests, no answer read", |scene, activity| {
        // Twelve thousand a second in all; more would measure the machine.
        let [hello, more] = [100, 10].map(|count| request("GET", SMALL).repeat(count).into());
        Swarm { hello, more, reads: 1, ..CALM }.run(scene, activity);
    }),
    plain("more connections than there is room for", |scene, activity| {
        let pause = Duration::from_millis(500);
        Swarm { hello: request("GET", SMALL).into(), size: 400, pause, ..CALM }
            .run(scene, activity);
    }),
    over_tls("half-open handshakes", |scene, activity| {
        let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
        Swarm { hello, more: b"A".to_vec(), ..CALM }.run(scene, activity);
    }),
    over_tls("handshakes, then a reset", |scene, activity| {
        storm(activity, Duration::from_millis(20), || {
            scene.connect()?.reset();
            io::Result::Ok(())
        });
    }),
    over_tls("new keys again and again", new_keys),
    over_tls("renegotiations", |scene, activity| {
        let address = scene.service.address.to_string();
        storm(activity, Duration::from_millis(100), || {
            let mut client = Command::new("openssl")
                .args(["s_client", "-tls1_2", "-connect", &address])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            // "R" on a line asks for a new handshake.
            let _ = client.stdin.take().map(|mut stdin| stdin.write_all(b"R\nR\nQ\n"));
            client.wait()
        });
    }),
];

/// The same, as the authors of slowhttptest see it; where that is installed.
pub(super) const SLOWHTTPTEST: [Attack; 4] = [
    plain("slowhttptest, slow heads", |scene, activity| slowhttptest(scene, activity, &["-H"])),
    plain("slowhttptest, slow bodies", |scene, activity| {
        slowhttptest(scene, activity, &["-B", "-t", "PUT", "-s", "100000"]);
    }),
    plain("slowhttptest, ranges", |scene, activity| slowhttptest(scene, activity, &["-R"])),
    plain("slowhttptest, slow readers", |scene, activity| {
        slowhttptest(scene, activity, &["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "32"]);
    }),
];

fn slowhttptest(scene: &Scene, activity: &Activity, how: &[&str]) {
    let url = scene.service.url(&format!("{FILES}/{LARGE}"));
    let Ok(mut program) = Command::new("slowhttptest")
        .args(how)
        .args(["-c", "60", "-r", "60", "-l", "60", "-i", "1", "-u", &url])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
    else {
        return;
    };
    activity.count.fetch_add(60, Relaxed);
    while !activity.stop.load(Relaxed) {
        thread::sleep(Duration::from_millis(20));
    }
    let _ended = program.kill();
    let _ended = program.wait();
}

fn chunked() -> Vec<u8> {
    let head = put_head("slow", 0, "");
    head.replace("Content-Length: 0", "Transfer-Encoding: chunked").into()
}

/// Connections that are held, and replaced when they are closed.
struct Swarm {
    size: usize,
    /// What each sends first, and what after each pause.
    hello: Vec<u8>,
    more: Vec<u8>,
    /// How much is read at most, each time.
    reads: usize,
    pause: Duration,
}

/// Fewer than there are places, none of them in a hurry.
const CALM: Swarm = Swarm {
    size: 60,
    hello: Vec::new(),
    more: Vec::new(),
    reads: 64 * 1024,
    pause: Duration::from_millis(50),
};

impl Swarm {
    fn run(&self, scene: &Scene, activity: &Activity) {
        let mut open: Vec<(TcpStream, usize)> = Vec::new();
        let mut buffer = vec![0; self.reads];
        while !activity.stop.load(Relaxed) {
            open.retain_mut(|(socket, said)| self.go_on(socket, said, &mut buffer));
            while open.len() < self.size && !activity.stop.load(Relaxed) {
                let Ok(socket) = TcpStream::connect(scene.service.address) else { break };
                let _ = socket.set_nonblocking(true);
                activity.count.fetch_add(1, Relaxed);
                open.push((socket, 0));
            }
            thread::sleep(self.pause);
        }
    }

    /// False where the service has closed it.
    fn go_on(&self, socket: &mut TcpStream, said: &mut usize, buffer: &mut [u8]) -> bool {
        let next = if *said < self.hello.len() { &self.hello[*said..] } else { &self.more };
        match socket.write(next) {
            Ok(count) => *said = said.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        match socket.read(buffer) {
            Ok(count) => count > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// Repeats one act; it may be refused.
fn storm<T>(activity: &Activity, pause: Duration, mut act: impl FnMut() -> io::Result<T>) {
    while !activity.stop.load(Relaxed) {
        drop(act());
        activity.count.fetch_add(1, Relaxed);
        thread::sleep(pause);
    }
}

fn reset(socket: &TcpStream) -> io::Result<()> {
    let linger = Some(Duration::ZERO);
    rustix::net::sockopt::set_socket_linger(socket, linger).map_err(io::Error::from)
}

/// TLS 1.3's successor of renegotiation (RFC 8446, 4.6.3): each request for a new key costs the
/// server a key and an answer.
fn new_keys(scene: &Scene, activity: &Activity) {
    let config = scene.tls.as_ref().unwrap();
    while !activity.stop.load(Relaxed) {
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
        let Ok(mut socket) = TcpStream::connect(scene.service.address) else { continue };
        let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
        if session.complete_io(&mut socket).is_err() {
            continue;
        }
        let _ = socket.set_nonblocking(true);
        while !activity.stop.load(Relaxed) {
            let asked = (0..20).all(|_| session.refresh_traffic_keys().is_ok());
            let head = format!("GET {FILES}/{SMALL} HTTP/1.1\r\n");
            let _ = session.writer().write_all(head.as_bytes());
            activity.count.fetch_add(20, Relaxed);
            thread::sleep(Duration::from_millis(10));
            let sent = session.write_tls(&mut socket);
            let is_open = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
            if !asked || sent.as_ref().is_err_and(|error| !is_open(error)) {
                break;
            }
            match session.read_tls(&mut socket) {
                Ok(0) => break,
                Err(error) if !is_open(&error) => break,
                _ if session.process_new_packets().is_err() => break,
                _ => {}
            }
        }
    }
}
