//! The HTTP proxy for connections to Cumulocity: from the settings or, if they have none, from the
//! environment, which is read as reqwest does for thin-edge.io. It opens no socket.

use std::net::IpAddr;

use common::client::ConnectProxy;
use common::net::{Host, Origin};
use common::settings::{Proxy, Secret, Settings, ValueType, items};
use common::tls::ClientTls;
use percent_encoding::percent_decode_str;

/// The proxy, if there is one, and the hosts that are reached without it.
pub(super) struct HttpProxy {
    proxy: Option<Proxy>,
    credentials: Option<(String, String)>,
    no_proxy: Vec<String>,
    /// The entries that could not be parsed and are not used.
    pub(super) warnings: Vec<String>,
}

impl HttpProxy {
    /// The proxy of the settings. Values that they lack come from the environment.
    pub(super) fn of(settings: &Settings) -> Self {
        let login = settings.proxy_username.clone().map(|user| {
            let password = settings.proxy_password.as_ref().map(Secret::reveal).unwrap_or_default();
            (user, password.to_owned())
        });
        let address = settings.proxy_address.clone();
        let environment = |name: &str| std::env::var(name).ok();
        Self::choose(address, login, &settings.proxy_no_proxy, environment)
    }

    fn choose(
        address: Option<Proxy>,
        login: Option<(String, String)>,
        no_proxy: &[String],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Self {
        // The user name and password of the settings are only for the proxy of the settings.
        let login = login.filter(|_| address.is_some());
        let mut warnings = Vec::new();
        let mut variables = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter();
        let proxy = address.or_else(|| {
            variables.find_map(|name| {
                let text = environment(name).filter(|text| !text.is_empty())?;
                let proxy = Proxy::parse(&text);
                if proxy.is_none() {
                    let (shown, expected) = (Proxy::shown(&text), Proxy::EXPECTED);
                    warnings.push(format!("{name} is not used: '{shown}' is not {expected}"));
                }
                proxy
            })
        });
        let (source, list) = if no_proxy.is_empty() {
            ("NO_PROXY", ["NO_PROXY", "no_proxy"].into_iter().find_map(environment))
        } else {
            ("proxy.no_proxy", Some(no_proxy.join(",")))
        };
        // The list is separated by commas and blanks.
        let entries = items(list.as_deref().unwrap_or_default()).flat_map(str::split_whitespace);
        let no_proxy: Vec<String> = entries.map(str::to_owned).collect();
        for entry in no_proxy.iter().filter(|_| proxy.is_some()) {
            if Exception::parse(entry, 0).is_none() {
                let fault = "is not a host, a network or *, and is ignored";
                warnings.push(format!("{source}: '{entry}' {fault}"));
            }
        }
        // Those in the address are used if there are no others.
        let credentials = login.or_else(|| {
            let (user, password) = proxy.as_ref()?.login.as_ref()?;
            let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
            Some((decoded(user), decoded(password.reveal())))
        });
        Self { proxy, credentials, no_proxy, warnings }
    }

    /// The proxy for this target. TLS to the proxy uses the same roots as TLS to the target.
    pub(super) fn to(&self, target: &Origin, tls: &ClientTls) -> Option<ConnectProxy> {
        let proxy = self.proxy.as_ref().filter(|_| !self.is_reached_directly(target))?;
        Some(ConnectProxy {
            origin: proxy.origin.clone(),
            tls: proxy.has_tls.then(|| tls.clone()),
            credentials: self.credentials.clone(),
        })
    }

    fn is_reached_directly(&self, target: &Origin) -> bool {
        let mut entries = self.no_proxy.iter();
        entries.any(|entry| {
            Exception::parse(entry, target.port).is_some_and(|exception| exception.is_for(target))
        })
    }
}

/// Hosts that are reached without the proxy.
enum Exception {
    All,
    /// An address, or a name and all names below it.
    Host(Origin),
    /// The addresses that share so many leading bits with this one.
    Network(IpAddr, u32),
}

impl Exception {
    /// Parses an entry. If it names no port, it is for `port`.
    fn parse(entry: &str, port: u16) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        if let Some((network, length)) = entry.split_once('/') {
            let (network, length): (IpAddr, u32) = (network.parse().ok()?, length.parse().ok()?);
            let bits = if network.is_ipv4() { 32 } else { 128 };
            return (length <= bits).then_some(Self::Network(network, length));
        }
        let domain = entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')).unwrap_or(entry);
        Origin::parse(domain.trim_end_matches('.'), port).map(Self::Host)
    }

    fn is_for(&self, target: &Origin) -> bool {
        match (self, &target.host) {
            (Self::All, _) => true,
            (Self::Host(named), host) if named.port == target.port => match (&named.host, host) {
                (Host::Address(named), Host::Address(address)) => named == address,
                (Host::Name(domain), Host::Name(name)) => is_below(name, domain),
                _ => false,
            },
            (Self::Network(network, length), Host::Address(address)) => {
                share_bits(*network, *address, *length)
            }
            _ => false,
        }
    }
}

