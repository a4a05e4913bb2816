//! The apps by the host names that they are served at, as the router looks them up.
//!
//! A table is made anew when something changes, and swapped in whole: a request reads it without a lock, and none is ever
//! routed by half a change. [`build`] is the one place where an app's release and settings become the router's [`VirtualHost`].

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arc_swap::ArcSwap;
use corundum_abi::names::AppName;
use corundum_router::virtual_host::VirtualHost;

use crate::apps::settings;
use crate::platform::Platform;
use crate::routing::pages;
use corundum_store::StoreError;

/// All apps by host name.
#[derive(Default)]
pub(crate) struct Sites {
    table: ArcSwap<Table>,
    /// Held while a table is made, so that none is made from what was true before another's change.
    changing: Mutex<()>,
}

#[derive(Clone, Default)]
struct Table {
    exact: HashMap<Arc<str>, Arc<VirtualHost>>,
    /// By what stands below `*.`.
    wildcards: HashMap<Arc<str>, Arc<VirtualHost>>,
}

impl Table {
    fn without(&self, app: &AppName) -> Self {
        let of_others = |hosts: &HashMap<Arc<str>, Arc<VirtualHost>>| {
            let others = hosts.iter().filter(|(_, site)| site.app != *app);
            others
                .map(|(host, site)| (host.clone(), site.clone()))
                .collect()
        };
        Self {
            exact: of_others(&self.exact),
            wildcards: of_others(&self.wildcards),
        }
    }

    fn add(&mut self, platform: &Platform, app: &AppName) -> Result<(), StoreError> {
        let site = Arc::new(build(platform, app)?);
        for domain in platform.store().domains(app)? {
            let (hosts, name) = match domain.hostname.wildcard() {
                None => (&mut self.exact, domain.hostname.as_str()),
                Some(below) => (&mut self.wildcards, below),
            };
            hosts.insert(name.into(), site.clone());
        }
        self.exact.insert(platform.own_host(app).into(), site);
        Ok(())
    }
}

impl Sites {
    /// The app that serves a host name (lower case, without a port). An exact name prevails over a wildcard, which stands
    /// for one label.
    pub(crate) fn route(&self, host: &str) -> Option<Arc<VirtualHost>> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let table = self.table.load();
        let wild = || table.wildcards.get(host.split_once('.')?.1);
        table.exact.get(host).or_else(wild).cloned()
    }

    /// Serves an app as the store and the grid have it now, or no more if the store has it no more.
    pub(crate) fn refresh(&self, platform: &Platform, app: &AppName) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = self.table.load().without(app);
        match table.add(platform, app) {
            Ok(()) | Err(StoreError::NoApp(_)) => self.table.store(Arc::new(table)),
            // It is served as before: better late than wrong.
            Err(error) => tracing::error!(%app, %error, "the app's settings"),
        }
    }
}

/// What the router needs to know of an app: its release, and its settings where they are set.
fn build(platform: &Platform, app: &AppName) -> Result<VirtualHost, StoreError> {
    platform.store().app(app)?;
    let mut site = VirtualHost::counted(app.clone(), platform.metrics().of(app));
    site.release = platform.grid().release(app).map(|release| release.version);
    site.content_version = content_version(platform, app)?;
    site.files = platform.files().of(app);
    site.pages = pages::of(&platform.store().config(app)?, site.files.as_deref());
    settings::apply(
        &platform.store().settings(app)?,
        platform.settings(),
        &mut site,
    );
    Ok(site)
}

/// What the release's responses are stored under: the same for releases of the same slug and config vars, so that a
/// rollback finds its responses again. It is told to nobody, and another in each run of the node.
fn content_version(platform: &Platform, app: &AppName) -> Result<Option<u64>, StoreError> {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let running = platform.grid().release(app).map(|release| release.version);
    let Some(version) = running else {
        return Ok(None);
    };
    let releases = platform.store().releases(app)?;
    let release = releases.iter().find(|release| release.version == version);
    let Some(release) = release else {
        return Ok(None);
    };
    let config = platform.store().release_config(app, version)?;
    Ok(Some(KEYS.hash_one((release.slug.as_str(), config))))
}
