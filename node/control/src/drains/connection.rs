//! Connections to where drains lead: which addresses may be asked, and whose certificates are believed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::target::{Protocol, Target};

/// For a connection to be there, its TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// What the operator lets drains do.
#[derive(Clone)]
pub(crate) struct Policy {
    private: Private,
    tls: Arc<ClientConfig>,
}

/// Whether drains may lead to addresses that the world cannot reach: the node itself and its neighbours, where a drain
/// could be pointed at what trusts the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Private {
    /// They may.
    Allowed,
    /// They may not.
    Refused,
}

impl Policy {
    /// Believes the public certificate authorities, and those in the PEM file `ca`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or holds no certificate.
    pub(crate) fn new(private: Private, ca: Option<&std::path::Path>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(path) = ca {
            let named = || format!("--drain-ca {}", path.display());
            let pem = std::fs::read(path).with_context(named)?;
            let certificates = rustls::pki_types::CertificateDer::pem_slice_iter(&pem);
            let certificates = certificates
                .collect::<Result<Vec<_>, _>>()
                .with_context(named)?;
            if certificates.is_empty() {
                bail!("{} holds no certificate in PEM", path.display());
            }
            for certificate in certificates {
                roots.add(certificate).with_context(named)?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            private,
            tls: Arc::new(tls),
        })
    }

    pub(crate) async fn connect(&self, target: &Target) -> anyhow::Result<Box<dyn Stream>> {
        tokio::time::timeout(CONNECT, self.open(target))
            .await
            .context("it does not answer")?
    }

    async fn open(&self, target: &Target) -> anyhow::Result<Box<dyn Stream>> {
        let addresses = tokio::net::lookup_host((target.host.as_str(), target.port)).await?;
        // The addresses that were looked at are the ones that are asked: a second look could find others.
        let allowed =
            |address: &SocketAddr| self.private == Private::Allowed || is_public(address.ip());
        let addresses: Vec<SocketAddr> = addresses.filter(allowed).collect();
        if addresses.is_empty() {
            bail!(
                "it has only private addresses, which this node lets no drain lead to (--drain-private)"
            );
        }
        let stream = TcpStream::connect(addresses.as_slice()).await?;
        if target.protocol == Protocol::Syslog {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(target.host.clone())?;
        let stream = TlsConnector::from(self.tls.clone())
            .connect(name, stream)
            .await?;
        Ok(Box::new(stream))
    }
}

/// A connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// Whether an address is one of the world's, by the registries of special-purpose addresses (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (18..20).contains(&b))
                || (a, b, c) == (192, 0, 0))
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            // Of what is global unicast (2000::/3), the tunnels that may end anywhere are left out.
            (first & 0xe000) == 0x2000
                && first != 0x2002
                && !(first == 0x2001 && v6.segments()[1] < 0x200)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "2002:7f00::1",
            "64:ff9b::7f00:1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "93.184.216.34",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
