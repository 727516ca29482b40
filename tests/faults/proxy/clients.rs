//! Clients of the proxy that ask for all sorts of things without a pause, whatever happens to the
//! network, and judge each answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use tungstenite::Message;

use super::audit::ECHO;
use super::chance::{Chance, content};
use super::tally::Tally;
use crate::support::answer::Answer;
use crate::support::client;
use crate::support::cloud::body::blocks_digest;
use crate::support::websocket::WebSocket;

/// What an answer of the proxy's own begins with.
const HONEST: &str = "Error communicating with Cumulocity: ";

/// The longest pause between two requests of one client. The machine has others to serve.
const PAUSE: u64 = 200;

/// More than any answer may take: what takes that long will never come.
const PATIENCE: Duration = Duration::from_secs(300);

/// What all clients know.
pub(crate) struct Setting {
    pub(crate) proxy: SocketAddr,
    /// Binaries in the inventory: their paths and lengths.
    pub(crate) binaries: Vec<(String, u64)>,
    pub(crate) tally: Tally,
    pub(crate) over: AtomicBool,
    number: AtomicU64,
}

impl Setting {
    pub(crate) fn new(proxy: SocketAddr, binaries: Vec<(String, u64)>) -> Arc<Self> {
        let (tally, over, number) = (Tally::default(), AtomicBool::new(false), AtomicU64::new(1));
        Arc::new(Self { proxy, binaries, tally, over, number })
    }

    /// Starts so many clients, and as many again at a third with WebSockets.
    pub(crate) fn start(self: &Arc<Self>, count: u64, seed: u64) -> Vec<JoinHandle<()>> {
        let clients = (0..count).map(|client| {
            let (setting, chance) = (Arc::clone(self), Chance::new(seed * 1000 + client));
            thread::spawn(move || Client { setting: &setting, chance, kept: None }.run())
        });
        let sockets = (0..count.div_ceil(3)).map(|client| {
            let (setting, chance) = (Arc::clone(self), Chance::new(seed * 1000 + 500 + client));
            thread::spawn(move || setting.echo(chance))
        });
        clients.chain(sockets).collect()
    }

    fn pause(&self, chance: &mut Chance) {
        thread::sleep(Duration::from_millis(20 + chance.below(PAUSE)));
    }

    fn next(&self) -> u64 {
        self.number.fetch_add(1, Relaxed)
    }

    /// Opens one WebSocket after the other and has messages echoed.
    fn echo(&self, mut chance: Chance) {
        while !self.over.load(Relaxed) {
            self.tally.count(&self.tally.sent);
            match self.open() {
                Ok(mut client) if client.is_open() => {
                    self.tally.count(&self.tally.answered);
                    if self.talk(&mut client, &mut chance).is_err() {
                        self.tally.count(&self.tally.torn);
                    }
                }
                Ok(client) if client.answer.status == 401 => {
                    self.tally.refused();
                }
                Ok(client) if client.answer.status / 10 == 50 => {
                    self.tally.honest("a WebSocket");
                }
                Ok(client) => self.tally.violation(format!("a WebSocket: {:?}", client.answer)),
                Err(error) => self.tally.violation(format!("no answer to a WebSocket: {error}")),
            }
            self.pause(&mut chance);
        }
    }

    fn open(&self) -> io::Result<WebSocket> {
        let number = self.next();
        let client = client::Client::try_connect(self.proxy)?;
        client.set_patience(PATIENCE);
        let start = Instant::now();
        let client = WebSocket::ask(client, &format!("/c8y{ECHO}{number}-0"), "")?;
        self.tally.took(number, start.elapsed());
        Ok(client)
    }

    fn talk(&self, client: &mut WebSocket, chance: &mut Chance) -> tungstenite::Result<()> {
        // A message that is under way when the cable is cut for long may stay there for long.
        client.socket().set_read_timeout(Some(Duration::from_secs(30)))?;
        for _ in 0..1 + chance.below(40) {
            if self.over.load(Relaxed) {
                return Ok(());
            }
            let message = content(chance.below(1 << 40), chance.below(40_000) as usize);
            let message = Message::binary(message);
            client.send(message.clone())?;
            if client.receive()? == message {
                self.tally.count(&self.tally.echoed);
            } else {
                self.tally.violation("a message came back as another".to_owned());
            }
            self.pause(chance);
        }
        Ok(())
    }
}

/// One client, with the connection that it keeps.
struct Client<'a> {
    setting: &'a Setting,
    chance: Chance,
    kept: Option<client::Client>,
}

/// The digest of an answer that has no content, and so cannot break off.
fn nothing() -> Vec<u8> {
    digest(&SHA256, b"").as_ref().to_vec()
}

/// A request, and what a good answer brings.
struct Question {
    number: u64,
    method: &'static str,
    bytes: Vec<u8>,
    digest: Vec<u8>,
}

