//! Resolver for gem servers: checks the addresses of a name before a connection is made to one, and keeps them.
//!
//! A name's owner chooses its addresses, and may answer the next question with the address of a neighbour of the node.
//! A build therefore asks once for each server and connects to the addresses that it has checked.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use corundum_abi::public_address::{AddressKind, address_kind, is_public};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::server_url::GemServerUrl;

/// A server whose name has no address that a build may connect to.
#[derive(Debug, thiserror::Error)]
#[error("no address that a build may connect to")]
pub(super) struct RefusedAddress;

/// Resolver whose clones share what it has resolved.
#[derive(Debug, Clone)]
pub(super) struct GuardedResolver(Arc<GuardState>);

#[derive(Debug)]
struct GuardState {
    names: Box<dyn Resolver>,
    /// Checked addresses by host and port.
    pinned: Mutex<HashMap<String, Vec<SocketAddr>>>,
}

impl GuardedResolver {
    /// Creates a resolver that asks the system.
    pub(super) fn new() -> Self {
        Self::with_names(DefaultResolver::default())
    }

    /// Creates a resolver that asks `names`.
    pub(super) fn with_names(names: impl Resolver) -> Self {
        Self(Arc::new(GuardState {
            names: Box::new(names),
            pinned: Mutex::default(),
        }))
    }

    fn filled(&self, addresses: &[SocketAddr]) -> ResolvedSocketAddrs {
        let mut filled = self.empty();
        for address in addresses {
            filled.push(*address);
        }
        filled
    }
}

impl Resolver for GuardedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let state = &*self.0;
        let authority = uri.authority();
        // The operator sets the proxy in the node's environment, often at a private address.
        if config
            .proxy()
            .is_some_and(|proxy| proxy.uri().authority() == authority)
        {
            return state.names.resolve(uri, config, timeout);
        }
        let server = authority.map_or("", |authority| authority.as_str());
        let server = server.to_ascii_lowercase();
        let pinned = || state.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = pinned().get(&server) {
            return Ok(self.filled(known));
        }
        let found = state.names.resolve(uri, config, timeout)?;
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let allowed = allowed(&host, &found);
        if allowed.is_empty() {
            return Err(ureq::Error::Other(Box::new(RefusedAddress)));
        }
        // Another thread may have resolved the name meanwhile; the first answer stays.
        let mut pinned = pinned();
        Ok(self.filled(pinned.entry(server).or_insert(allowed)))
    }
}

/// Resolves a host of the allowed list and returns the addresses to which a build may connect.
pub(super) fn checked_addresses(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = (literal, port).to_socket_addrs()?.collect();
    Ok(allowed(&host.to_ascii_lowercase(), &found))
}

/// Returns those addresses of a host of the allowed list to which a build may connect.
///
/// An address in the list is the operator's choice. A name in the list may have private addresses if it has no public
/// one, but never those of the machine itself or of a cloud's metadata.
fn allowed(host: &str, found: &[SocketAddr]) -> Vec<SocketAddr> {
    let kept = |keep: &dyn Fn(IpAddr) -> bool| -> Vec<SocketAddr> {
        let kept = found
            .iter()
            .filter(|address| keep(address.ip().to_canonical()));
        kept.copied().collect()
    };
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    if literal.parse::<IpAddr>().is_ok() {
        return found.to_vec();
    }
    if host == "localhost" {
        return kept(&|address| address.is_loopback());
    }
    let public = kept(&is_public);
    if !public.is_empty() || GemServerUrl::rubygems().host() == host {
        return public;
    }
    kept(&is_neighbour)
}

/// Returns whether an address is one of a private network, where an operator may run a gem server.
fn is_neighbour(address: IpAddr) -> bool {
    address_kind(address) == AddressKind::Private
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Names whose answers change with each question, as those of an attacker do.
    #[derive(Debug)]
    struct ChangingNames {
        answers: Vec<Vec<&'static str>>,
        asked: AtomicUsize,
    }

    impl Resolver for ChangingNames {
        fn resolve(
            &self,
            _: &Uri,
            _: &Config,
            _: NextTimeout,
        ) -> Result<ResolvedSocketAddrs, ureq::Error> {
            let at = self.asked.fetch_add(1, Ordering::Relaxed);
            let mut addresses = self.empty();
            for address in &self.answers[at.min(self.answers.len() - 1)] {
                addresses.push(SocketAddr::new(address.parse().unwrap(), 80));
            }
            Ok(addresses)
        }
    }

    fn resolver(answers: &[&[&'static str]]) -> GuardedResolver {
        GuardedResolver::with_names(ChangingNames {
            answers: answers.iter().map(|answer| answer.to_vec()).collect(),
            asked: AtomicUsize::new(0),
        })
    }

    fn resolve(resolver: &GuardedResolver, url: &str) -> Option<Vec<String>> {
        let timeout = NextTimeout::default();
        let url: Uri = url.parse().unwrap();
        let found = resolver.resolve(&url, &Config::default(), timeout).ok()?;
        Some(found.iter().map(|found| found.ip().to_string()).collect())
    }

    #[test]
    fn name_keeps_the_addresses_that_were_checked() {
        let rebinding = resolver(&[&["93.184.216.34"], &["127.0.0.1"], &["10.0.0.1"]]);
        for _ in 0..3 {
            let found = resolve(&rebinding, "http://gems.example/info/a");
            assert_eq!(found.unwrap(), ["93.184.216.34"]);
        }
        // Another port is another server, and its name is checked anew.
        assert_eq!(resolve(&rebinding, "http://gems.example:81/"), None);
    }

    #[test]
    fn name_never_leads_to_the_machine_or_to_metadata() {
        for address in [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "169.254.169.254",
            "100.100.100.200",
            "fd00:ec2::254",
            "fe80::1",
            "224.0.0.1",
            "255.255.255.255",
            "64:ff9b::7f00:1",
        ] {
            let found = resolve(&resolver(&[&[address]]), "https://gems.example/");
            assert_eq!(found, None, "{address}");
        }
    }

    #[test]
    fn private_addresses_count_without_public_ones_only() {
        let of = |host: &str, answer: &[&'static str]| {
            resolve(&resolver(&[answer]), &format!("https://{host}/"))
        };
        assert_eq!(of("gems.internal", &["10.1.2.3"]).unwrap(), ["10.1.2.3"]);
        let mixed = ["10.1.2.3", "1.1.1.1", "127.0.0.1"];
        assert_eq!(of("gems.example", &mixed).unwrap(), ["1.1.1.1"]);
        assert_eq!(of("rubygems.org", &["10.1.2.3"]), None);
    }

    #[test]
    fn listed_address_is_itself_and_localhost_is_the_machine() {
        let of = |host: &str, answer: &[&'static str]| {
            resolve(&resolver(&[answer]), &format!("http://{host}/"))
        };
        assert_eq!(
            of("169.254.1.1", &["169.254.1.1"]).unwrap(),
            ["169.254.1.1"]
        );
        assert_eq!(of("[::1]", &["::1"]).unwrap(), ["::1"]);
        assert_eq!(of("localhost", &["10.0.0.1", "::1"]).unwrap(), ["::1"]);
        // The system resolves this name to 127.0.0.1.
        assert_eq!(of("2130706433", &["127.0.0.1"]), None);
    }
}
