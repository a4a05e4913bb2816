//! Apps: created, scaled, configured and destroyed.
//!
//! [`locks`] tells which apps are being built or pushed to; [`formation`] and [`autoscale`] set how many dynos an app may
//! have; [`config_vars`], [`settings`] and [`domains`](crate::domains) are its owner's choices. Process types beside web
//! belong into [`formation`].

pub mod autoscale;
pub(crate) mod config_vars;
pub mod formation;
pub mod locks;
pub(crate) mod names;
pub mod settings;
pub mod usage;

use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_host::grid::DynoGrid;
use corundum_router::cache::Cache;
use corundum_router::metrics::MetricsRegistry;
use corundum_store::{AppRecord, Fault, HasFault, Store, StoreError};

use self::autoscale::Autoscaler;
use self::formation::DEFAULT_WEB;
use self::locks::AppLocks;
use self::usage::AppUsage;
use crate::data_dir::{DataDir, FileKind};
use crate::drains::LogDrains;
use crate::git::command::GitError;
use crate::git::intent::PushIntent;
use crate::git::repository;
use crate::logs::Logs;
use crate::processes::Processes;
use crate::releases::Releases;
use crate::routing::view::RouterView;
use crate::storage::live_files::LiveFiles;

/// An app that cannot be created or destroyed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    /// The store failed, has the name already, or does not have the app.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The repository cannot be made.
    #[error(transparent)]
    Repository(#[from] GitError),
    /// A build, change or deletion of the app is in progress.
    #[error("the app is being built: wait for the build, then try again")]
    Busy,
}

impl HasFault for AppError {
    fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
            Self::Repository(_) => Fault::Node,
            Self::Busy => Fault::Conflict,
        }
    }
}

/// The parts of a node that hold something of an app.
pub struct AppParts {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The data directory.
    pub data: Arc<DataDir>,
    /// The grid.
    pub grid: DynoGrid,
    /// The router's view of apps.
    pub view: Arc<RouterView>,
    /// The locks by app.
    pub locks: Arc<AppLocks>,
    /// The releases.
    pub releases: Arc<Releases>,
    /// The files in use.
    pub files: Arc<LiveFiles>,
    /// The apps' logs.
    pub logs: Arc<Logs>,
    /// The apps' metrics.
    pub metrics: Arc<MetricsRegistry>,
    /// The HTTP cache.
    pub cache: Arc<Cache>,
    /// The log drains.
    pub drains: Arc<LogDrains>,
    /// The autoscaler.
    pub autoscaler: Arc<Autoscaler>,
    /// The times of the last requests.
    pub usage: Arc<AppUsage>,
    /// The processes beside web.
    pub processes: Arc<Processes>,
}

/// Creates and destroys apps.
pub struct Apps(AppParts);

impl Apps {
    /// Creates the type from its parts.
    pub fn new(parts: AppParts) -> Self {
        Self(parts)
    }

    /// Creates an app and its repository. Without a name, one is made up.
    ///
    /// # Errors
    ///
    /// [`StoreError::Taken`] if the name is in use; [`AppError`].
    pub(crate) async fn create(&self, name: Option<AppName>) -> Result<AppRecord, AppError> {
        let parts = &self.0;
        let name = name.unwrap_or_else(names::random);
        let _building = parts.locks.begin_build(&name).ok_or(AppError::Busy)?;
        match parts.store.app(&name) {
            Ok(_) => return Err(StoreError::Taken(name).into()),
            Err(error) if error.fault() == Fault::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        // The repository is first: an app without one would be half an app, and the sweep finds a repository without an app.
        let leftover = parts.data.repository(&name);
        if leftover.exists() {
            // A node that was killed while it destroyed an app of this name.
            parts.files.discard(FileKind::Repository, &leftover);
        }
        // The data of another app of this name.
        let leftover = parts.data.volume(&name);
        if leftover.exists() {
            parts.files.discard(FileKind::Volume, &leftover);
        }
        let leftover = parts.data.volume_snapshots(&name);
        if leftover.exists() {
            parts.files.discard(FileKind::VolumeSnapshots, &leftover);
        }
        repository::init(&parts.data, &name).await?;
        let app = parts.store.create_app(&name, DEFAULT_WEB)?;
        parts.logs.open(&name);
        parts.grid.set_formation(&name, DEFAULT_WEB);
        parts.view.refresh(&name);
        tracing::info!(app = %name, "app created");
        Ok(app)
    }

    /// Destroys an app with everything that belongs to it.
    ///
    /// # Errors
    ///
    /// [`AppError::Busy`] while the app is being built; the store fails.
    pub(crate) fn destroy(&self, name: &AppName) -> Result<(), AppError> {
        let parts = &self.0;
        let _building = parts.locks.begin_build(name).ok_or(AppError::Busy)?;
        let drains = parts.store.drains(name)?;
        parts.releases.delete_app(name, || {
            drains.iter().for_each(|drain| parts.drains.stop(drain.id));
            parts.view.refresh(name);
            parts.processes.forget(name);
            parts.grid.remove(name);
            parts.view.forget_static_files(name);
            parts.logs.remove(name);
            parts.metrics.remove(name);
            parts.cache.remove_app(name);
            parts.autoscaler.forget(name);
            PushIntent::remove(&parts.data, name);
            parts.usage.forget(name);
        })?;
        tracing::info!(app = %name, "app destroyed");
        Ok(())
    }
}
