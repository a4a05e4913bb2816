//! Networks of addresses: a first address and the length of its prefix, as `10.0.0.0/8`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network, or one address as a network of one. IPv4 addresses inside IPv6 ones count as themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpNetwork {
    first: IpAddr,
    prefix: u8,
}

/// Text that is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network: write its first address and its prefix, as in 10.0.0.0/8")]
pub struct InvalidNetwork(String);

impl IpNetwork {
    /// Returns the network of one address.
    pub fn of(address: IpAddr) -> Self {
        let first = address.to_canonical();
        Self {
            first,
            prefix: bits(first),
        }
    }

    /// Returns the only address of the network, if it has one.
    pub fn single(self) -> Option<IpAddr> {
        (self.prefix == bits(self.first)).then_some(self.first)
    }

    /// Returns whether the network has an address.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix));
                first.to_bits() == address.to_bits() & mask.unwrap_or(0)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix));
                first.to_bits() == address.to_bits() & mask.unwrap_or(0)
            }
            _ => false,
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl FromStr for IpNetwork {
    type Err = InvalidNetwork;

    /// Parses a network. Bits beyond the prefix are an error, since the author may have meant one address.
    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let bad = || InvalidNetwork(text.chars().take(80).collect());
        let (first, prefix) = text.split_once('/').ok_or_else(bad)?;
        let first: IpAddr = first.parse().map_err(|_| bad())?;
        let is_plain = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix: u8 = prefix.parse().ok().filter(|_| is_plain).ok_or_else(bad)?;
        let network = Self { first, prefix };
        // An IPv4-mapped network would contain nothing, since addresses are compared in their IPv4 form.
        let is_valid = prefix <= bits(first) && first.to_canonical() == first;
        if !is_valid || !network.contains(first) {
            return Err(bad());
        }
        Ok(network)
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl TryFrom<String> for IpNetwork {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, InvalidNetwork> {
        text.parse()
    }
}

impl From<IpNetwork> for String {
    fn from(network: IpNetwork) -> String {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses_in_every_form() {
        let contains = |network: &str, address: &str| {
            let network: IpNetwork = network.parse().unwrap();
            network.contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.0"));
        assert!(!contains("10.0.0.0/8", "::a00:1"));
        assert!(contains("0.0.0.0/0", "255.0.0.1"));
        assert!(!contains("0.0.0.0/0", "2a00::1"));
        assert!(contains("fd00::/8", "fd12::1"));
        assert!(contains("192.0.2.1/32", "192.0.2.1"));
        assert!(!contains("192.0.2.1/32", "192.0.2.2"));
    }

    #[test]
    fn invalid_networks_are_rejected() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "::ffff:10.0.0.0/104",
            "fd00::/129",
            "a/8",
            "/8",
        ] {
            assert!(text.parse::<IpNetwork>().is_err(), "{text}");
        }
    }
}
