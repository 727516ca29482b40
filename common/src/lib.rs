//! What both services are made of. Read it in the order in which a request passes:
//!
//! 1. [`run`] is a service's life: arguments, [`settings`], bind, ready, serve, drain, exit code.
//! 2. [`listener`] accepts, and makes room when there are too many connections.
//! 3. [`connection`] is one of them: first byte, TLS ([`tls`]), then HTTP until it is closed.
//! 4. [`http`] hands each request from hyper to tide and the answer back.
//! 5. [`respond`] is the one place where an error becomes a response and a log line.
//! 6. [`client`] is the way out: surf's `HttpClient` over hyper.
//!
//! Beside the path of a request stand [`error`] (what fails, and the exit code), [`staged`] (root's
//! files, readable for the service) and [`cli`] (the `tedge` command). Nothing here names a service, a route or a cloud, outside
//! [`settings`] and [`cli`].

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
mod regular;
pub mod run;
pub mod server;
pub mod settings;
pub mod staging;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod x509;
