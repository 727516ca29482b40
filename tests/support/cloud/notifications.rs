//! The cloud's WebSockets: Notifications 2.0, and a microservice that echoes.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use tungstenite::Message;

use super::body::Content;
use super::connection::{Connection, Ended};

/// The consumers that are connected.
#[derive(Default)]
pub(super) struct Subscribers(Mutex<Vec<Sender<String>>>);

impl Subscribers {
    /// Tells everybody who is connected.
    pub(super) fn publish(&self, message: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.send(message.to_owned()).is_ok());
    }

    fn join(&self) -> Receiver<String> {
        let (sender, receiver) = channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }
}

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked(connection: &Connection) -> bool {
    let upgrade = connection.request.field("upgrade");
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
}

/// Sends back each message as it came, in the first subprotocol that was offered. A client's frame
/// that is not masked is an error (RFC 6455, 5.1): somebody has touched it.
pub(super) fn echo(connection: &mut Connection) -> Result<(), Ended> {
    open(connection)?;
    let mut frames = connection.frames();
    loop {
        let message = frames.next(Duration::from_secs(1))?;
        // Pings and the closing handshake are answered as the next message is waited for.
        if let Some(message @ (Message::Text(_) | Message::Binary(_))) = message {
            frames.send(message)?;
        }
    }
}

/// Sends notifications to a consumer whose token, in the query, was made here.
pub(super) fn consume(connection: &mut Connection) -> Result<(), Ended> {
    let query = String::from_utf8_lossy(connection.request.query().unwrap_or_default());
    let token = query.split('&').find_map(|pair| pair.strip_prefix("token="));
    if !token.is_some_and(|token| connection.cloud.tokens.accepts(token)) {
        let text = r#"{"error":"notification2/Unauthorized","message":"Invalid token"}"#;
        let body = Content::from(text.as_bytes());
        return connection.answer("403 Forbidden", &[("Content-Type", "application/json")], &body);
    }
    let messages = connection.cloud.subscribers.join();
    open(connection)?;
    let mut frames = connection.frames();
    loop {
        for message in messages.try_iter() {
            frames.send(Message::text(message))?;
        }
        // An acknowledgement, or nothing; what was sent is not sent again here.
        frames.next(Duration::from_millis(10))?;
    }
}

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
pub(crate) fn accept(key: &[u8]) -> String {
    let text = [key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text))
}

fn open(connection: &mut Connection) -> Result<(), Ended> {
    let key = connection.request.field("sec-websocket-key").unwrap_or_default();
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        accept(key)
    );
    if let Some(offered) = connection.request.field("sec-websocket-protocol") {
        let first = offered.split(|byte| *byte == b',').next().unwrap_or_default();
        let first = String::from_utf8_lossy(first.trim_ascii());
        head.push_str(&format!("Sec-WebSocket-Protocol: {first}\r\n"));
    }
    head.push_str("\r\n");
    connection.send(head.as_bytes())
}
