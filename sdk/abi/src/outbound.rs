//! Targets of outbound connections, as `app.json` lists and an operator grants them.
//!
//! A target is `*`, a URL of a host and a port (`https://api.example.com`, `tcp://db.example.com:5432`), or a network
//! (`10.0.0.0/8`). The module knows their spelling, and the endpoints that they cover; which of them an app may reach
//! is the host's decision.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ip_network::{InvalidNetwork, IpNetwork};

/// Maximum bytes of a target's text: a host name of 253 bytes with scheme and port.
const MAX_LENGTH: usize = 300;

/// Maximum number of targets of one list.
pub const MAX_TARGETS: usize = 256;

/// Transport protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// The targets that apps may reach beside those that an operator has granted to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutboundDefault {
    /// Public addresses: those that the app's list covers, or all if it has no list.
    #[default]
    Public,
    /// Public addresses that the app's list covers.
    Listed,
    /// None.
    Granted,
}

/// An operator's decisions about the connections of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboundPolicy {
    /// Targets that apps may reach without a grant.
    pub default: OutboundDefault,
    /// Targets that the operator has granted to the app. A grant applies beside the app's list.
    pub grants: Vec<OutboundTarget>,
    /// Networks whose addresses count as private ones.
    pub private: Vec<OutboundTarget>,
}

impl OutboundPolicy {
    /// Returns whether the operator has declared an address private.
    pub fn counts_as_private(&self, address: IpAddr) -> bool {
        self.private
            .iter()
            .any(|network| network.covers_address(address))
    }
}

/// A target: the endpoints that one entry of a list covers.
///
/// Two spellings of one target are equal, and print as the shortest one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OutboundTarget {
    host: TargetHost,
    /// 0 for any port.
    port: u16,
    /// Any transport if the target has none.
    scheme: TargetScheme,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum TargetScheme {
    Tcp,
    Udp,
    Any,
}

/// The hosts of a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum TargetHost {
    /// All hosts with a public address.
    Any,
    /// A lower-case name without a dot at its end.
    Name(String),
    /// All names below this one.
    Below(String),
    /// An address, with all its bits, or a network.
    Network(IpNetwork),
}

/// Text that is not a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundTargetError {
    /// The text has no known scheme.
    #[error(
        "{0:?} has no scheme: write https://HOST, http://HOST, tcp://HOST:PORT or udp://HOST:PORT"
    )]
    Scheme(String),
    /// The target has no port, and its scheme has no default one.
    #[error(
        "{0:?} has no port: write it after the host, as in tcp://db.example.com:5432, or :* for all"
    )]
    NoPort(String),
    /// The port is not a number from 1 to 65535.
    #[error("{0:?} has an invalid port: write a number from 1 to 65535, or * for all")]
    Port(String),
    /// The URL has a user name or a password.
    #[error("an entry has a user name or a password: leave both out, and write https://HOST")]
    Credentials,
    /// The URL has a path, a query or a fragment.
    #[error("{0:?} has a path, which connections do not show: end it after the host and the port")]
    Path(String),
    /// The host is not ASCII.
    #[error("{0:?} has a host that is not ASCII: write its encoded form, which starts with xn--")]
    NotAscii(String),
    /// The host is neither a name nor an address.
    #[error(
        "{0:?} has an invalid host: write a name, as api.example.com or *.example.com, or an address"
    )]
    Host(String),
    /// The host is a number in a form that only some programs read as an address.
    #[error(
        "{0:?} spells an address in an old form: write four decimal numbers, as in tcp://192.0.2.1:80"
    )]
    Number(String),
    /// The host is `localhost`.
    #[error("{0:?} names the dyno itself, which needs no entry: name the other machine")]
    Localhost(String),
    /// The network is invalid.
    #[error(transparent)]
    Network(#[from] InvalidNetwork),
}

impl OutboundTarget {
    /// Returns the target that covers all public addresses.
    pub fn anything() -> Self {
        Self {
            host: TargetHost::Any,
            port: 0,
            scheme: TargetScheme::Any,
        }
    }

