//! The node's own certificate, for the names that apps have under its domain: usually one for `*.DOMAIN`, whose files a
//! tool of the operator renews. The files are read again every few seconds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use corundum_router::tls::certificates::CertificateEntry;
use corundum_store::PrivateKey;

use super::chain::{self, ChainError};
use super::hosts::common;
use super::resolver::CertResolver;

/// Time after which changed files are noticed.
const POLL: Duration = Duration::from_secs(5);

/// Bytes of a file, more than any chain has.
const MAX_BYTES: u64 = 1 << 20;

/// The node's certificate cannot be served. The operator is at fault.
#[derive(Debug, thiserror::Error)]
pub enum DefaultCertError {
    /// A file cannot be read.
    #[error("{}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// A file is too long.
    #[error("{} is too long to be a certificate", .0.display())]
    Long(PathBuf),
    /// The chain or its key is invalid.
    #[error("{0}")]
    Chain(String),
    /// The certificate covers no app.
    #[error(
        "the certificate is for {names}, and none of these lies under {domain}: it should be for *.{domain}"
    )]
    Domain {
        /// The hosts that the certificate names.
        names: String,
        /// The node's domain.
        domain: String,
    },
}

impl From<ChainError> for DefaultCertError {
    fn from(error: ChainError) -> Self {
        Self::Chain(error.to_string())
    }
}

/// The files of the node's certificate, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultCertFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's key.
    pub key: PathBuf,
}

impl DefaultCertFiles {
    fn read(&self) -> Result<(String, String), DefaultCertError> {
        Ok((read(&self.certificate)?, read(&self.key)?))
    }
}

fn read(path: &Path) -> Result<String, DefaultCertError> {
    let failed = |cause| DefaultCertError::Read {
        path: path.to_owned(),
        cause,
    };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
        return Err(DefaultCertError::Long(path.to_owned()));
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// Serves the certificate in the files for the apps under `domain`.
///
/// # Errors
///
/// [`DefaultCertError`].
pub fn load(
    resolver: &CertResolver,
    domain: &str,
    files: &DefaultCertFiles,
) -> Result<(), DefaultCertError> {
    serve(resolver, domain, files.read()?)
}

fn serve(
    resolver: &CertResolver,
    domain: &str,
    (chain, key): (String, String),
) -> Result<(), DefaultCertError> {
    let chain = chain::validate(&chain, &PrivateKey::new(key))?;
    let hosts = common(&chain.names, &[format!("*.{domain}")]);
    if hosts.is_empty() {
        return Err(DefaultCertError::Domain {
            names: chain.names.join(", "),
            domain: domain.to_owned(),
        });
    }
    resolver.set_default(CertificateEntry {
        certificate: chain.certificate,
        app: None,
        hosts,
    });
    Ok(())
}

/// Serves changed files until the task is aborted. If they are invalid, the certificate of before stays.
pub async fn watch(resolver: Arc<CertResolver>, domain: String, files: DefaultCertFiles) {
    let mut last = files.read().ok();
    loop {
        tokio::time::sleep(POLL).await;
        let now = files.read().ok();
        if now == last {
            continue;
        }
        last.clone_from(&now);
        match now.map(|now| serve(&resolver, &domain, now)) {
            Some(Ok(())) => tracing::info!(domain, "default certificate renewed"),
            Some(Err(error)) => tracing::error!(%error, "could not use the default certificate"),
            None => tracing::error!("could not read the default certificate"),
        }
    }
}
