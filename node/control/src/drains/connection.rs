//! Connections to drains' targets: the addresses that are allowed, and the certificates that are trusted.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use corundum_abi::public_address::is_public;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::target::{DrainProtocol, DrainTarget};

/// The time for a connection to be established, including TLS.
const CONNECT: Duration = Duration::from_secs(10);

/// The operator's rules for all drains.
#[derive(Clone)]
pub struct DrainPolicy {
    private: PrivateTargets,
    tls: Arc<ClientConfig>,
}

/// The rule for addresses that are not public: those of the node itself and of its neighbours, which may trust connections
/// from the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivateTargets {
    /// Drains may connect to any address.
    Allowed,
    /// Drains connect to public addresses only.
    Refused,
}

/// The certificate authorities for drains cannot be used. The operator is at fault.
#[derive(Debug, thiserror::Error)]
pub enum DrainPolicyError {
    /// The file cannot be read.
    #[error("--drain-ca {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// The file is not valid PEM.
    #[error("--drain-ca {}: {cause}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: rustls::pki_types::pem::Error,
    },
    /// The file has no certificate.
    #[error("{} holds no certificate in PEM", .0.display())]
    Empty(PathBuf),
    /// A certificate is invalid, or TLS cannot be set up.
    #[error("--drain-ca: {0}")]
    Tls(#[from] rustls::Error),
}

impl DrainPolicy {
    /// Creates a policy that trusts the public certificate authorities and those in the PEM file `ca`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or holds no certificate.
    pub fn new(private: PrivateTargets, ca: Option<&Path>) -> Result<Self, DrainPolicyError> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(path) = ca {
            let pem = std::fs::read(path).map_err(|cause| DrainPolicyError::Read {
                path: path.to_owned(),
                cause,
            })?;
            let certificates = rustls::pki_types::CertificateDer::pem_slice_iter(&pem);
            let certificates = certificates.collect::<Result<Vec<_>, _>>();
            let certificates = certificates.map_err(|cause| DrainPolicyError::Pem {
                path: path.to_owned(),
                cause,
            })?;
            if certificates.is_empty() {
                return Err(DrainPolicyError::Empty(path.to_owned()));
            }
            for certificate in certificates {
                roots.add(certificate)?;
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

    /// Connects to a target, with TLS if its protocol asks for it.
    pub(super) async fn connect(
        &self,
        target: &DrainTarget,
    ) -> anyhow::Result<Box<dyn DrainStream>> {
        tokio::time::timeout(CONNECT, self.open(target))
            .await
            .context("the target does not answer")?
    }

    async fn open(&self, target: &DrainTarget) -> anyhow::Result<Box<dyn DrainStream>> {
        let addresses = tokio::net::lookup_host((target.host.as_str(), target.port)).await?;
        // The node connects to the addresses that it has checked: a second lookup could return others.
        let allowed = |address: &SocketAddr| {
            self.private == PrivateTargets::Allowed || is_public(address.ip())
        };
        let addresses: Vec<SocketAddr> = addresses.filter(allowed).collect();
        if addresses.is_empty() {
            bail!(
                "the target has only private addresses, which this node does not let drains connect to (--drain-private)"
            );
        }
        let stream = TcpStream::connect(addresses.as_slice()).await?;
        if target.protocol == DrainProtocol::Syslog {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(target.host.clone())?;
        let stream = TlsConnector::from(self.tls.clone())
            .connect(name, stream)
            .await?;
        Ok(Box::new(stream))
    }
}

/// A connection to a target.
pub(super) trait DrainStream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> DrainStream for T {}
