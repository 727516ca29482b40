//! A stand-in for Cumulocity: it notes what it is asked, and answers as it is told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request, as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

impl Seen {
    pub(super) fn field(&self, name: &str) -> Option<&[u8]> {
        let found = self.fields.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_slice())
    }

    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

/// A server on loopback, gone with the process.
#[derive(Clone)]
pub(super) struct Upstream {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<VecDeque<Vec<u8>>>>,
}

impl Upstream {
    /// Gives these answers in order, then 200. One that does not end its message closes.
    pub(super) fn new(answers: &[&[u8]]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self {
            port: listener.local_addr().unwrap().port(),
            seen: Arc::default(),
            answers: Arc::new(Mutex::new(answers.iter().map(|answer| answer.to_vec()).collect())),
        };
        let serving = upstream.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream.unwrap()));
            }
        });
        upstream
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// One request a connection: what comes next never depends on how this one ended.
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        let Some(seen) = read(&mut reader) else { return };
        self.seen.lock().unwrap().push(seen);
        let answer = self.answers.lock().unwrap().pop_front();
        let answer = answer.unwrap_or_else(|| OK.to_vec());
        // The proxy may have gone; then there is nobody to tell.
        let _ = reader.get_mut().write_all(&answer);
    }
}

pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";

pub(super) const UNAUTHORIZED: &[u8] =
    b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";

fn read(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let line = String::from_utf8(read_line(reader)?).unwrap();
    let mut fields = Vec::new();
    loop {
        let field = read_line(reader)?;
        if field.is_empty() {
            break;
        }
        let colon = field.iter().position(|byte| *byte == b':').unwrap();
        let name = String::from_utf8(field[..colon].to_ascii_lowercase()).unwrap();
        fields.push((name, field[colon + 1..].trim_ascii().to_vec()));
    }
    let mut seen = Seen { line, fields, body: Vec::new() };
    if let Some(length) = seen.field("content-length") {
        seen.body = vec![0; std::str::from_utf8(length).unwrap().parse().unwrap()];
        reader.read_exact(&mut seen.body).ok()?;
    } else if seen.field("transfer-encoding").is_some() {
        loop {
            let length = String::from_utf8(read_line(reader)?).unwrap();
            let mut chunk = vec![0; usize::from_str_radix(&length, 16).unwrap()];
            reader.read_exact(&mut chunk).ok()?;
            read_line(reader)?;
            if chunk.is_empty() {
                break;
            }
            seen.body.extend(chunk);
        }
    }
    Some(seen)
}

fn read_line(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    Some(line.strip_suffix(b"\r\n")?.to_vec())
}
