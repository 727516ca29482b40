//! A host and a port, parsed once. All other forms are derived here: for a URI, for a look-up, for
//! TLS. Knows no scheme, no setting and no socket.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use rustls_pki_types::{InvalidDnsNameError, ServerName};

/// A host name or an IP address. Displayed as a URI needs it: an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name, in its original case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// Parses a host name or an IP address, an IPv6 address with or without brackets.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = without_brackets(text).parse() {
            return Some(Self::Address(address));
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let is_name = (1..=253).contains(&text.len()) && text.split('.').all(is_label);
        // A mistyped address, such as 256.1.1.1, would be looked up as a name.
        let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
        let is_slip = text.split('.').count() == 4 && text.split('.').all(is_number);
        (is_name && !is_slip).then(|| Self::Name(text.to_owned()))
    }

    /// Parses a name that a certificate can have: a host, or `*.` and a domain.
    pub fn parse_pattern(text: &str) -> Option<Self> {
        let Some(domain) = text.strip_prefix("*.") else { return Self::parse(text) };
        match Self::parse(domain)? {
            Self::Name(domain) => Some(Self::Name(format!("*.{domain}"))),
            Self::Address(_) => None,
        }
    }

    /// Without brackets, for look-ups and lists of names.
    pub fn bare(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Address(address) => address.to_string(),
        }
    }

    /// The name that the peer's certificate must have.
    ///
    /// # Errors
    ///
    /// No certificate can have this name.
    pub fn server_name(&self) -> Result<ServerName<'static>, InvalidDnsNameError> {
        match self {
            Self::Name(name) => ServerName::try_from(name.clone()),
            Self::Address(address) => Ok((*address).into()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// A host and a port. Displayed as `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

impl Origin {
    /// Parses a host with an optional port; before a port, an IPv6 address needs brackets.
    pub fn parse(text: &str, default_port: u16) -> Option<Self> {
        let is_bare_ipv6 = text.parse::<Ipv6Addr>().is_ok();
        match text.rsplit_once(':').filter(|_| !is_bare_ipv6 && !text.ends_with(']')) {
            Some((host, port)) if host.starts_with('[') || !host.contains(':') => {
                let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse().ok().filter(|&port| port != 0 && is_number)?;
                Some(Self { host: Host::parse(host)?, port })
            }
            Some(_) => None,
            None => Some(Self { host: Host::parse(text)?, port: default_port }),
        }
    }

    /// The value of a `Host` field, without the scheme's default port.
    pub fn host_field(&self, default_port: u16) -> String {
        if self.port == default_port { self.host.to_string() } else { self.to_string() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The text without the brackets around it, if any.
pub(crate) fn without_brackets(text: &str) -> &str {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.filter(|inner| inner.contains(':')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_takes_a_port_and_ipv6_takes_brackets() {
        for (text, expected) in [
            ("example.com", Some("example.com:443")),
            ("example.com:8443", Some("example.com:8443")),
            ("192.168.1.6", Some("192.168.1.6:443")),
            ("::1", Some("[::1]:443")),
            ("[::1]", Some("[::1]:443")),
            ("[fe80::1]:8443", Some("[fe80::1]:8443")),
            ("", None),
            (":443", None),
            ("a:b:c", None),
            ("example.com:", None),
            ("example.com:0", None),
            ("example.com:+1", None),
            ("example.com:65536", None),
            ("https://example.com", None),
            ("example.com/", None),
            ("[example.com]:1", None),
            ("[::1]]:1", None),
            ("a..b", None),
        ] {
            let origin = Origin::parse(text, 443).map(|origin| origin.to_string());
            assert_eq!(origin.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_host_field_names_a_port_that_is_not_the_default() {
        for (text, field) in [
            ("a.example.com:443", "a.example.com"),
            ("a.example.com:8443", "a.example.com:8443"),
            ("[::1]:443", "[::1]"),
            ("[::1]:8443", "[::1]:8443"),
        ] {
            assert_eq!(Origin::parse(text, 1).unwrap().host_field(443), field);
        }
    }

    #[test]
    fn names_and_addresses_are_told_apart() {
        let address = |text: &str| Some(Host::Address(text.parse().unwrap()));
        assert_eq!(Host::parse("10.0.0.1"), address("10.0.0.1"));
        assert_eq!(Host::parse("[::1]"), address("::1"));
        assert_eq!(Host::parse("::1").unwrap().bare(), "::1");
        assert_eq!(Host::parse("256.1.1.a"), Some(Host::Name("256.1.1.a".to_owned())));
        for bad in
            ["", "a b", "a..b", "ü.de", "a:80", "http://a", "a,DNS:b", "*.local", "256.1.1.1"]
        {
            assert_eq!(Host::parse(bad), None, "{bad}");
        }
        assert_eq!(Host::parse_pattern("*.local"), Some(Host::Name("*.local".to_owned())));
        assert_eq!(Host::parse_pattern("::1"), address("::1"));
        assert_eq!(Host::parse_pattern("*.10.0.0.1"), None);
    }
}
