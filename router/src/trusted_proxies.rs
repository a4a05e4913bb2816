//! Proxies in front of the node whose description of a client the router believes.
//!
//! Behind a proxy that ends TLS, the router's own connection is plain and comes from the proxy. Without trust in it, apps
//! would take every request for a plain one of the proxy, and `https-redirect` would redirect without end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use corundum_abi::ip_network::IpNetwork;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::client_info::ClientInfo;
use crate::headers::FORWARDED_FOR;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Networks of proxies.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[IpNetwork]>);

impl TrustedProxies {
    /// Creates the list of the proxies in these networks.
    pub fn new(networks: impl IntoIterator<Item = IpNetwork>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Returns whether an address is that of a proxy.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Describes the client behind a proxy, by the headers that the proxy has set: `X-Forwarded-For`, `X-Forwarded-Proto`
    /// and `X-Forwarded-Port`. `X-Forwarded-For` keeps what is left of the client's address, which nobody vouches for.
    pub(crate) fn client_behind(&self, proxy: &ClientInfo, headers: &mut HeaderMap) -> ClientInfo {
        let mut client = proxy.clone();
        let scheme = last_value(headers, &FORWARDED_PROTO).map(|value| value.to_ascii_lowercase());
        let is_tls = match scheme.as_deref() {
            Some("https") => Some(true),
            Some("http") => Some(false),
            _ => None,
        };
        client.tls = is_tls.unwrap_or(proxy.tls);
        let port = last_value(headers, &FORWARDED_PORT).and_then(|port| port.parse().ok());
        let port = port.filter(|port: &u16| *port > 0);
        let default = is_tls.map(|tls| if tls { 443 } else { 80 });
        if let Some(port) = port.or(default) {
            client.local = SocketAddr::new(proxy.local.ip(), port);
        }
        if let Some(address) = self.take_client(headers) {
            client.address = address.to_canonical().to_string().into();
        }
        client
    }

    /// Takes the client's address out of `X-Forwarded-For`, with the proxies behind it: the last address that is not a
    /// trusted proxy's, or the first if all are.
    fn take_client(&self, headers: &mut HeaderMap) -> Option<IpAddr> {
        let values = headers.get_all(&FORWARDED_FOR).iter();
        let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
        let entries = values.iter().flat_map(|value| value.split(','));
        let entries: Vec<&str> = entries.map(str::trim).collect();
        let mut found = None;
        for (at, entry) in entries.iter().enumerate().rev() {
            // Text that is no address comes from a client; the proxy behind it is the last that is known.
            let Some(address) = address(entry) else { break };
            found = Some((at, address));
            if !self.contain(address) {
                break;
            }
        }
        let (at, address) = found?;
        let before = entries[..at].join(", ");
        match HeaderValue::from_str(&before) {
            Ok(before) if !before.is_empty() => drop(headers.insert(FORWARDED_FOR, before)),
            _ => drop(headers.remove(FORWARDED_FOR)),
        }
        Some(address)
    }
}

/// Parses an entry of `X-Forwarded-For`. Some proxies write the client's port too.
fn address(entry: &str) -> Option<IpAddr> {
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || entry.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    entry.parse().ok().or_else(bracketed).or_else(with_port)
}

/// Returns the last value of a list, which the proxy nearest to the router has set.
fn last_value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let last = headers.get_all(name).iter().next_back()?;
    last.to_str().ok()?.rsplit(',').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(fields: &[(&'static str, &str)]) -> (ClientInfo, Option<String>) {
        let networks = ["10.0.0.0/8", "fd00::/8"];
        let proxies = TrustedProxies::new(networks.map(|network| network.parse().unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let proxy = ClientInfo::new(
            "10.0.0.1:5".parse().unwrap(),
            "10.0.0.2:8080".parse().unwrap(),
        );
        let client = proxies.client_behind(&proxy, &mut headers);
        let left = headers.get(&FORWARDED_FOR);
        let left = left.map(|value| value.to_str().unwrap().to_owned());
        (client, left)
    }

    #[test]
    fn client_is_the_last_address_that_is_not_a_proxy() {
        for (value, address, left) in [
            ("192.0.2.1", "192.0.2.1", None),
            ("1.1.1.1, 192.0.2.1", "192.0.2.1", Some("1.1.1.1")),
            ("1.1.1.1,192.0.2.1,10.0.0.9", "192.0.2.1", Some("1.1.1.1")),
            ("10.0.0.7, 10.0.0.8", "10.0.0.7", None),
            ("nonsense, 10.0.0.8", "10.0.0.8", Some("nonsense")),
            ("192.0.2.1:4711", "192.0.2.1", None),
            ("[2001:db8::1]:4711", "2001:db8::1", None),
            ("::ffff:192.0.2.1", "192.0.2.1", None),
            ("unknown", "10.0.0.1", Some("unknown")),
            ("", "10.0.0.1", Some("")),
        ] {
            let (client, rest) = behind(&[("x-forwarded-for", value)]);
            assert_eq!(
                (&*client.address, rest.as_deref()),
                (address, left),
                "{value}"
            );
        }
        let several = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        let (client, left) = behind(&several);
        assert_eq!(
            (&*client.address, left.as_deref()),
            ("192.0.2.1", Some("1.1.1.1"))
        );
    }

    #[test]
    fn scheme_and_port_are_those_of_the_nearest_proxy() {
        for (fields, tls, port) in [
            (&[][..], false, 8080),
            (&[("x-forwarded-proto", "https")], true, 443),
            (&[("x-forwarded-proto", "HTTP")], false, 80),
            (&[("x-forwarded-proto", "http, https")], true, 443),
            (
                &[
                    ("x-forwarded-proto", "https"),
                    ("x-forwarded-proto", "http"),
                ],
                false,
                80,
            ),
            (&[("x-forwarded-proto", "ftp")], false, 8080),
            (
                &[("x-forwarded-proto", "https"), ("x-forwarded-port", "8443")],
                true,
                8443,
            ),
            (
                &[("x-forwarded-proto", "https"), ("x-forwarded-port", "0")],
                true,
                443,
            ),
            (&[("x-forwarded-port", "99999")], false, 8080),
        ] {
            let (client, _) = behind(fields);
            assert_eq!((client.tls, client.local.port()), (tls, port), "{fields:?}");
        }
    }
}
