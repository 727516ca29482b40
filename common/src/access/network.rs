//! IP networks: `192.168.1.0/24`, or one address.

use std::net::IpAddr;

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    pub(super) const EXPECTED: &str = "expected an IP address or a network, such as 192.168.1.0/24 (not \
         192.168.1.7/24 or ::ffff:192.168.1.7)";

    /// Parses an address, or an address, a slash and a number of bits (CIDR, RFC 4632).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|_| bits.bytes().all(|b| b.is_ascii_digit()))?,
            None => most,
        };
        let network = Self { address, bits };
        // Clients are compared by the IPv4 address, so this network would contain nobody.
        let is_mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        // 192.168.1.7/24 could mean the host or its network.
        (bits <= most && network.masked(address) == address && !is_mapped).then_some(network)
    }

    /// Whether the network contains the address. An IPv4 address may be written as IPv6,
    /// `::ffff:…`.
    pub(super) fn holds(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && self.masked(address) == self.address
    }

    fn masked(self, address: IpAddr) -> IpAddr {
        let bits = u32::from(self.bits);
        match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or_default();
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or_default();
                IpAddr::V6((v6.to_bits() & mask).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_addresses_that_begin_with_its_bits() {
        for (network, address, is_held) in [
            ("127.0.0.0/8", "127.255.0.1", true),
            ("127.0.0.0/8", "128.0.0.1", false),
            ("127.0.0.0/8", "::ffff:127.0.0.1", true),
            ("192.168.1.6", "192.168.1.6", true),
            ("192.168.1.6/32", "192.168.1.7", false),
            ("192.168.1.6/31", "192.168.1.7", true),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("::/0", "203.0.113.1", false),
            ("fe80::/10", "febf::1", true),
            ("fe80::/10", "fec0::1", false),
            ("2001:db8::1", "2001:db8::1", true),
        ] {
            let held = Network::parse(network).unwrap().holds(address.parse().unwrap());
            assert_eq!(held, is_held, "{network} {address}");
        }
    }

    #[test]
    fn is_written_without_bits_behind_its_length() {
        for bad in [
            "",
            "/8",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/255.0.0.0",
            "10.0/8",
            "localhost",
            "::1/129",
            "::1/127",
            "[::1]",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.0/104",
            "::ffff:0:0/96",
            "*",
            "10.0.0.0/256",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
