//! Loads the releases that requests want, and unloads those that were used longest ago when there are too many.
//!
//! At the start of a node no release is loaded. An app without requests costs a name in a table; the first request to
//! it opens its slug and its image.

use std::sync::Arc;
use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_host::grid::DynoGrid;
use corundum_host::image::ImageError;
use corundum_host::image::cache::ImageCache;
use corundum_store::Store;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::Releases;
use super::error::ReleaseError;
use crate::apps::usage::AppUsage;
use crate::routing::view::RouterView;

/// Most loaded releases. Each takes some of the kernel's mappings, of which a process has 65,530 by default.
const MAX_LOADED: usize = 1000;
/// Most apps that are loaded before their first request.
const MAX_PRELOADED: usize = 500;
/// Apps that are loaded at once before their first request.
const PRELOADS: usize = 4;
/// Apps that are unloaded for one for which the node has no room.
const MAKE_ROOM: usize = 16;
/// Time between two looks at the loaded releases.
const CHECK: Duration = Duration::from_secs(10);

/// The parts of a node that load and unload releases.
pub struct ReleaseLoader {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The grid.
    pub grid: DynoGrid,
    /// The releases.
    pub releases: Arc<Releases>,
    /// The router's view of apps.
    pub view: Arc<RouterView>,
    /// The full files of images.
    pub images: Arc<ImageCache>,
    /// The times of the last requests.
    pub usage: Arc<AppUsage>,
}

impl ReleaseLoader {
    /// Loads the releases that the grid wants, until the grid ends. At most `max_loaded` stay loaded without dynos: each
    /// has an open file.
    ///
    /// Each app has at most one task. Opening images and booting apps are bounded where they happen.
    pub async fn run(self: Arc<Self>, mut wanted: UnboundedReceiver<AppName>, max_loaded: usize) {
        let max_loaded = max_loaded.min(MAX_LOADED);
        let mut check = tokio::time::interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let app = tokio::select! {
                app = wanted.recv() => match app {
                    Some(app) => app,
                    None => return,
                },
                // Apps whose dynos have ended can be unloaded now.
                _ = check.tick() => {
                    self.unload_excess(max_loaded);
                    continue;
                }
            };
            let loader = self.clone();
            tokio::spawn(async move {
                loader.load(&app).await;
                loader.unload_excess(max_loaded);
            });
        }
    }

    async fn load(&self, app: &AppName) {
        let loaded = match self.store.current_release(app) {
            Ok(Some(release)) => {
                let mut loaded = self.releases.load(app, &release).await;
                if matches!(&loaded, Err(ReleaseError::Image(ImageError::Full { .. }))) {
                    self.unload_unused(MAKE_ROOM);
                    loaded = self.releases.load(app, &release).await;
                }
                loaded.map(|()| self.releases.is_outdated(&release))
            }
            Ok(None) => return self.grid.give_up(app),
            Err(error) => Err(error.into()),
        };
        match loaded {
            // The app serves from the image that it has until the one for the best pack is there.
            Ok(true) => self.releases.upgrade(app).await,
            Ok(false) => tracing::debug!(%app, "release loaded"),
            Err(error) => {
                tracing::error!(%app, %error, "could not load an app");
                self.grid.give_up(app);
            }
        }
    }

    /// Loads apps whose images are prepared before their first request.
    ///
    /// A failure costs nothing: the first request tries again.
    pub async fn preload(self: &Arc<Self>, apps: &[AppName]) {
        let mut loads = JoinSet::new();
        for app in apps.iter().take(MAX_PRELOADED) {
            if loads.len() >= PRELOADS {
                let _ = loads.join_next().await;
            }
            let (loader, app) = (self.clone(), app.clone());
            loads.spawn(async move {
                if let Ok(Some(release)) = loader.store.current_release(&app)
                    && let Err(error) = loader.releases.load(&app, &release).await
                {
                    tracing::warn!(%app, %error, "could not load an app before its first request");
                }
            });
        }
        while loads.join_next().await.is_some() {}
    }

    /// Unloads `count` apps without dynos, those that were used longest ago.
    fn unload_unused(&self, count: usize) {
        let mut loaded = self.grid.loaded();
        self.usage.sort_by_last_use(&mut loaded);
        let unloaded = loaded.iter().filter(|app| self.unload(app));
        tracing::debug!(unloaded = unloaded.take(count).count(), "apps unloaded");
    }

    fn unload(&self, app: &AppName) -> bool {
        let is_unloaded = self.grid.unload(app);
        if is_unloaded {
            self.view.put_to_sleep(app);
        }
        is_unloaded
    }

    /// Unloads the apps without dynos that were used longest ago, while the loaded releases or their images are too many.
    fn unload_excess(&self, max_loaded: usize) {
        let is_excess = |loaded: usize| loaded > max_loaded || !self.images.trim();
        let mut loaded = self.grid.loaded();
        if !is_excess(loaded.len()) {
            return;
        }
        self.usage.sort_by_last_use(&mut loaded);
        let mut left = loaded.len();
        for app in loaded {
            if !is_excess(left) {
                return;
            }
            if self.unload(&app) {
                left -= 1;
            }
        }
    }
}
