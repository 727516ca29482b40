//! A name server with one name that can fail, deny or keep silent (RFC 1035).

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

/// The name that it knows.
pub(crate) const NAME: &str = "cloud.example";

/// How it answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// The address.
    Answers,
    /// SERVFAIL.
    Fails,
    /// NXDOMAIN.
    Denies,
    /// Nothing.
    Silent,
}

/// A running name server; its thread ends with the process.
pub(crate) struct Names(Arc<Mutex<Mood>>);

impl Names {
    /// Answers with this address whoever asks on these sockets.
    pub(crate) fn serve(sockets: [UdpSocket; 2], address: Ipv4Addr) -> Self {
        let mood = Arc::new(Mutex::new(Mood::Answers));
        for socket in sockets {
            let shared = Arc::clone(&mood);
            thread::spawn(move || {
                let mut question = [0; 512];
                while let Ok((length, peer)) = socket.recv_from(&mut question) {
                    let mood = *shared.lock().unwrap();
                    if let Some(answer) = answer(&question[..length], mood, address) {
                        // A cable that is unplugged takes no answer.
                        let _lost = socket.send_to(&answer, peer);
                    }
                }
            });
        }
        Self(mood)
    }

    /// Answers in this way from now on.
    pub(crate) fn turn(&self, mood: Mood) {
        *self.0.lock().unwrap() = mood;
    }
}

fn answer(question: &[u8], mood: Mood, address: Ipv4Addr) -> Option<Vec<u8>> {
    // The first question, and nothing else, after the head of 12 bytes.
    let end = 12 + question.get(12..)?.iter().position(|byte| *byte == 0)? + 5;
    let asked = question.get(12..end)?;
    let mut known = Vec::new();
    for label in NAME.split('.') {
        known.push(label.len() as u8);
        known.extend(label.bytes());
    }
    known.push(0);
    let is_known = asked[..asked.len() - 4].eq_ignore_ascii_case(&known);
    let is_address = asked[asked.len() - 4..] == [0, 1, 0, 1];
    let (code, count) = match mood {
        Mood::Silent => return None,
        Mood::Fails => (2, 0),
        Mood::Denies => (3, 0),
        Mood::Answers if !is_known => (3, 0),
        Mood::Answers => (0, u8::from(is_address)),
    };
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(asked);
    if count == 1 {
        // For a second: each new connection asks anew, as musl and glibc without a cache do.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
