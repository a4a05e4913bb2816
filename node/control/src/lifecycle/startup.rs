//! Loads all apps when the node starts.
//!
//! The node listens before: requests for an app whose image is still being loaded wait in its queue, and such apps are
//! loaded before those without requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corundum_host::grid::DynoGrid;
use corundum_store::{AppRecord, ReleaseRecord, Store, StoreError};
use tokio::task::JoinSet;

use crate::apps::autoscale::Autoscaler;
use crate::apps::locks::AppLocks;
use crate::data_dir::DataDir;
use crate::git::repository;
use crate::logs::Logs;
use crate::releases::Releases;
use crate::releases::error::ReleaseError;
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
    /// The releases.
    pub releases: Arc<Releases>,
    /// The files in use.
    pub files: Arc<LiveFiles>,
    /// Errors of the store so far, for readiness.
    pub errors: Mutex<Vec<String>>,
}

/// An app and the release that it is to run.
pub struct ExpectedApp {
    app: AppRecord,
    release: ReleaseRecord,
}

impl Startup {
    /// Announces all apps, whose requests then wait, and returns those that must be loaded.
    pub fn announce(&self) -> Vec<ExpectedApp> {
        let found = self.store.apps();
        for error in found.errors {
            self.add_error(&error);
        }
        let apps = found.apps.into_iter();
        apps.filter_map(|app| self.expect(app)).collect()
    }

    fn expect(&self, app: AppRecord) -> Option<ExpectedApp> {
        let name = &app.name;
        self.logs.open(name);
        repository::remove_quarantine(&self.data.repository(name));
        self.grid.set_formation(name, app.formation);
        self.autoscaler.load(name);
        let release = self.store.current_release(name).unwrap_or_else(|error| {
            self.add_error(&error);
            None
        });
        if let Some(release) = &release {
            self.grid.expect(name);
            if let Err(error) = self.releases.announce_static_files(name, release) {
                tracing::warn!(app = %name, %error, "could not announce static files");
            }
        }
        self.view.refresh(name);
        Some(ExpectedApp {
            release: release?,
            app,
        })
    }

    /// Loads the announced apps, a few at once, then sweeps the data directory. Returns the store's errors since the start.
    pub async fn load(self: Arc<Self>, mut expected: Vec<ExpectedApp>) -> Vec<String> {
        // Loading is mostly reading and checking an image, each on a thread of its own.
        let at_once = std::thread::available_parallelism().map_or(2, usize::from);
        let mut loads = JoinSet::new();
        loop {
            while loads.len() < at_once {
                let has_waiting_requests = |one: &ExpectedApp| {
                    let status = self.grid.app(&one.app.name);
                    status.is_some_and(|status| status.waiting > 0)
                };
                let index = expected.iter().position(has_waiting_requests).unwrap_or(0);
                if index >= expected.len() {
                    break;
                }
                loads.spawn(self.clone().load_one(expected.swap_remove(index)));
            }
            if loads.join_next().await.is_none() {
                break;
            }
        }
        let files = self.files.clone();
        let swept = tokio::task::spawn_blocking(move || files.sweep()).await;
        match swept {
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(SweepError::Store(error))) => self.add_error(&error),
            Ok(Err(error)) => tracing::error!(%error, "could not sweep the data directory"),
        }
        std::mem::take(&mut *self.errors())
    }

    fn add_error(&self, error: &StoreError) {
        tracing::error!(%error, "the store has an error");
        self.errors().push(error.to_string());
    }

    fn errors(&self) -> MutexGuard<'_, Vec<String>> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn load_one(self: Arc<Self>, ExpectedApp { app, release }: ExpectedApp) {
        let name = &app.name;
        // Without the lock, a push that comes meanwhile would be replaced by the older release.
        let _building = loop {
            match self.locks.begin_build(name) {
                Some(building) => break building,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        if self.grid.release(name).is_some() {
            return;
        }
        if let Err(error) = self.releases.load(name, release).await {
            if let ReleaseError::Store(error) = &error {
                self.add_error(error);
            }
            tracing::error!(app = %name, %error, "could not load an app");
            self.grid.give_up(name);
        }
        self.view.refresh(name);
    }
}
