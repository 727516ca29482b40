//! The code that both services share: a server, a client, and the modules below them. Read it in
//! the order in which a request passes:
//!
//! 1. [`run`] is a service's life: arguments, [`settings`], bind, ready, serve, drain, exit code.
//! 2. [`server`] accepts, limits the connections, and serves each connection until it is closed.
//! 3. [`http`] passes each request to the routes of the service, and returns the answer.
//! 4. [`client`] sends requests to an upstream server: surf's `HttpClient` over hyper.
//! 5. [`storage`] has the disk pool, temporary files and reads for the files of both services.
//! 6. [`net`] has the sockets, streams, clock and origins that server and client share.
//!
//! [`tls`] builds rustls configurations from files, with [`x509`] and [`staging`] (copies of root's
//! files). [`access`] checks the access rules. [`journal`] is the log, [`cli`] the `tedge`
//! command. Only [`settings`] and [`cli`] contain the name of a service, route or cloud.
//! `tests/architecture.rs` checks the order in which modules may import each other.
//!
//! # Glossary
//!
//! - **place**: the right to one of the `connections.max` connections that are open at a time.
//! - **connection state**: phase, progress and deadlines of a connection, readable by other tasks.
//! - **phase**: what a connection is doing: silent, idle, head, exchange, linger, upgraded.
//! - **exchange**: one request and its answer. **Head**: its first line and its fields.
//! - **stream**: the bytes of a connection, plain or TLS. **Socket**: the TCP socket below it.
//! - **routes**: how a service answers: its tide application, prefixes, express answers.
//! - **express answer**: an answer that needs no waiting, given without tide.
//! - **refusal**: an answer given before any route, or the reason for it. **Linger**: to read on
//!   after the last answer.
//! - **turn**: the right of an upload to receive. **Park**: to take an exchange out of hyper.
//! - **upgrade**: the use of a connection after `101 Switching Protocols`.
//! - **origin**: a host and a port. **Upstream**: the server that a client connects to.
//! - **link**: a client's connection during one exchange. **Pool**: the links that are idle.
//! - **shared fetch**: one fetch whose result many tasks wait for, such as a look-up.
//! - **token source**: the server that gives the device's token: the broker, or the cloud itself.
//! - **disk pool**: the threads for disk calls that can stall.
//! - **setting**: a key with type, default and meaning. **Layer**: where its value comes from.
//! - **patch**: a change to one value in the text of a TOML file.
//! - **walk**: to open a path one part at a time, and to check who could have changed each part.
//! - **staging**: root copies files for a service (*hand over*), the service *finds* the copies.
//! - **original**: a file that a setting names, in contrast to its copy.
//! - **prepare**: to create the user and the directories of a service before it starts.
//! - **identity**: a certificate, its chain and its key. **Admission**: which clients may connect.
//! - **rule**: it allows some clients some methods on some paths, which are its *patterns*.
//! - **list**: a certificate revocation list. **Authority**: a CA certificate that is trusted.

pub mod access;
pub mod cli;
pub mod client;
mod crypto;
pub mod error;
mod escape;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod journal;
pub mod net;
mod regular_file;
pub mod run;
pub mod server;
pub mod settings;
pub mod staging;
pub mod storage;
pub mod tasks;
#[cfg(test)]
mod testing;
pub mod tls;
mod walk;
pub mod x509;
