//! What is known of the connection that a request came over.

use std::net::SocketAddr;
use std::sync::Arc;

use corundum_abi::names::AppName;

/// A client's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// The client.
    pub peer: SocketAddr,
    /// Its IP address as apps and logs have it.
    pub address: Arc<str>,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Whether it is encrypted.
    pub tls: bool,
    /// Which hosts it may ask for.
    pub hosts: AllowedHosts,
}

/// The hosts that a connection may ask for: those that its certificate is for (RFC 9110 section 7.4), since a client
/// that was shown one app's certificate must not be led to another app.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AllowedHosts {
    /// Any: there is no certificate.
    #[default]
    Any,
    /// Names of a certificate, in lower case, as far as they lead to its app, if it is one's. `*.example` stands for one
    /// label (RFC 6125 section 6.4.3).
    Named(Option<AppName>, Arc<[Box<str>]>),
}

impl ClientInfo {
    /// One that may ask for any host, and is not encrypted.
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            peer,
            address: peer.ip().to_canonical().to_string().into(),
            local,
            tls: false,
            hosts: AllowedHosts::Any,
        }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

impl AllowedHosts {
    /// Whether `host` (lower case, without a port) of `app` is one of them.
    pub fn allow(&self, app: &AppName, host: &str) -> bool {
        // A name may be written with its root (RFC 3986 section 3.2.2).
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
    fn a_certificates_wildcard_stands_for_one_label() {
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
