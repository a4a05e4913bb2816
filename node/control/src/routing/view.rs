//! The router's view of all apps, derived from the store and the grid.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_abi::names::AppName;
use corundum_host::grid::DynoGrid;
use corundum_router::files::StaticFiles;
use corundum_router::metrics::MetricsRegistry;
use corundum_router::virtual_host::VirtualHost;
use corundum_store::{Store, StoreError};

use super::error_pages;
use super::virtual_hosts::{HostedApp, VirtualHosts};
use crate::app_urls::AppUrls;
use crate::apps::settings::catalog;
use crate::certs::hosts::host_names;
use crate::certs::resolver::CertResolver;

/// Builds an app's virtual host and certificates from its records, its release and its static files.
///
/// [`refresh`](Self::refresh) is called after every change of an app that a virtual host or a handshake shows.
pub struct RouterView {
    store: Arc<dyn Store>,
    grid: DynoGrid,
    urls: AppUrls,
    metrics: Arc<MetricsRegistry>,
    hosts: VirtualHosts,
    certs: Arc<CertResolver>,
    /// The static files of each app's current release.
    static_files: Mutex<HashMap<AppName, Arc<StaticFiles>>>,
    /// Keys the cache's content versions, differently in each process.
    content_keys: RandomState,
}

impl RouterView {
    /// Creates a view without apps.
    pub fn new(
        store: Arc<dyn Store>,
        grid: DynoGrid,
        urls: AppUrls,
        metrics: Arc<MetricsRegistry>,
        certs: Arc<CertResolver>,
    ) -> Self {
        Self {
            store,
            grid,
            urls,
            metrics,
            hosts: VirtualHosts::default(),
            certs,
            static_files: Mutex::default(),
            content_keys: RandomState::new(),
        }
    }

    /// Serves an app as its records and the grid have it now, or no longer if the store does not have it.
    pub fn refresh(&self, app: &AppName) {
        let updated = self.hosts.update(app, || match self.hosted(app) {
            Ok(hosted) => Ok(Some(hosted)),
            Err(StoreError::NoApp(_)) => Ok(None),
            Err(error) => Err(error),
        });
        if let Err(error) = updated {
            tracing::error!(%app, %error, "could not refresh an app; serving it as before");
        }
        self.certs.refresh(&*self.store, &self.urls, app);
    }

    /// Returns the app that serves a host name (lower case, without a port).
    pub(crate) fn route(&self, host: &str) -> Option<Arc<VirtualHost>> {
        self.hosts.route(host)
    }

    /// Returns the URL of an app.
    pub(crate) fn web_url(&self, app: &AppName) -> String {
        let host = self.hosts.route(&self.urls.host(app));
        self.urls
            .web(app, host.and_then(|host| host.https.redirect))
    }

    /// Sets the static files of the release that an app is about to serve. They take effect with the next refresh.
    pub(crate) fn set_static_files(&self, app: &AppName, files: Option<Arc<StaticFiles>>) {
        match files {
            Some(files) => self.static_files().insert(app.clone(), files),
            None => self.static_files().remove(app),
        };
    }

    fn hosted(&self, app: &AppName) -> Result<HostedApp, StoreError> {
        self.store.app(app)?;
        let mut host = VirtualHost::counted(app.clone(), self.metrics.of(app));
        host.release = self.grid.release(app).map(|release| release.version);
        host.content_version = self.content_version(app)?;
        host.files = self.static_files().get(app).cloned();
        host.pages = error_pages::of(&self.store.config(app)?, host.files.as_deref());
        catalog::apply(&self.store.settings(app)?, self.urls.https, &mut host);
        let names = host_names(&*self.store, &self.urls, app)?;
        Ok(HostedApp { host, names })
    }

    /// Returns the key under which the cache stores a release's responses. Releases of the same slug and config vars share
    /// it, so that a rollback finds its responses again.
    fn content_version(&self, app: &AppName) -> Result<Option<u64>, StoreError> {
        let Some(running) = self.grid.release(app) else {
            return Ok(None);
        };
        let Some(release) = self.store.release(app, running.version)? else {
            return Ok(None);
        };
        let config = self.store.release_config(app, release.version)?;
        Ok(Some(
            self.content_keys.hash_one((release.slug.as_str(), config)),
        ))
    }

    fn static_files(&self) -> MutexGuard<'_, HashMap<AppName, Arc<StaticFiles>>> {
        self.static_files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
