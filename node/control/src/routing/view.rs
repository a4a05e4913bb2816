//! The router's view of all apps, derived from the store and the grid.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_abi::names::{AppName, ReleaseVersion};
use corundum_host::grid::DynoGrid;
use corundum_router::files::StaticFiles;
use corundum_router::metrics::MetricsRegistry;
use corundum_router::virtual_host::VirtualHost;
use corundum_store::{SettingValues, Store, StoreError};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::error_pages;
use super::static_files::{self, StaticFilesError};
use super::virtual_hosts::{RoutedHost, SleepingHost, VirtualHosts};
use crate::app_urls::AppUrls;
use crate::apps::settings::catalog;
use crate::certs::hosts::host_names;
use crate::certs::resolver::CertResolver;
use crate::data_dir::DataDir;

/// Builds an app's virtual host and certificates from its records, its release and its static files.
///
/// [`refresh`](Self::refresh) is called after every change of an app that a virtual host or a handshake shows. An app
/// without requests sleeps: it has host names only, and the first request to it builds the rest.
pub struct RouterView {
    store: Arc<dyn Store>,
    data: Arc<DataDir>,
    grid: DynoGrid,
    urls: AppUrls,
    metrics: Arc<MetricsRegistry>,
    hosts: VirtualHosts,
    certs: Arc<CertResolver>,
    /// The release of each app that is awake, and its static files.
    static_files: Mutex<HashMap<AppName, ReleasedFiles>>,
    /// Keys the cache's content versions, differently in each process.
    content_keys: RandomState,
}

type ReleasedFiles = (ReleaseVersion, Option<Arc<StaticFiles>>);

/// The parts of a node that a [`RouterView`] is derived from.
pub struct RouterViewParts {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The data directory.
    pub data: Arc<DataDir>,
    /// The grid.
    pub grid: DynoGrid,
    /// The apps' URLs.
    pub urls: AppUrls,
    /// The apps' metrics.
    pub metrics: Arc<MetricsRegistry>,
    /// The certificates.
    pub certs: Arc<CertResolver>,
}

impl RouterView {
    /// Creates a view without apps.
    pub fn new(parts: RouterViewParts) -> Self {
        Self {
            store: parts.store,
            data: parts.data,
            grid: parts.grid,
            urls: parts.urls,
            metrics: parts.metrics,
            hosts: VirtualHosts::default(),
            certs: parts.certs,
            static_files: Mutex::default(),
            content_keys: RandomState::new(),
        }
    }

