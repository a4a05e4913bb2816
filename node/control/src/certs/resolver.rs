//! The certificates from which TLS handshakes choose, by app.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_abi::names::AppName;
use corundum_router::tls::certificates::{CertificateEntry, Certificates};
use corundum_store::{Store, StoreError};

use super::chain;
use super::hosts::{common, host_names};
use crate::app_urls::AppUrls;

/// Keeps the router's certificates in step with the apps' and the node's own.
pub struct CertResolver {
    certificates: Arc<Certificates>,
    entries: Mutex<CertEntries>,
}

#[derive(Default)]
struct CertEntries {
    /// The node's own certificate. Those of apps prevail over it.
    default: Option<CertificateEntry>,
    by_app: HashMap<AppName, Vec<CertificateEntry>>,
}

impl CertResolver {
    /// Creates a resolver without certificates.
    ///
    /// # Errors
    ///
    /// The certificate for unknown hosts cannot be made.
    pub fn new() -> Result<Self, rustls::Error> {
        Ok(Self {
            certificates: Arc::new(Certificates::new()?),
            entries: Mutex::default(),
        })
    }

    /// Returns the certificates from which handshakes choose.
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Replaces the node's own certificate.
    pub(crate) fn set_default(&self, entry: CertificateEntry) {
        let mut entries = self.entries();
        entries.default = Some(entry);
        self.replace(&entries);
    }

    /// Returns whether the node's own certificate covers a host.
    pub(crate) fn default_covers(&self, host: &str) -> bool {
        let entries = self.entries();
        let hosts = entries.default.iter().flat_map(|entry| &entry.hosts);
        let names: Vec<String> = hosts.map(ToString::to_string).collect();
        !common(&names, &[host.to_owned()]).is_empty()
    }

    /// Serves all apps' certificates as the store has them now.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn refresh_all(&self, store: &dyn Store, urls: &AppUrls) -> Result<(), StoreError> {
        let mut entries = self.entries();
        for app in store.apps_with_certs()? {
            let of_app = entries_of(store, urls, &app)?;
            entries.by_app.insert(app, of_app);
        }
        self.replace(&entries);
        Ok(())
    }

    /// Serves an app's certificates as the store has them now. If they cannot be read, those of before stay.
    pub(crate) fn refresh(&self, store: &dyn Store, urls: &AppUrls, app: &AppName) {
        let mut entries = self.entries();
        let of_app = match entries_of(store, urls, app) {
            Ok(of_app) => of_app,
            Err(error) => {
                return tracing::error!(%app, %error, "could not read an app's certificates");
            }
        };
        let has = !of_app.is_empty();
        let had = if has {
            entries.by_app.insert(app.clone(), of_app).is_some()
        } else {
            entries.by_app.remove(app).is_some()
        };
        if has || had {
            self.replace(&entries);
        }
    }

    fn replace(&self, entries: &CertEntries) {
        let of_apps = entries.by_app.values().flatten();
        let all = entries.default.iter().chain(of_apps).cloned();
        self.certificates.replace(all);
    }

    fn entries(&self) -> MutexGuard<'_, CertEntries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns an app's certificates, the preferred ones last: valid before expired, added before automatic, and the one that
/// expires later.
fn entries_of(
    store: &dyn Store,
    urls: &AppUrls,
    app: &AppName,
) -> Result<Vec<CertificateEntry>, StoreError> {
    let now = jiff::Timestamp::now();
    let hosts = host_names(store, urls, app)?;
    let mut entries = Vec::new();
    for record in store.certs(app)? {
        match chain::read(&record.chain, &record.key) {
            Ok(chain) => {
                let ends = chain.facts.ends;
                let entry = CertificateEntry {
                    certificate: chain.certificate,
                    app: Some(app.clone()),
                    hosts: common(&chain.names, &hosts),
                };
                entries.push(((ends > now, record.origin, ends), entry));
            }
            Err(error) => {
                tracing::error!(%app, certificate = record.name, %error, "could not use a certificate");
            }
        }
    }
    entries.sort_by_key(|(rank, _)| *rank);
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}
