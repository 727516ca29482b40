//! Where a client connects to, and how.

use std::fmt;

use crate::net::Origin;
use crate::tls::ClientTls;

/// Where a client connects to, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The certificate must be valid for its host.
    pub origin: Origin,
    /// TLS with this configuration, or plain HTTP.
    pub tls: Option<ClientTls>,
    /// The proxy to tunnel through, by CONNECT. The caller applies `no_proxy`.
    pub proxy: Option<ConnectProxy>,
}

/// An HTTP proxy that opens tunnels (RFC 9110, 9.3.6).
#[derive(Clone)]
pub struct ConnectProxy {
    /// Where it is.
    pub origin: Origin,
    /// TLS to the proxy itself with this configuration, or plain HTTP.
    pub tls: Option<ClientTls>,
    /// User and password, for `Proxy-Authorization: Basic`.
    pub credentials: Option<(String, String)>,
}

impl fmt::Debug for ConnectProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectProxy({})", self.origin)
    }
}