    /// Returns the target that covers one endpoint of a host that is known by its name.
    ///
    /// Returns `None` if the name is not one that a target can hold.
    pub fn of_name(name: &str, port: u16, transport: Transport) -> Option<Self> {
        Some(Self {
            host: TargetHost::Name(host_name(name)?),
            port,
            scheme: transport.into(),
        })
    }

    /// Returns the target that covers one endpoint at an address.
    pub fn of_address(address: IpAddr, port: u16, transport: Transport) -> Self {
        Self {
            host: TargetHost::Network(IpNetwork::of(address)),
            port,
            scheme: transport.into(),
        }
    }

    /// Returns whether the target covers a port of a transport.
    pub fn covers_port(&self, port: u16, transport: Transport) -> bool {
        let same = self.scheme == TargetScheme::Any || self.scheme == transport.into();
        same && (self.port == 0 || self.port == port)
    }

    /// Returns whether the target covers all hosts with a public address.
    pub fn covers_any_host(&self) -> bool {
        self.host == TargetHost::Any
    }

    /// Returns whether the target covers a name, which [`host_name`] has brought into its form.
    pub fn covers_name(&self, name: &str) -> bool {
        match &self.host {
            TargetHost::Name(own) => own == name,
            TargetHost::Below(parent) => name
                .strip_suffix(parent.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|label| !label.is_empty()),
            TargetHost::Any | TargetHost::Network(..) => false,
        }
    }

    /// Returns whether the target is an address or a network that has `address`.
    pub fn covers_address(&self, address: IpAddr) -> bool {
        matches!(self.host, TargetHost::Network(network) if network.contains(address))
    }

    /// Returns whether the target is an address or a network, of any port.
    pub fn is_network(&self) -> bool {
        matches!(self.host, TargetHost::Network(..)) && self.port == 0
    }

    /// Returns whether the target is exactly `address`, and no network.
    pub fn is_address(&self, address: IpAddr) -> bool {
        matches!(self.host, TargetHost::Network(network) if network.single() == Some(address.to_canonical()))
    }
}

/// Returns a host name in the form in which names are compared: lower case, without a dot at its end.
///
/// Returns `None` for text that is not a name of the DNS, for addresses in any spelling (names do not end in a number),
/// and for names outside ASCII, which the DNS knows in their encoded form.
pub fn host_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let valid = name.len() <= 253 && name.split('.').all(is_label) && !ends_in_number(name);
    valid.then(|| name.to_ascii_lowercase())
}

/// Returns whether the last label of a name is a number, as in the old spellings of IPv4 addresses (`127.1`,
/// `0x7f000001`).
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// Returns whether a name in the form of [`host_name`] is one of the dyno itself (RFC 6761 section 6.3).
pub fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

impl From<Transport> for TargetScheme {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp,
            Transport::Udp => Self::Udp,
        }
    }
}

impl FromStr for OutboundTarget {
    type Err = OutboundTargetError;

    fn from_str(text: &str) -> Result<Self, OutboundTargetError> {
        let shown = || text.chars().take(MAX_LENGTH).collect::<String>();
        if text == "*" {
            return Ok(Self::anything());
        }
        // First, so that no message shows a password.
        if text.contains('@') {
            return Err(OutboundTargetError::Credentials);
        }
        if text.len() > MAX_LENGTH {
            return Err(OutboundTargetError::Host(shown()));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text.parse::<IpNetwork>() {
                Ok(network) => Ok(Self {
                    host: TargetHost::Network(network),
                    port: 0,
                    scheme: TargetScheme::Any,
                }),
                Err(error) if text.contains('/') => Err(error.into()),
                Err(_) => Err(OutboundTargetError::Scheme(shown())),
            };
        };
        let (scheme, default) = match scheme.to_ascii_lowercase().as_str() {
            "https" => (TargetScheme::Tcp, Some(443)),
            "http" => (TargetScheme::Tcp, Some(80)),
            "tcp" => (TargetScheme::Tcp, None),
            "udp" => (TargetScheme::Udp, None),
            _ => return Err(OutboundTargetError::Scheme(shown())),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['?', '#', '\\']) {
            return Err(OutboundTargetError::Path(shown()));
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let port = match port {
            Some("*") => 0,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(OutboundTargetError::Port(shown())),
            },
            Some(_) => return Err(OutboundTargetError::Port(shown())),
            None => default.ok_or_else(|| OutboundTargetError::NoPort(shown()))?,
        };
        let host = target_host(host, shown)?;
        Ok(Self { host, port, scheme })
    }
}

