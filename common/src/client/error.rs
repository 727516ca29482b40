//! Why a request got no answer, as a message for a person, and whether it may have been sent.

use std::error::Error as StdError;
use std::sync::Arc;
use std::{fmt, io};

use crate::error::chain;
use crate::tls::explain_io;

/// No answer, or no connection.
///
/// Its `Display` is the cause in words.
#[derive(Debug)]
pub enum Error {
    /// The name could not be resolved.
    Resolve {
        /// The name.
        host: String,
        /// The resolver's error, shared by all who wait for this look-up.
        source: Arc<io::Error>,
    },
    /// No address of the host accepts a connection.
    Connect {
        /// `host:port`.
        to: String,
        /// The error of the address that was tried last.
        source: io::Error,
    },
    /// We or the peer refused TLS. The peer may refuse even after the handshake.
    Tls {
        /// `host:port`.
        to: String,
        /// The error of rustls.
        source: io::Error,
    },
    /// The proxy refuses to open a tunnel.
    Proxy {
        /// `host:port` of the proxy.
        proxy: String,
        /// Its answer.
        reason: String,
    },
    /// A time limit has passed.
    Timeout {
        /// `host:port`.
        to: String,
        /// Which limit.
        step: Step,
    },
    /// The connection ended before there was an answer, or the answer is not HTTP.
    Broken {
        /// `host:port`.
        to: String,
        /// How it failed.
        reason: String,
        /// Whether any of the request may have reached upstream.
        sent: bool,
    },
    /// The end of the answer's body, or its coding, is not clear.
    Framing {
        /// `host:port`.
        to: String,
        /// What is wrong with the header fields.
        fault: String,
    },
    /// The body of the request could not be read to its end, which is not upstream's fault.
    RequestBody(hyper::Error),
    /// The surf request was not made by [`super::send`], or not sent with this client.
    NotCarried,
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look-up of the name and connection, 10 s.
    Connect,
    /// The proxy's answer to CONNECT, 10 s.
    Proxy,
    /// The TLS handshake, 10 s.
    Handshake,
    /// The answer: upstream accepted no data for 60 s, or answers no keep-alive probe.
    Answer,
    /// The rest of the answer: upstream answers no keep-alive probe.
    Body,
}

impl Error {
    /// Whether this is a `504 Gateway Timeout` rather than a `502 Bad Gateway`.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// Whether any byte of the request may have reached upstream.
    pub fn was_sent(&self) -> bool {
        match self {
            Self::Timeout { step, .. } => matches!(step, Step::Answer | Step::Body),
            Self::Broken { sent, .. } => *sent,
            Self::RequestBody(_) | Self::Framing { .. } => true,
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, source } => write!(f, "cannot resolve {host}: {source}"),
            Self::Connect { to, source } => write!(f, "cannot connect to {to}: {source}"),
            Self::Tls { to, source } => write!(f, "TLS with {to} failed: {}", explain_io(source)),
            Self::Proxy { proxy, reason } => {
                write!(f, "the proxy {proxy} did not open a tunnel: {reason}")
            }
            Self::Timeout { to, step } => write!(f, "{to} took too long to {step}"),
            Self::Broken { to, reason, .. } => {
                write!(f, "the connection to {to} was interrupted: {reason}")
            }
            Self::Framing { to, fault } => {
                write!(f, "the answer of {to} cannot be passed on: {fault}")
            }
            Self::RequestBody(error) => {
                let cause = error.source().unwrap_or(error);
                write!(f, "the request's body was interrupted: {}", chain(cause))
            }
            Self::NotCarried => f.write_str("the request was not made for this client"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Proxy => "open a tunnel",
            Self::Handshake => "complete the TLS handshake",
            Self::Answer => "answer",
            Self::Body => "send the rest of the answer",
        })
    }
}

// The messages above include their causes, so `source` returns none.
impl StdError for Error {}
