//! The certificates that handshakes choose from.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use corundum_abi::names::AppName;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;

use crate::client_info::AllowedHosts;

/// What a connection may speak, in the order of preference.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What an ACME server speaks that asks for a challenge's certificate (RFC 8737 section 6.2).
const ACME: &[u8] = b"acme-tls/1";

/// A chain with its private key.
#[derive(Debug, Clone)]
pub struct Certificate(Arc<CertifiedKey>);

impl Certificate {
    /// A chain, the certificate itself first, with its key.
    ///
    /// # Errors
    ///
    /// A key that is of no known form or too short, or that is not the certificate's.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
        Ok(Self(Arc::new(key)))
    }

    /// The answer to a challenge (RFC 8737 section 3). It is not checked: its extension is critical, and known to nobody
    /// but ACME servers.
    ///
    /// # Errors
    ///
    /// A key that is of no known form.
    pub fn of_challenge(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let key = ring::default_provider()
            .key_provider
            .load_private_key(key)?;
        Ok(Self(Arc::new(CertifiedKey::new(vec![certificate], key))))
    }
}

/// A certificate with the hosts that it is shown for: names of it that lead to one app, in lower case. `*.example`
/// stands for one label.
#[derive(Debug, Clone)]
pub struct CertificateEntry {
    /// What is shown.
    pub certificate: Certificate,
    /// Whose it is: no other app is served over a connection that was shown it. None if it is for whatever app has one of
    /// the hosts.
    pub app: Option<AppName>,
    /// The hosts; connections may ask for these alone.
    pub hosts: Vec<Box<str>>,
}

/// What a handshake needs to know of the certificate that it shows.
#[derive(Clone)]
pub(crate) struct TlsIdentity {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) hosts: AllowedHosts,
}

/// All certificates by host. Handshakes look them up without a lock; connections keep what they began with.
pub struct Certificates {
    table: ArcSwap<HashMap<Box<str>, TlsIdentity>>,
    /// Certificates that answer for a name's challenge (RFC 8737), by the name.
    alpn_challenges: ArcSwap<HashMap<Box<str>, Arc<ServerConfig>>>,
    /// What all have in common: protocols, tickets and sessions. A ticket is good for the name alone that it was given for.
    common: ServerConfig,
}

impl Certificates {
    /// No certificates yet: every handshake is refused.
    ///
    /// # Errors
    ///
    /// The system gives no random bytes.
    pub fn new() -> Result<Self, rustls::Error> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let mut common = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(NoCertificate));
        common.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // Tickets keep a session with the client, so that a return needs no signature and no memory here.
        common.ticketer = ring::Ticketer::new()?;
        Ok(Self {
            table: ArcSwap::default(),
            alpn_challenges: ArcSwap::default(),
            common,
        })
    }

    /// Has new handshakes choose from these; where two have the same host, the later one is shown.
    pub fn replace(&self, entries: impl IntoIterator<Item = CertificateEntry>) {
        let mut table = HashMap::new();
        for entry in entries {
            let identity = TlsIdentity {
                config: Arc::new(self.config(&entry.certificate)),
                hosts: AllowedHosts::Named(entry.app, entry.hosts.clone().into()),
            };
            let hosts = entry.hosts.into_iter();
            table.extend(hosts.map(|host| (host, identity.clone())));
        }
        self.table.store(Arc::new(table));
    }

    /// Shows a certificate to ACME servers that ask for `name`, until it is [taken away](Self::remove_challenge).
    pub fn add_challenge(&self, name: &str, certificate: &Certificate) {
        let mut config = self.config(certificate);
        config.alpn_protocols = vec![ACME.to_vec()];
        let config = Arc::new(config);
        self.alpn_challenges.rcu(|alpn_challenges| {
            let mut alpn_challenges = HashMap::clone(alpn_challenges);
            alpn_challenges.insert(name.into(), config.clone());
            alpn_challenges
        });
    }

    /// Shows no certificate for `name` to ACME servers any longer.
    pub fn remove_challenge(&self, name: &str) {
        self.alpn_challenges.rcu(|alpn_challenges| {
            let mut alpn_challenges = HashMap::clone(alpn_challenges);
            alpn_challenges.remove(name);
            alpn_challenges
        });
    }

    fn config(&self, certificate: &Certificate) -> ServerConfig {
        let mut config = self.common.clone();
        config.cert_resolver = Arc::new(FixedCertificate(certificate.0.clone()));
        config
    }

    /// The certificate for a client that asks for `name`: its own, or a wildcard's.
    pub(crate) fn find(&self, name: &str) -> Option<TlsIdentity> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let table = self.table.load();
        let wild = || table.get(format!("*.{}", name.split_once('.')?.1).as_str());
        table.get(name).or_else(wild).cloned()
    }

    /// The challenge's certificate, if a client speaks ACME's protocol.
    pub(crate) fn challenge(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let mut spoken = hello.alpn()?;
        // A server that validates speaks nothing else (RFC 8737 section 3).
        let asks = spoken.next() == Some(ACME) && spoken.next().is_none();
        let name = hello.server_name().filter(|_| asks)?.to_ascii_lowercase();
        self.alpn_challenges.load().get(name.as_str()).cloned()
    }
}

#[derive(Debug)]
struct FixedCertificate(Arc<CertifiedKey>);

impl ResolvesServerCert for FixedCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// In the place of a certificate that is chosen later.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