/// Whether the name is the domain or below it.
fn is_below(name: &str, domain: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let rest = name.strip_suffix(&domain.to_ascii_lowercase());
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn share_bits(network: IpAddr, address: IpAddr, length: u32) -> bool {
    let (difference, bits) = match (network, address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => ((one.to_bits() ^ other.to_bits()).into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits(), 128),
        _ => return false,
    };
    u128::checked_shr(difference, bits - length).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(address: &str, no_proxy: &str, environment: &[(&str, &str)]) -> HttpProxy {
        let no_proxy: Vec<_> = items(no_proxy).map(str::to_owned).collect();
        HttpProxy::choose(Proxy::parse(address), None, &no_proxy, |name| {
            let found = environment.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn hosts_domains_addresses_and_networks_are_reached_without_the_proxy() {
        for (target, entries, is_direct) in [
            ("a.example.com", "a.example.com", true),
            ("A.example.com", "a.Example.com", true),
            ("a.example.com", "example.com", true),
            ("a.example.com", ".example.com", true),
            ("a.example.com", "*.example.com", true),
            ("example.com", ".example.com", true),
            ("a.example.com", "example.com.", true),
            ("a.example.com", "*", true),
            ("::1", "*", true),
            ("anexample.com", "example.com", false),
            ("a.example.com", "b.example.com", false),
            ("a.example.com", "*example.com", false),
            ("a.example.com", "com.", true),
            // Lists.
            ("a.example.com", "b.example.com,a.example.com", true),
            ("a.example.com", " b.example.com , a.example.com ", true),
            ("a.example.com", "b.example.com a.example.com", true),
            ("a.example.com", "b.example.com\ta.example.com", true),
            ("a.example.com", ",,", false),
            // Ports.
            ("a.example.com", "a.example.com:443", true),
            ("a.example.com", "example.com:443", true),
            ("a.example.com", "a.example.com:8443", false),
            ("a.example.com:8443", "a.example.com:8443", true),
            ("a.example.com:8443", "a.example.com", true),
            ("[::1]:8443", "[::1]:8443", true),
            ("[::1]:8443", "[::1]:443", false),
            // Addresses and networks.
            ("::1", "[::1]", true),
            ("::1", "0:0::1", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.30", false),
            ("10.1.2.3", "2.3", false),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("10.1.2.3", "10.9.9.9/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "10.1.2.2/31", true),
            ("10.1.2.3", "10.1.2.0/31", false),
            ("10.1.2.3", "10.1.2.3/32", true),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "::/0", false),
            ("10.1.2.3", "10.1.2.3/33", false),
            ("fd00::1", "fd00::/8", true),
            ("fe80::1", "fd00::/8", false),
            ("fe80::1", "::/0", true),
            ("fd00::1", "fd00::1/128", true),
            ("fd00::1", "fd00::2/128", false),
            ("a.example.com", "10.0.0.0/8", false),
        ] {
            let proxy = with("http://p:1", entries, &[]);
            let target = Origin::parse(target, 443).unwrap();
            assert_eq!(proxy.is_reached_directly(&target), is_direct, "{target} {entries:?}");
            let from_environment = with("", "", &[("HTTPS_PROXY", "p:1"), ("NO_PROXY", entries)]);
            assert_eq!(from_environment.is_reached_directly(&target), is_direct, "{entries:?}");
        }
    }

    #[test]
    fn what_names_no_host_is_a_warning() {
        for entry in ["http://a", "10.0.0.0/33", "10.0.0.0/8/8", "a/8", "**", "a:b", "a..b"] {
            let proxy = with("p:1", &format!("b,{entry}"), &[]);
            let [warning] = &proxy.warnings[..] else { panic!("{entry}: {:?}", proxy.warnings) };
            assert!(warning.contains("proxy.no_proxy") && warning.contains(entry), "{warning}");
        }
    }

    #[test]
    fn the_environment_counts_where_nothing_is_set() {
        let found = |address, environment: &[(&str, &str)]| {
            let found = with(address, "", environment);
            (found.proxy.map(|proxy| proxy.origin.to_string()), found.warnings)
        };
        let is = |origin: &str| (Some(origin.to_owned()), Vec::new());
        let all = [("all_proxy", "d:1"), ("ALL_PROXY", "c:1"), ("https_proxy", "b:1")];
        assert_eq!(found("", &[]), (None, Vec::new()));
        assert_eq!(found("", &all[..1]), is("d:1"));
        assert_eq!(found("", &all[..2]), is("c:1"));
        assert_eq!(found("", &all), is("b:1"));
        assert_eq!(found("", &[("HTTPS_PROXY", "https://a"), all[2]]), is("a:443"));
        assert_eq!(found("", &[("HTTPS_PROXY", ""), all[2]]), is("b:1"));
        assert_eq!(found("http://x:2", &all), is("x:2"));
        assert_eq!(found("", &[("HTTP_PROXY", "x:1"), ("http_proxy", "x:1")]).0, None);
        let (proxy, warnings) = found("", &[("HTTPS_PROXY", "socks5://u:secret@p:1"), all[1]]);
        assert_eq!(proxy.unwrap(), "c:1");
        assert!(warnings[0].contains("HTTPS_PROXY is not used"), "{warnings:?}");
        assert!(!warnings[0].contains("secret"), "{warnings:?}");
    }

    #[test]
    fn name_and_password_are_those_of_the_settings_or_of_the_address() {
        let own = Some(("me".to_owned(), "mine".to_owned()));
        let credentials = |address: &str, login, variable: &str| {
            let environment = |name: &str| (name == "HTTPS_PROXY").then(|| variable.to_owned());
            let proxy = HttpProxy::choose(Proxy::parse(address), login, &[], environment);
            proxy.credentials.map(|(user, password)| format!("{user} {password}"))
        };
        for (address, login, variable, expected) in [
            ("http://a:b%40%3A@p:1", None, "", Some("a b@:")),
            ("http://a:b@p:1", own.clone(), "", Some("me mine")),
            ("http://p:1", own.clone(), "", Some("me mine")),
            ("", own, "http://a:b@p:1", Some("a b")),
            ("http://p:1", None, "http://a:b@p:1", None),
        ] {
            assert_eq!(credentials(address, login, variable).as_deref(), expected, "{address}");
        }
    }
}
