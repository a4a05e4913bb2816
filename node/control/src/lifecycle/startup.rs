//! The start of a node: it announces all apps, and loads none.
//!
//! The node reads a few facts about all apps, each kind with one query, so that its start hardly takes longer for ten
//! thousand apps than for one. The first request to an app loads its release; see
//! [`loading`](crate::releases::loading).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_abi::names::{AppName, ProcessType};
use corundum_host::grid::DynoGrid;
use corundum_pack::language::LanguageSeries;
use corundum_store::{Store, StoreError};

use crate::apps::autoscale::Autoscaler;
use crate::apps::locks::AppLocks;
use crate::apps::usage::AppUsage;
use crate::data_dir::DataDir;
use crate::logs::Logs;
use crate::packs::cache::PackCache;
use crate::routing::view::RouterView;
use crate::storage::live_files::{LiveFiles, SweepError};

/// The parts of a node that know its apps from the start.
pub struct Startup {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The data directory.
    pub data: Arc<DataDir>,
    /// The grid.
    pub grid: DynoGrid,
    /// The router's view of apps.
    pub view: Arc<RouterView>,
    /// The apps' logs.
    pub logs: Arc<Logs>,
    /// The locks by app.
    pub locks: Arc<AppLocks>,
    /// The autoscaler.
    pub autoscaler: Arc<Autoscaler>,
    /// The files in use.
    pub files: Arc<LiveFiles>,
    /// The open packs.
    pub packs: Arc<PackCache>,
    /// The times of the last requests.
    pub usage: Arc<AppUsage>,
    /// Errors of the store so far, for readiness.
    pub errors: Mutex<Vec<String>>,
}

impl Startup {
    /// Announces all apps that can be read. Requests to them are served from then on.
    pub fn announce(&self) {
        let found = self.store.app_outlines();
        for error in &found.errors {
            self.add_error(error);
        }
        let apps = found.apps;
        self.logs.open_all(apps.iter().map(|app| &app.name));
        for app in &apps {
            self.grid.set_formation(&app.name, app.formation);
            if app.has_release {
                self.grid.expect(&app.name);
            }
        }
        match self.store.all_process_scales() {
            Ok(scales) => {
                for (app, scales) in scales {
                    if let Some(web) = scales.get(&ProcessType::web()) {
                        self.grid.set_web_memory(&app, web.size.memory());
                    }
                }
            }
            Err(error) => self.add_error(&error),
        }
        self.usage.load(&apps);
        let announced = self
            .autoscaler
            .load_all()
            .and_then(|()| self.view.add_sleeping(apps.iter().map(|app| &app.name)));
        if let Err(error) = announced {
            self.add_error(&error);
        }
    }

    /// Opens the packs of all apps, so that no request waits for one.
    pub async fn open_packs(&self) {
        let releases = match self.store.current_releases() {
            Ok(found) => {
                found.errors.iter().for_each(|error| self.add_error(error));
                found.releases
            }
            Err(error) => return self.add_error(&error),
        };
        let releases = releases.into_values();
        let series: BTreeSet<LanguageSeries> =
            releases.map(|release| release.about.runtime).collect();
        for series in series {
            let opened = match self.packs.key(&series) {
                Ok(key) => self.packs.get(&key).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = opened {
                tracing::error!(%series, %error, "could not open a pack");
            }
        }
    }

    /// Sweeps the data directory. Returns the store's errors since the start.
    pub async fn check(&self) -> Vec<String> {
        let files = self.files.clone();
        let swept = tokio::task::spawn_blocking(move || files.sweep()).await;
        match swept {
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(SweepError::Store(error))) => self.add_error(&error),
            Ok(Err(error)) => tracing::error!(%error, "could not sweep the data directory"),
        }
        std::mem::take(&mut *self.errors())
    }

    /// Removes the objects that killed pushes have left in all repositories. Blocks.
    pub fn remove_quarantines(&self) {
        for app in self.store.apps().apps {
            if self.data.is_handed_over() {
                return;
            }
            self.remove_quarantine(&app.name);
        }
    }

    /// Removes what killed pushes have left, as the end of a push does. Running pushes keep their objects.
    fn remove_quarantine(&self, app: &AppName) {
        drop(self.locks.begin_receiving(app, self.data.repository(app)));
    }

    fn add_error(&self, error: &StoreError) {
        tracing::error!(%error, "the store has an error");
        self.errors().push(error.to_string());
    }

    fn errors(&self) -> MutexGuard<'_, Vec<String>> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
