//! What hostile peers do with a connection, and where they come from.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
use rustls::ClientConfig;

use super::LIMIT;
use crate::support::certificates::{Authority, Key};
use crate::support::client::{Client, tls};
use crate::support::service::Service;
use crate::{bytes, prepare, put, put_head, request};

/// One kind of hostile peer.
pub(super) struct Kind {
    pub(super) name: &'static str,
    level: Level,
    from: From,
    /// What a peer does with a connection, until that is closed or all is over.
    pub(super) hold: fn(&mut Client, &AtomicBool) -> io::Result<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Plain,
    /// Peers that never finish a handshake.
    Tls,
    /// Each peer has the certificate of its address.
    Mutual,
}

/// Where peers come from.
#[derive(Clone, Copy)]
enum From {
    OneAddress,
    /// Each from one of so many.
    Addresses(usize),
    /// So many certificates, each from as many addresses as there are peers.
    Certificates(usize),
}

use self::From::{Addresses, Certificates, OneAddress};

pub(super) const KINDS: [Kind; 11] = [
    Kind { name: "silence", level: Level::Plain, from: Addresses(50), hold: say_nothing },
    Kind { name: "dripping heads", level: Level::Plain, from: Addresses(50), hold: drip_head },
    Kind { name: "dripping bodies", level: Level::Plain, from: OneAddress, hold: drip_body },
    Kind {
        name: "dripping bodies of many",
        level: Level::Plain,
        from: Addresses(50),
        hold: drip_body,
    },
    Kind { name: "slow bodies", level: Level::Plain, from: OneAddress, hold: slow_body },
    Kind { name: "slow bodies of some", level: Level::Plain, from: Addresses(5), hold: slow_body },
    Kind { name: "dripping readers", level: Level::Plain, from: OneAddress, hold: drip_answer },
    Kind {
        name: "dripping readers of many",
        level: Level::Plain,
        from: Addresses(50),
        hold: drip_answer,
    },
    Kind { name: "handshakes", level: Level::Tls, from: Addresses(50), hold: drip_handshake },
    Kind {
        name: "bodies of one certificate",
        level: Level::Mutual,
        from: Certificates(1),
        hold: slow_body,
    },
    Kind {
        name: "dripping bodies of certificates",
        level: Level::Mutual,
        from: Certificates(3),
        hold: drip_body,
    },
];

/// Does `act` every second until it fails or all is over.
fn every_second(stop: &AtomicBool, mut act: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    while !stop.load(Relaxed) {
        act()?;
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(100));
            if stop.load(Relaxed) {
                break;
            }
        }
    }
    Ok(())
}

/// Sends these bytes every second, until the service answers or closes.
fn drip(client: &mut Client, stop: &AtomicBool, bytes: &[u8]) -> io::Result<()> {
    every_second(stop, || {
        if client.has_news() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        client.send(bytes)
    })
}

fn say_nothing(client: &mut Client, stop: &AtomicBool) -> io::Result<()> {
    drip(client, stop, b"")
}

fn drip_head(client: &mut Client, stop: &AtomicBool) -> io::Result<()> {
    client.send("GET / HTTP/1.1\r\nX: ")?;
    drip(client, stop, b"a")
}

fn drip_body(client: &mut Client, stop: &AtomicBool) -> io::Result<()> {
    client.send(put_head("slow", 1 << 30, ""))?;
    drip(client, stop, b"x")
}

/// Not slow enough to be cut for that alone.
fn slow_body(client: &mut Client, stop: &AtomicBool) -> io::Result<()> {
    client.send(put_head("slow", 1 << 30, ""))?;
    drip(client, stop, &[b'x'; 1000])
}

fn drip_answer(client: &mut Client, stop: &AtomicBool) -> io::Result<()> {
    client.send(request("GET", "large"))?;
    every_second(stop, || match client.skip(100)? {
        100 => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    })
}

fn drip_handshake(client: &mut Client, stop: &AtomicBool) -> io::Result<()> {
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")?;
    drip(client, stop, b"A")
}

/// A service with few places, and what its clients need.
pub(super) struct Scene {
    pub(super) service: Service,
    /// How the honest speak TLS to it, where they do; behind it how the hostile do.
    honest: Option<Arc<ClientConfig>>,
    hostile: Vec<Arc<ClientConfig>>,
}

impl Scene {
    pub(super) fn start(program: &Path, kind: &Kind, places: usize) -> Self {
        let (mut honest, mut hostile) = (None, Vec::new());
        let service = Service::start(program.to_str().unwrap(), |setup| {
            prepare(setup);
            setup.set_own("http.connections.max", places);
            if kind.level == Level::Plain {
                return;
            }
            let authority = Authority::new(setup.directory(), "ca");
            let pair = authority.server("server", Key::P256);
            setup.set("http.cert_path", pair.cert);
            setup.set("http.key_path", pair.key);
            honest = Some(tls(&authority.cert, None));
            if let Certificates(count) = kind.from {
                setup.set("http.ca_path", &authority.cert);
                honest = Some(tls(&authority.cert, Some(&authority.client("honest", Key::P256))));
                let names = (0..count).map(|number| format!("hostile-{number}"));
                let pairs = names.map(|name| authority.client(&name, Key::P256));
                hostile = pairs.map(|pair| tls(&authority.cert, Some(&pair))).collect();
            }
        });
        let scene = Self { service, honest, hostile };
        for (name, length) in [("small", 1000), ("large", 20_000_000)] {
            let mut client = scene.connect_from(Ipv4Addr::LOCALHOST).unwrap();
            assert_eq!(client.exchange(put(name, bytes(length, 71))).status, 201);
        }
        scene
    }

    /// A connection of somebody honest.
    pub(super) fn connect_from(&self, from: Ipv4Addr) -> io::Result<Client> {
        let socket = self.dial(from)?;
        let client = match &self.honest {
            None => Client::over(socket),
            Some(config) => Client::secure(socket, config)?,
        };
        client.set_patience(4 * LIMIT);
        Ok(client)
    }

    /// A connection of a hostile peer.
    pub(super) fn connect(&self, kind: &Kind, number: usize) -> io::Result<Client> {
        let address = match kind.from {
            OneAddress => 1,
            Addresses(count) => number % count,
            Certificates(_) => number,
        };
        let socket = self.dial(Ipv4Addr::new(127, 1, 0, 1 + (address % 250) as u8))?;
        match kind.level {
            Level::Plain | Level::Tls => Ok(Client::over(socket)),
            Level::Mutual => Client::secure(socket, &self.hostile[number % self.hostile.len()]),
        }
    }

    fn dial(&self, from: Ipv4Addr) -> io::Result<TcpStream> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        // Little is under way to a reader who is slow.
        sockopt::set_socket_recv_buffer_size(&socket, 4096)?;
        bind(&socket, &SocketAddr::from((from, 0)))?;
        connect(&socket, &self.service.address)?;
        let socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(4 * LIMIT))?;
        socket.set_write_timeout(Some(4 * LIMIT))?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }
}
