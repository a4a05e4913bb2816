//! Facts about the connection that a request came over.

use std::net::SocketAddr;
use std::sync::Arc;

use corundum_abi::names::AppName;

/// The client's side of a connection, as apps, logs and checks need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// The client's socket address.
    pub peer: SocketAddr,
    /// The client's IP address as apps and logs show it; an IPv4-mapped IPv6 address is written as IPv4.
    pub address: Arc<str>,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// True if the connection uses TLS.
    pub tls: bool,
    /// The hosts that requests on this connection may name.
    pub hosts: AllowedHosts,
    /// True if the peer is a trusted proxy, whose requests describe their clients.
    pub is_proxy: bool,
}

/// Hosts that requests on a connection may name.
///
/// Over TLS these are the hosts of its certificate (RFC 9110 section 7.4): a client that saw one app's certificate must
/// not reach another app.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AllowedHosts {
    /// Every host: the connection has no certificate.
    #[default]
    Any,
    /// Lower-case names of the certificate that route to its app, and that app if the certificate belongs to one.
    /// `*.example` stands for one label (RFC 6125 section 6.4.3).
    Named(Option<AppName>, Arc<[Box<str>]>),
}

impl ClientInfo {
    /// Describes an unencrypted connection whose requests may name every host.
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            peer,
            address: peer.ip().to_canonical().to_string().into(),
            local,
            tls: false,
            hosts: AllowedHosts::Any,
            is_proxy: false,
        }
    }

    /// Returns `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

impl AllowedHosts {
    /// Returns whether requests may name `host` (lower case, without a port), which routes to `app`.
    pub fn allow(&self, app: &AppName, host: &str) -> bool {
        // A name may end in the root's dot (RFC 3986 section 3.2.2).
        let host = host.strip_suffix('.').unwrap_or(host);
        let covers = |name: &str| match name.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
            None => name == host,
        };
        match self {
            Self::Any => true,
            Self::Named(owner, names) => {
                owner.as_ref().is_none_or(|owner| owner == app)
                    && names.iter().any(|name| covers(name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_wildcard_matches_one_label() {
        let app: AppName = "one-app".parse().unwrap();
        let names = ["a.example".into(), "*.b.example".into()].into();
        let hosts = AllowedHosts::Named(Some(app.clone()), names);
        for (host, allowed) in [
            ("a.example", true),
            ("a.example.", true),
            ("x.a.example", false),
            ("x.b.example", true),
            ("x.y.b.example", false),
            ("b.example", false),
        ] {
            assert_eq!(hosts.allow(&app, host), allowed, "{host}");
        }
        let other: AppName = "another".parse().unwrap();
        assert!(!hosts.allow(&other, "a.example"));
        assert!(AllowedHosts::Any.allow(&other, "anything"));
    }
}