    /// Adds apps that sleep until the first request, and all certificates.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn add_sleeping<'a>(
        &self,
        apps: impl Iterator<Item = &'a AppName>,
    ) -> Result<(), StoreError> {
        let mut domains = self.store.all_domains()?;
        self.hosts.add_sleeping(apps.map(|app| {
            let domains = domains.remove(app).unwrap_or_default();
            let names = domains.iter().map(ToString::to_string);
            (app.clone(), names.chain([self.urls.host(app)]).collect())
        }));
        self.certs.refresh_all(&*self.store, &self.urls)
    }

    /// Lets an app without requests sleep again.
    pub(crate) fn put_to_sleep(&self, app: &AppName) {
        self.hosts.put_to_sleep(app);
        self.forget_static_files(app);
    }

    /// Serves an app as its records and the grid have it now, or no longer if the store does not have it.
    pub fn refresh(&self, app: &AppName) {
        let names = || host_names(&*self.store, &self.urls, app);
        let updated = self.hosts.update(app, names, || self.hosted(app));
        if let Err(error) = updated {
            tracing::error!(%app, %error, "could not refresh an app; serving it as before");
        }
        self.certs.refresh(&*self.store, &self.urls, app);
    }

    /// Returns the app that serves a host name (lower case, without a port).
    pub(crate) fn route(&self, host: &str) -> Option<Arc<VirtualHost>> {
        match self.hosts.route(host)? {
            RoutedHost::Awake(host) => Some(host),
            RoutedHost::Asleep(sleeping) => {
                // Reading the store and the slug takes a millisecond or more; other requests go on meanwhile.
                let wake = || self.wake(&sleeping);
                match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
                    Ok(RuntimeFlavor::MultiThread) => Some(tokio::task::block_in_place(wake)),
                    _ => Some(wake()),
                }
            }
        }
    }

    fn wake(&self, sleeping: &SleepingHost) -> Arc<VirtualHost> {
        let app = sleeping.app();
        let woken = self.hosts.wake(sleeping, || {
            self.open_static_files(app);
            self.hosted(app)
        });
        woken.unwrap_or_else(|error| {
            tracing::error!(%app, %error, "could not read an app");
            Arc::new(VirtualHost::counted(app.clone(), self.metrics.of(app)))
        })
    }

    /// Opens the static files of a release that is not loaded. A dyno would not know them.
    fn open_static_files(&self, app: &AppName) {
        if self.grid.release(app).is_some() {
            return;
        }
        let open = || {
            let Some(release) = self.store.current_release(app)? else {
                return Ok(());
            };
            let files = static_files::of_release(&*self.store, &self.data, app, &release)?;
            self.set_static_files(app, release.version, files);
            Ok::<_, StaticFilesError>(())
        };
        if let Err(error) = open() {
            tracing::warn!(%app, %error, "could not open static files");
        }
    }

    /// Returns the URL of an app with these settings.
    pub(crate) fn web_url(&self, app: &AppName, settings: &SettingValues) -> String {
        let redirect = self.urls.https.filter(|_| catalog::redirects(settings));
        self.urls.web(app, redirect)
    }

    /// Sets the static files of the release that an app is about to serve. They take effect with the next refresh. Those
    /// of an older release change nothing: a request may have opened them while a newer release was made.
    pub(crate) fn set_static_files(
        &self,
        app: &AppName,
        release: ReleaseVersion,
        files: Option<Arc<StaticFiles>>,
    ) {
        let mut all = self.static_files();
        match all.get(app) {
            Some((newer, _)) if *newer > release => {}
            _ => drop(all.insert(app.clone(), (release, files))),
        }
    }

    /// Forgets the static files of an app.
    pub(crate) fn forget_static_files(&self, app: &AppName) {
        self.static_files().remove(app);
    }

    fn hosted(&self, app: &AppName) -> Result<VirtualHost, StoreError> {
        self.store.app(app)?;
        let mut host = VirtualHost::counted(app.clone(), self.metrics.of(app));
        host.release = self.version(app)?;
        host.content_version = self.content_version(app, host.release)?;
        host.files = self
            .static_files()
            .get(app)
            .and_then(|(_, files)| files.clone());
        host.pages = error_pages::of(&self.store.config(app)?, host.files.as_deref());
        catalog::apply(&self.store.settings(app)?, self.urls.https, &mut host);
        Ok(host)
    }

    /// Returns the release that the next request gets: the loaded one, or the one that the request loads.
    fn version(&self, app: &AppName) -> Result<Option<ReleaseVersion>, StoreError> {
        if let Some(running) = self.grid.release(app) {
            return Ok(Some(running.version));
        }
        if !self.grid.expects_release(app) {
            return Ok(None);
        }
        let current = self.store.current_release(app)?;
        Ok(current.map(|release| release.version))
    }

    /// Returns the key under which the cache stores a release's responses. Releases of the same slug and config vars share
    /// it, so that a rollback finds its responses again.
    fn content_version(
        &self,
        app: &AppName,
        version: Option<ReleaseVersion>,
    ) -> Result<Option<u64>, StoreError> {
        let Some(version) = version else {
            return Ok(None);
        };
        let Some(release) = self.store.release(app, version)? else {
            return Ok(None);
        };
        let config = self.store.release_config(app, release.version)?;
        Ok(Some(
            self.content_keys.hash_one((release.slug.as_str(), config)),
        ))
    }

    fn static_files(&self) -> MutexGuard<'_, HashMap<AppName, ReleasedFiles>> {
        self.static_files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
