//! Answers that a test writes byte by byte, for what a correct cloud never does: it answers too
//! early, slowly, only in part, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::body;
use super::connection::{Connection, Ended};

/// What to do with one request, in order.
#[derive(Clone, Default)]
pub(crate) struct Script {
    steps: Vec<Step>,
    pub(super) open: bool,
    pub(super) once: bool,
}

#[derive(Clone)]
enum Step {
    Read,
    Send(Vec<u8>),
    SendBlocks(u64),
    SendChunks(u64),
    Pause(Duration),
    Wait(Gate),
    Hold,
    Break,
    Close,
}

/// Something that an answer waits for, opened by the test.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<AtomicBool>);

impl Gate {
    /// Opens it, for the answers that wait and for later ones.
    pub(crate) fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was opened.
    pub(super) fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Script {
    /// Nothing yet: the token is checked, then the connection waits for the next request.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// An answer with a length, after the request was read.
    pub(crate) fn answer(head: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
        Self::new().read().send(head).send(body)
    }

    /// Answers whoever asks, with or without a token.
    pub(crate) fn without_a_token(mut self) -> Self {
        self.open = true;
        self
    }

    /// Only for the next request.
    pub(crate) fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Reads the body of the request.
    pub(crate) fn read(self) -> Self {
        self.then(Step::Read)
    }

    /// Sends these bytes as they are: the status line and fields are among them.
    pub(crate) fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Sends that many bytes of the content that [`body::blocks`] makes.
    pub(crate) fn send_blocks(self, length: u64) -> Self {
        self.then(Step::SendBlocks(length))
    }

    /// Sends the same in chunks, and the last chunk.
    pub(crate) fn send_chunks(self, length: u64) -> Self {
        self.then(Step::SendChunks(length))
    }

    /// Waits that long.
    pub(crate) fn pause(self, time: Duration) -> Self {
        self.then(Step::Pause(time))
    }

    /// Waits until the test opens the gate.
    pub(crate) fn wait(self, gate: &Gate) -> Self {
        self.then(Step::Wait(gate.clone()))
    }

    /// Waits until the client has gone.
    pub(crate) fn hold(self) -> Self {
        self.then(Step::Hold)
    }

    /// Ends the TCP connection without ending TLS.
    pub(crate) fn break_off(self) -> Self {
        self.then(Step::Break)
    }

    /// Ends TLS, then the connection, as one should.
    pub(crate) fn close(self) -> Self {
        self.then(Step::Close)
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    pub(super) fn run(&self, connection: &mut Connection) -> Result<(), Ended> {
        for step in &self.steps {
            match step {
                Step::Read => connection.read_body()?,
                Step::Send(bytes) => connection.send(bytes)?,
                Step::SendBlocks(length) => {
                    for block in body::blocks(*length) {
                        connection.send(&block)?;
                    }
                }
                Step::SendChunks(length) => {
                    for block in body::blocks(*length) {
                        connection.send(format!("{:x}\r\n", block.len()).as_bytes())?;
                        connection.send(&block)?;
                        connection.send(b"\r\n")?;
                    }
                    connection.send(b"0\r\n\r\n")?;
                }
                Step::Pause(time) => connection.pause(*time, || false)?,
                Step::Wait(gate) => {
                    connection.pause(Duration::from_secs(600), || gate.is_open())?;
                }
                Step::Hold => {
                    connection.pause(Duration::from_secs(600), || false)?;
                }
                Step::Break => return Err(Ended::Broken),
                Step::Close => return Err(Ended::Closed),
            }
        }
        Ok(())
    }
}