impl Client<'_> {
    fn run(mut self) {
        while !self.setting.over.load(Relaxed) {
            let question = self.question();
            self.setting.tally.count(&self.setting.tally.sent);
            if self.chance.once_in(30) {
                self.leave(&question);
            } else {
                let start = Instant::now();
                let answer = self.ask(&question);
                self.judge(&question, answer, start.elapsed());
            }
            self.setting.pause(&mut self.chance);
        }
    }

    fn question(&mut self) -> Question {
        let number = self.setting.next();
        let chance = &mut self.chance;
        let (method, length) = match chance.below(12) {
            0..3 => ("GET", 0),
            3..6 => ("POST", chance.below(2000)),
            6 => ("POST", chance.below(64 * 1024)),
            7 => ("POST", 64 * 1024 + 1 + chance.below(400_000)),
            8 => ("PUT", chance.below(100_000)),
            9 => ("DELETE", 0),
            _ => return self.download(number),
        };
        let body = content(number, length as usize);
        let digest = digest(&SHA256, &body).as_ref().to_vec();
        let mut bytes = format!("{method} /c8y{ECHO}{number}-{length} HTTP/1.1\r\nHost: a\r\n");
        let is_chunked = length > 0 && chance.once_in(4);
        if is_chunked {
            bytes.push_str("Transfer-Encoding: chunked\r\n");
        } else if method.starts_with('P') {
            bytes.push_str(&format!("Content-Length: {length}\r\n"));
        }
        bytes.push_str("\r\n");
        let mut bytes = bytes.into_bytes();
        if is_chunked {
            for chunk in body.chunks(10_000) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
        } else {
            bytes.extend(body);
        }
        Question { number, method, bytes, digest }
    }

    fn download(&mut self, number: u64) -> Question {
        let binaries = &self.setting.binaries;
        let (path, length) = &binaries[self.chance.below(binaries.len() as u64) as usize];
        let bytes = format!("GET /c8y{path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        Question { number, method: "GET", bytes, digest: blocks_digest(*length) }
    }

    fn connection(&mut self) -> client::Client {
        let kept = self.kept.take().filter(|_| !self.chance.once_in(5));
        kept.unwrap_or_else(|| {
            let client = client::Client::connect(self.setting.proxy);
            client.set_patience(PATIENCE);
            client.socket().set_write_timeout(Some(PATIENCE)).unwrap();
            client
        })
    }

    fn ask(&mut self, question: &Question) -> io::Result<Answer> {
        let mut client = self.connection();
        // Who is answered early need not send everything.
        let _early = client.send(&question.bytes);
        let answer = client.answer_to(question.method)?;
        let closes = answer.field("connection") == Some("close");
        if answer.broken.is_none() && answer.status == 200 && !closes {
            self.kept = Some(client);
        }
        Ok(answer)
    }

    /// Closes in the middle of the request, or before the answer is read.
    fn leave(&mut self, question: &Question) {
        let mut client = self.connection();
        let some = self.chance.below(question.bytes.len() as u64 + 1) as usize;
        // Nobody waits for the outcome.
        let _left = client.send(&question.bytes[..some]);
        self.setting.pause(&mut self.chance);
        let _left = client.hang_up();
        self.setting.tally.count(&self.setting.tally.left);
    }

    fn judge(&self, question: &Question, answer: io::Result<Answer>, time: Duration) {
        let tally = &self.setting.tally;
        let Question { number, method, .. } = question;
        let answer = match answer {
            Ok(answer) => answer,
            // The cloud had begun to answer, and closed before the proxy had passed any of it on.
            Err(_) if question.digest != nothing() => return tally.count(&tally.torn),
            Err(error) => {
                let length = question.bytes.len();
                let what = format!("no answer to {method} {number} of {length} bytes: {error}");
                return tally.violation(format!("{what}, after {time:?}"));
            }
        };
        // What is slow to load counts only until it comes; the cable is thin at times.
        if answer.broken.is_none() && answer.body.len() < 100_000 && question.bytes.len() < 100_000
        {
            tally.took(*number, time);
        }
        let is_whole = answer.broken.is_none();
        let of_the_cloud = answer.field("server") == Some("nginx");
        match (of_the_cloud, answer.status) {
            (true, 200..300) if !is_whole => tally.count(&tally.torn),
            (true, 200) if answer.digest() == question.digest => tally.count(&tally.answered),
            (true, 401) => tally.refused(),
            (false, 502 | 504) if is_whole && answer.text().starts_with(HONEST) => {
                tally.honest(&answer.text()[HONEST.len()..]);
            }
            _ => tally.violation(format!(
                "{method} {number} of {} bytes was answered by {} {:?} and {} bytes, broken: {:?}: {}",
                question.bytes.len(),
                answer.status,
                answer.fields,
                answer.body.len(),
                answer.broken,
                answer.text().chars().take(200).collect::<String>(),
            )),
        }
    }
}
