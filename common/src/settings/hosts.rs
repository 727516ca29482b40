//! The types of settings that name hosts: which texts each type accepts, and what they become.
//! Knows neither keys nor where a text came from.

use std::borrow::Cow;
use std::net::IpAddr;

use super::setting::{Shape, ValueType};
use super::types::{Secret, items, value_type};
use crate::net::{Host, Origin, without_brackets};

value_type!(IpAddr => Self, "IP address", "an IP address, such as 127.0.0.1 or ::", Shape::Text, |text| {
    without_brackets(text).parse().ok()
}, |address: Self| address.to_string());
value_type!(Host => Self, "host", "a host name or an IP address", Shape::Text, Self::parse);

value_type!(
    /// Host names in lower case: `*.example.com` for all names below a domain, `*` for any name.
    HostPatterns = Vec<String>,
    "list",
    "host names, such as panel.example.com or *.example.com",
    Shape::List,
    |text| {
        let pattern = |item: &str| match item {
            "*" => Some(item.to_owned()),
            _ => Some(Host::parse_pattern(item)?.bare().to_ascii_lowercase()),
        };
        items(text).map(pattern).collect()
    }
);
value_type!(
    /// Origins of web pages, as browsers send them: `https://panel.example.com`.
    WebOrigins = Vec<String>,
    "list",
    "full origins, such as https://panel.example.com",
    Shape::List,
    |text| {
        let origin = |item: &str| {
            let item = item.to_ascii_lowercase();
            let (scheme, rest) = item.split_once("://")?;
            let default = match scheme {
                "http" => 80,
                "https" => 443,
                _ => return None,
            };
            let origin = Origin::parse(rest.strip_suffix('/').unwrap_or(rest), default)?;
            Some(format!("{scheme}://{}", origin.host_field(default)))
        };
        items(text).map(origin).collect()
    }
);

/// A host with a port, by default `PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort<const PORT: u16>(pub Origin);

value_type!(
    /// The address of a tenant. thin-edge.io reads it only without a port.
    Tenant = HostPort<443>,
    "host[:port]", "a host without https://, and a port if it is not 443", Shape::Text,
    HostPort::<443>::parse
);
value_type!(HostPort<443> => Self,
    "host[:port]", "a host without https://, and a port if it is not 443", Shape::Text,
    |text| Origin::parse(text, 443).map(Self),
    |at: Self| at.0.to_string()
);
value_type!(HostPort<18000> => Self,
    "host[:port]", "a host without http://, and a port if it is not 18000", Shape::Text,
    |text| Origin::parse(text, 18000).map(Self)
);
value_type!(HostPort<8443> => Self,
    "host[:port]", "a host without https://, and a port if it is not 8443", Shape::Text,
    |text| Origin::parse(text, 8443).map(Self)
);
value_type!(HostPort<8883> => Self,
    "host[:port]", "a host without a scheme, and a port if it is not 8883", Shape::Text,
    |text| Origin::parse(text, 8883).map(Self),
    |at: Self| at.0.to_string()
);

/// An HTTP CONNECT proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its host and port.
    pub origin: Origin,
    /// Whether it is reached by TLS.
    pub has_tls: bool,
    /// User name and password, percent-encoded as they were written.
    pub login: Option<(String, Secret)>,
}

impl ValueType for Proxy {
    type Value = Self;

    const NAME: &'static str = "http(s)://host:port";
    const EXPECTED: &'static str =
        "http://host:port, https://host:port or http://user:password@host:port";
    const SHAPE: Shape = Shape::Text;

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (has_tls, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return None,
        };
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(l, rest)| (Some(l), rest));
        let login = login.map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            (user.to_owned(), Secret(password.to_owned()))
        });
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        Some(Self { origin: Origin::parse(host, default_port)?, has_tls, login })
    }

    fn shown(text: &str) -> Cow<'_, str> {
        let scheme = ["http://", "https://"].into_iter().find(|scheme| text.starts_with(scheme));
        let start = scheme.map_or(0, str::len);
        match text.rfind('@').and_then(|end| Some((text.get(start..end)?.split_once(':')?.0, end)))
        {
            Some((user, end)) => format!("{}{user}:…{}", &text[..start], &text[end..]).into(),
            None if text.contains('@') => text.into(),
            None => without_a_password(text, start),
        }
    }

    fn canonical(text: &str) -> Cow<'_, str> {
        match Self::parse(text) {
            Some(Self { origin, has_tls, login: None }) => {
                format!("{}://{origin}", if has_tls { "https" } else { "http" }).into()
            }
            _ => text.into(),
        }
    }
}