/// Parses the host of a URL.
fn target_host(host: &str, shown: impl Fn() -> String) -> Result<TargetHost, OutboundTargetError> {
    if host == "*" {
        return Ok(TargetHost::Any);
    }
    if !host.is_ascii() {
        return Err(OutboundTargetError::NotAscii(shown()));
    }
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        return match inner.parse::<Ipv6Addr>() {
            Ok(address) => {
                let network = IpNetwork::of(address.into());
                Ok(TargetHost::Network(network))
            }
            Err(_) => Err(OutboundTargetError::Host(shown())),
        };
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(TargetHost::Network(IpNetwork::of(address.into())));
    }
    if host.contains('/') {
        return Err(OutboundTargetError::Path(shown()));
    }
    if ends_in_number(host.strip_suffix('.').unwrap_or(host)) {
        return Err(OutboundTargetError::Number(shown()));
    }
    let (below, name) = match host.strip_prefix("*.") {
        Some(parent) => (true, parent),
        None => (false, host),
    };
    let name = host_name(name).ok_or_else(|| OutboundTargetError::Host(shown()))?;
    if is_localhost(&name) {
        return Err(OutboundTargetError::Localhost(shown()));
    }
    Ok(match below {
        true => TargetHost::Below(name),
        false => TargetHost::Name(name),
    })
}

impl fmt::Display for OutboundTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match &self.host {
            TargetHost::Any => "*".to_owned(),
            TargetHost::Name(name) => name.clone(),
            TargetHost::Below(parent) => format!("*.{parent}"),
            TargetHost::Network(network) => match network.single() {
                Some(IpAddr::V6(address)) if self.scheme != TargetScheme::Any => {
                    format!("[{address}]")
                }
                Some(address) if self.scheme != TargetScheme::Any => address.to_string(),
                _ => network.to_string(),
            },
        };
        match (self.scheme, self.port) {
            (TargetScheme::Any, _) => f.write_str(&host),
            (TargetScheme::Tcp, 443) => write!(f, "https://{host}"),
            (TargetScheme::Tcp, 80) => write!(f, "http://{host}"),
            (TargetScheme::Tcp, 0) => write!(f, "tcp://{host}:*"),
            (TargetScheme::Udp, 0) => write!(f, "udp://{host}:*"),
            (TargetScheme::Tcp, port) => write!(f, "tcp://{host}:{port}"),
            (TargetScheme::Udp, port) => write!(f, "udp://{host}:{port}"),
        }
    }
}

impl TryFrom<String> for OutboundTarget {
    type Error = OutboundTargetError;

    fn try_from(text: String) -> Result<Self, OutboundTargetError> {
        text.parse()
    }
}

