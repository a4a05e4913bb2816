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

/// ALPN protocols of a connection in order of preference.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// ALPN protocol of an ACME server that validates a TLS-ALPN-01 challenge (RFC 8737 section 6.2).
const ACME: &[u8] = b"acme-tls/1";

/// A certificate chain with its private key.
#[derive(Debug, Clone)]
pub struct Certificate(Arc<CertifiedKey>);

impl Certificate {
    /// Loads a chain, which begins with the end-entity certificate, and its key.
    ///
    /// # Errors
    ///
    /// The key has an unknown form, is too short, or belongs to another certificate.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
        Ok(Self(Arc::new(key)))
    }

    /// Loads the certificate of a TLS-ALPN-01 challenge (RFC 8737 section 3). It is not checked, since its critical
    /// extension is known to ACME servers only.
    ///
    /// # Errors
    ///
    /// The key has an unknown form.
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

/// A certificate and the hosts that it is presented for: those of its names that route to one app, in lower case.
/// `*.example` stands for one label.
#[derive(Debug, Clone)]
pub struct CertificateEntry {
    /// The certificate to present.
    pub certificate: Certificate,
    /// The app that owns the certificate; connections with it reach no other app. `None` if it serves every app that
    /// has one of the hosts.
    pub app: Option<AppName>,
    /// The hosts that requests on such a connection may name.
    pub hosts: Vec<Box<str>>,
}

/// The configuration and the hosts of one certificate.
#[derive(Clone)]
pub(crate) struct TlsIdentity {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) hosts: AllowedHosts,
}

/// All certificates by host. Handshakes look them up without a lock; established connections keep the certificate that
/// they began with.
pub struct Certificates {
    table: ArcSwap<HashMap<Box<str>, TlsIdentity>>,
    /// Configurations for TLS-ALPN-01 challenges (RFC 8737) by name.
    alpn_challenges: ArcSwap<HashMap<Box<str>, Arc<ServerConfig>>>,
    /// Settings that all certificates share: protocols, tickets and sessions. A ticket is valid only for the name that
    /// it was issued for.
    common: ServerConfig,
}

impl Certificates {
    /// Creates an empty table, which refuses every handshake.
    ///
    /// # Errors
    ///
    /// The system returns no random bytes.
    pub fn new() -> Result<Self, rustls::Error> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let mut common = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(NoCertificate));
        common.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // Tickets store sessions on the client's side, so that a resumption needs no signature and no memory here.
        common.ticketer = ring::Ticketer::new()?;
        Ok(Self {
            table: ArcSwap::default(),
            alpn_challenges: ArcSwap::default(),
            common,
        })
    }

    /// Replaces the table for new handshakes. If two entries have the same host, the later one is presented.
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

    /// Presents a certificate to ACME servers that validate `name`, until [`remove_challenge`](Self::remove_challenge)
    /// is called.
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

    /// Stops presenting a certificate to ACME servers that validate `name`.
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

    /// Returns the certificate for a client that asks for `name`: an exact match, or a wildcard.
    pub(crate) fn find(&self, name: &str) -> Option<TlsIdentity> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let table = self.table.load();
        let wild = || table.get(format!("*.{}", name.split_once('.')?.1).as_str());
        table.get(name).or_else(wild).cloned()
    }

    /// Returns the challenge's configuration if the client is an ACME server that validates.
    pub(crate) fn challenge(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let mut spoken = hello.alpn()?;
        // Such a server offers no other protocol (RFC 8737 section 3).
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

/// Placeholder for the certificate that a handshake chooses later.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
