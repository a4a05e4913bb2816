//! The node's own certificate, for the names that apps have under its domain: usually one for `*.DOMAIN`, whose files a
//! tool of the operator's renews. They are looked at again every few seconds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use corundum_router::tls::certificates::CertificateEntry;

use super::{chain, resolver};
use crate::platform::Platform;
use corundum_store::PrivateKey;

/// How soon another certificate in the files is noticed.
const LOOK: Duration = Duration::from_secs(5);

/// Bytes of a file: more than any chain has.
const LONGEST: u64 = 1 << 20;

/// Files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The chain, the certificate itself first.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Files {
    fn read(&self) -> anyhow::Result<(String, String)> {
        Ok((read(&self.certificate)?, read(&self.key)?))
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let shown = || path.display().to_string();
    let length = std::fs::metadata(path).with_context(shown)?.len();
    ensure!(
        length <= LONGEST,
        "{} is too long to be a certificate",
        shown()
    );
    std::fs::read_to_string(path).with_context(shown)
}

/// Shows what the files hold, for the apps under `domain`.
///
/// # Errors
///
/// What is wrong with them.
pub(crate) fn load(platform: &Platform, files: &Files) -> anyhow::Result<()> {
    show(platform, files.read()?).with_context(|| {
        let [certificate, key] = [files.certificate.display(), files.key.display()];
        format!("--https-cert {certificate} --https-key {key}")
    })
}

fn show(platform: &Platform, (chain, key): (String, String)) -> anyhow::Result<()> {
    let checked = chain::check(&chain, &PrivateKey::new(key))?;
    let domain = &platform.settings().domain;
    let hosts = resolver::hosts(&checked.names, &[format!("*.{domain}")]);
    ensure!(
        !hosts.is_empty(),
        "the certificate is for {}, and none of that lies under {domain}: it should be for *.{domain}",
        checked.names.join(", ")
    );
    platform.shown().set_of_node(CertificateEntry {
        certificate: checked.certificate,
        app: None,
        hosts,
    });
    Ok(())
}

/// Shows what the files come to hold, until the task is ended. Where that cannot be shown, the old one stays.
pub(crate) async fn watch(platform: Arc<Platform>, files: Files) {
    let mut last = files.read().ok();
    loop {
        tokio::time::sleep(LOOK).await;
        let now = files.read().ok();
        if now == last {
            continue;
        }
        last.clone_from(&now);
        match now.map(|now| show(&platform, now)) {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::error!(error = format!("{error:#}"), "the node's certificate")
            }
            None => tracing::error!("the node's certificate cannot be read any longer"),
        }
    }
}
