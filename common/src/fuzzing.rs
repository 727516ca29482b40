//! The properties that must hold for any input: those of the fuzz targets (`tests/fuzz`), and their
//! corpus as a test. Not part of a shipped program.

#![allow(clippy::unwrap_used, reason = "this is all test code")]
#![allow(clippy::disallowed_methods, reason = "tests have no executor to stall")]

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use event_listener::Event;

use crate::http::Routes;
use crate::net::{Host, Polled};
use crate::server::places::Places;
use crate::server::state::ConnectionState;
use crate::server::{BrowserRules, Server, connection};

#[path = "../../tests/fuzz/properties/certificates.rs"]
pub mod certificates;
#[path = "../../tests/fuzz/properties/environment.rs"]
pub mod environment;
#[path = "../../tests/fuzz/properties/patch.rs"]
pub mod patch;
#[path = "../../tests/fuzz/properties/settings.rs"]
pub mod settings;

/// Serves one stream without TLS, as one that was accepted, until it is closed. Panics come out.
pub async fn serve(routes: Routes, stream: TcpStream) {
    let places = Arc::new(Places::new(16));
    let host = Host::parse("service").unwrap();
    let browsers = BrowserRules::new("http", &host, &["*".to_owned()], &[]);
    let changed = Event::new();
    let (access, tls) = (None, None);
    let server = Server { routes, browsers, access, tls, half_close: true, places, changed };
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let stream = Arc::new(Polled::new(stream).unwrap());
    connection::serve(stream, peer, &Arc::new(server), &Arc::new(ConnectionState::new())).await;
}

#[cfg(test)]
#[path = "../../tests/fuzz/properties/corpus.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    use super::{certificates, corpus, environment, patch, settings};

    #[test]
    fn every_input_that_is_kept_is_handled_rightly() {
        corpus::check_all("certificates", certificates::check);
        corpus::check_all("environment", environment::check);
        corpus::check_all("settings", settings::check);
        corpus::check_all("patch", patch::check);
    }
}