/// If the host is missing, a password can be in the place of the port.
fn without_a_password(text: &str, start: usize) -> Cow<'_, str> {
    let scheme = |end: &usize| text[..*end].chars().all(|letter| letter.is_ascii_alphanumeric());
    let start = text.find("://").filter(scheme).map_or(start, |end| end + "://".len());
    // The colons of an IPv6 address are in brackets.
    let host = if text[start..].starts_with('[') { text[start..].find(']') } else { Some(0) };
    let host = start + host.unwrap_or_default();
    let Some(colon) = text[host..].find(':').map(|colon| host + colon) else { return text.into() };
    let port = text[colon + 1..].split(['/', '?', '#']).next().unwrap_or_default();
    if port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.into();
    }
    format!("{}:…", &text[..colon]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_has_that_of_its_setting() {
        assert_eq!(HostPort::<443>::parse("h").unwrap().0.to_string(), "h:443");
        assert_eq!(HostPort::<18000>::parse("h").unwrap().0.to_string(), "h:18000");
        assert_eq!(HostPort::<8883>::parse("h").unwrap().0.to_string(), "h:8883");
    }

    #[test]
    fn a_proxy_is_reached_by_http_with_or_without_tls() {
        for (text, origin, has_tls) in [
            ("http://[::1]:3128/", "[::1]:3128", false),
            ("https://example.com:8080", "example.com:8080", true),
            ("HTTPS://Example.com", "Example.com:443", true),
            ("http://a:b@proxy", "proxy:80", false),
            ("proxy:3128", "proxy:3128", false),
            (" http://proxy:1/path?query ", "proxy:1", false),
        ] {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!((proxy.origin.to_string().as_str(), proxy.has_tls), (origin, has_tls));
        }
        for text in ["socks5://proxy:1080", "ftp://proxy", "http://", "https://:8080"] {
            assert_eq!(Proxy::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        for (text, shown) in [
            ("http://a:b@h:1/", "http://a:…@h:1/"),
            ("https://:b:c@d@h", "https://:…@h"),
            ("a://b@h", "a:…@h"),
            ("http://h:1", "http://h:1"),
            ("http://a@h:1", "http://a@h:1"),
            ("socks5://h:1080/x", "socks5://h:1080/x"),
            ("http://[::1]:80", "http://[::1]:80"),
            ("http://a:b", "http://a:…"),
            ("a:b", "a:…"),
            ("HTTP://a:b/c", "HTTP://a:…"),
            ("http://a:123456", "http://a:…"),
            ("http://[a:b", "http://[a:…"),
            ("a:b://c", "a:…"),
        ] {
            assert_eq!(Proxy::shown(text), shown);
        }
        assert_eq!(Option::<Secret>::shown("a"), "…");
        let read = format!("{:?}", Proxy::parse("http://a:b%40c@h"));
        assert!(read.contains("\"a\"") && !read.contains("b%40c"), "{read}");
    }

    #[test]
    fn origins_of_pages_are_written_as_browsers_send_them() {
        let parse = |text| WebOrigins::parse(text).map(|origins| origins.join(" "));
        let read = "HTTPS://Panel.example.com:443/, http://[::1]:8080";
        assert_eq!(parse(read).unwrap(), "https://panel.example.com http://[::1]:8080");
        for bad in ["panel.example.com", "null", "*", "ftp://a", "https://a/b", "https://"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_of_hosts_may_be_patterns() {
        let parse = |text| HostPatterns::parse(text).map(|hosts| hosts.join(" "));
        assert_eq!(parse("A.example, *.b.example, *").unwrap(), "a.example *.b.example *");
        for bad in ["a:8000", "https://a", "a*", "*.*"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_may_stand_in_brackets() {
        assert_eq!(IpAddr::parse("[::]"), IpAddr::parse("::"));
        assert_eq!(IpAddr::parse("localhost"), None);
    }
}