impl From<OutboundTarget> for String {
    fn from(target: OutboundTarget) -> String {
        target.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> OutboundTarget {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn equivalent_spellings_are_one_target() {
        for (text, printed) in [
            ("*", "*"),
            ("https://api.example.com", "https://api.example.com"),
            ("HTTPS://API.Example.COM.:443/", "https://api.example.com"),
            ("tcp://api.example.com:443", "https://api.example.com"),
            ("http://a.example:80", "http://a.example"),
            ("http://a.example:8080", "tcp://a.example:8080"),
            ("https://*.example.com", "https://*.example.com"),
            ("tcp://*:443", "https://*"),
            ("tcp://db.example.com:5432", "tcp://db.example.com:5432"),
            ("tcp://db.example.com:*", "tcp://db.example.com:*"),
            ("udp://192.0.2.1:53", "udp://192.0.2.1:53"),
            ("tcp://[2001:DB8::1]:5432", "tcp://[2001:db8::1]:5432"),
            ("https://[::ffff:192.0.2.1]", "https://192.0.2.1"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/32", "10.1.2.3/32"),
            ("fd00::/8", "fd00::/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            (
                "https://xn--bcher-kva.example",
                "https://xn--bcher-kva.example",
            ),
            (
                "tcp://_sip._tcp.example.com:5060",
                "tcp://_sip._tcp.example.com:5060",
            ),
        ] {
            assert_eq!(target(text).to_string(), printed, "{text}");
            assert_eq!(target(printed), target(text), "{text}");
        }
    }

    #[test]
    fn invalid_target_is_rejected_with_its_reason() {
        type Error = OutboundTargetError;
        let shown = str::to_owned;
        let network = |text: &str| Error::Network(text.parse::<IpNetwork>().unwrap_err());
        for (text, error) in [
            ("", Error::Scheme(shown(""))),
            ("api.example.com", Error::Scheme(shown("api.example.com"))),
            ("ftp://a.example", Error::Scheme(shown("ftp://a.example"))),
            ("//a.example", network("//a.example")),
            ("tcp://a.example", Error::NoPort(shown("tcp://a.example"))),
            ("tcp://a.example:", Error::Port(shown("tcp://a.example:"))),
            ("tcp://a.example:0", Error::Port(shown("tcp://a.example:0"))),
            (
                "tcp://a.example:65536",
                Error::Port(shown("tcp://a.example:65536")),
            ),
            (
                "tcp://a.example:+80",
                Error::Port(shown("tcp://a.example:+80")),
            ),
            (
                "tcp://a.example:http",
                Error::Port(shown("tcp://a.example:http")),
            ),
            ("https://me:secret@a.example", Error::Credentials),
            ("https://a.example@b.example", Error::Credentials),
            (
                "https://a.example/v1",
                Error::Path(shown("https://a.example/v1")),
            ),
            (
                "https://a.example//",
                Error::Path(shown("https://a.example//")),
            ),
            (
                "https://a.example?x",
                Error::Path(shown("https://a.example?x")),
            ),
            (
                "https://a.example#x",
                Error::Path(shown("https://a.example#x")),
            ),
            (
                "https://a.example\\x",
                Error::Path(shown("https://a.example\\x")),
            ),
            (
                "https://bücher.example",
                Error::NotAscii(shown("https://bücher.example")),
            ),
            ("https://", Error::Host(shown("https://"))),
            (
                "https://a..example",
                Error::Host(shown("https://a..example")),
            ),
            ("https://.example", Error::Host(shown("https://.example"))),
            (
                "https://a.*.example",
                Error::Host(shown("https://a.*.example")),
            ),
            (
                "https://*example.com",
                Error::Host(shown("https://*example.com")),
            ),
            (
                "https://a b.example",
                Error::Host(shown("https://a b.example")),
            ),
            (
                "https://a%2eb.example",
                Error::Host(shown("https://a%2eb.example")),
            ),
            (
                "https://[fe80::1%25eth0]",
                Error::Host(shown("https://[fe80::1%25eth0]")),
            ),
            ("https://[::1", Error::Host(shown("https://[::1"))),
            (
                "http://2130706433",
                Error::Number(shown("http://2130706433")),
            ),
            (
                "http://0x7f000001",
                Error::Number(shown("http://0x7f000001")),
            ),
            ("http://0x7f.1", Error::Number(shown("http://0x7f.1"))),
            ("http://127.1", Error::Number(shown("http://127.1"))),
            (
                "http://0177.0.0.1",
                Error::Number(shown("http://0177.0.0.1")),
            ),
            (
                "http://127.0.0.1.",
                Error::Number(shown("http://127.0.0.1.")),
            ),
            (
                "http://example.0x",
                Error::Number(shown("http://example.0x")),
            ),
            (
                "http://localhost",
                Error::Localhost(shown("http://localhost")),
            ),
            (
                "http://LOCALHOST.",
                Error::Localhost(shown("http://LOCALHOST.")),
            ),
            (
                "http://a.localhost",
                Error::Localhost(shown("http://a.localhost")),
            ),
            ("10.0.0.1/8", network("10.0.0.1/8")),
            ("10.0.0.0/33", network("10.0.0.0/33")),
            ("10.0.0.0/", network("10.0.0.0/")),
            ("10.0.0.0/+8", network("10.0.0.0/+8")),
            ("::ffff:10.0.0.0/104", network("::ffff:10.0.0.0/104")),
        ] {
            assert_eq!(text.parse::<OutboundTarget>(), Err(error), "{text}");
        }
        let long = format!("https://{}.example", "a".repeat(400));
        assert!(long.parse::<OutboundTarget>().is_err());
    }

    #[test]
    fn errors_never_show_a_password() {
        for text in [
            "https://me:secret@a.example",
            "me:secret@",
            "x://u:secret@h/p",
        ] {
            let error = text.parse::<OutboundTarget>().unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn names_below_a_wildcard_are_covered_and_others_are_not() {
        let wildcard = target("https://*.example.com");
        for name in ["a.example.com", "b.a.example.com"] {
            assert!(wildcard.covers_name(name), "{name}");
        }
        for name in [
            "example.com",
            ".example.com",
            "aexample.com",
            "example.com.evil.example",
            "a.example.com.evil.example",
        ] {
            assert!(!wildcard.covers_name(name), "{name}");
        }
        assert!(target("https://a.example").covers_name("a.example"));
        assert!(!target("https://a.example").covers_name("b.a.example"));
        assert!(!target("*").covers_name("a.example"));
    }

    #[test]
    fn networks_cover_their_addresses_in_every_form() {
        let covers =
            |text: &str, address: &str| target(text).covers_address(address.parse().unwrap());
        assert!(covers("10.0.0.0/8", "10.255.0.1"));
        assert!(covers("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(!covers("10.0.0.0/8", "11.0.0.0"));
        assert!(!covers("10.0.0.0/8", "::a00:1"));
        assert!(covers("0.0.0.0/0", "255.0.0.1"));
        assert!(!covers("0.0.0.0/0", "2a00::1"));
        assert!(covers("fd00::/8", "fd12::1"));
        assert!(covers("tcp://192.0.2.1:80", "::ffff:192.0.2.1"));
        assert!(target("tcp://192.0.2.1:80").is_address("192.0.2.1".parse().unwrap()));
        assert!(!target("0.0.0.0/0").is_address("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn ports_and_transports_are_compared() {
        let web = target("https://a.example");
        assert!(web.covers_port(443, Transport::Tcp));
        assert!(!web.covers_port(443, Transport::Udp));
        assert!(!web.covers_port(80, Transport::Tcp));
        assert!(target("udp://a.example:*").covers_port(1, Transport::Udp));
        assert!(target("10.0.0.0/8").covers_port(5432, Transport::Udp));
    }

    #[test]
    fn host_names_have_one_form() {
        assert_eq!(
            host_name("API.Example.com.").as_deref(),
            Some("api.example.com")
        );
        assert_eq!(host_name("a_b.example").as_deref(), Some("a_b.example"));
        for bad in [
            "",
            ".",
            "a..b",
            "1.2.3.4",
            "2130706433",
            "0x7f.1",
            "0XA",
            "127.1",
            "a.example..",
            "bücher.example",
            "a\0.example",
            "a/b",
            "[::1]",
            "::1",
            "a b",
            "*",
        ] {
            assert_eq!(host_name(bad), None, "{bad}");
        }
        for own in ["localhost", "a.localhost"] {
            assert!(is_localhost(own));
        }
        for other in ["localhost.example", "alocalhost"] {
            assert!(!is_localhost(other));
        }
    }
}
