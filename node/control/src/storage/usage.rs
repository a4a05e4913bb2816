//! The disk that apps take, and their quota.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_store::{Store, StoreError};

use super::trash::disk_bytes;
use crate::data_dir::DataDir;

/// The default quota of an app, in bytes.
pub const DEFAULT_QUOTA: u64 = 10 << 30;

/// The disk that an app takes, in bytes. A slug that several apps use counts for each.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AppDiskUsage {
    /// The releases in the store.
    pub(crate) releases: u64,
    /// The repository.
    pub(crate) repository: u64,
    /// The slugs of all releases.
    pub(crate) slugs: u64,
    /// The image of the current release.
    pub(crate) image: u64,
}

impl AppDiskUsage {
    /// Returns the bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.repository + self.slugs + self.image
    }
}

/// A usage that cannot be told, or that exceeds the quota.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    /// The app takes too much.
    #[error(
        "{app} takes {} MB of disk, and may take {} MB. Remove old releases, then push again:\n corundum storage:prune --app {app} --keep 3\nIf that is not enough, the operator may raise --app-quota.",
        used.div_ceil(1 << 20), quota >> 20
    )]
    Quota {
        /// The app.
        app: AppName,
        /// The bytes that it takes, or would take.
        used: u64,
        /// The bytes that it may take.
        quota: u64,
    },
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data directory cannot be read.
    #[error("data directory: {0}")]
    Io(#[from] io::Error),
    /// The node is shutting down.
    #[error("the disk of the app could not be measured: the node is shutting down")]
    Interrupted,
}

/// Measures apps, and holds them to their quota.
#[derive(Clone)]
pub struct DiskUsage {
    store: Arc<dyn Store>,
    data: Arc<DataDir>,
    quota: u64,
}

impl DiskUsage {
    /// Creates the type. An app may take `quota` bytes; 0 means any number.
    pub fn new(store: Arc<dyn Store>, data: Arc<DataDir>, quota: u64) -> Self {
        Self { store, data, quota }
    }

    /// Returns the bytes that an app may take, if they are limited.
    pub(crate) fn quota(&self) -> Option<u64> {
        (self.quota > 0).then_some(self.quota)
    }

    /// Measures an app. Blocks.
    ///
    /// # Errors
    ///
    /// The store or the data directory cannot be read.
    pub(crate) fn of_app(&self, app: &AppName) -> Result<AppDiskUsage, UsageError> {
        let releases = self.store.releases(app)?;
        let mut usage = AppDiskUsage {
            releases: releases.len() as u64,
            repository: disk_bytes(&self.data.repository(app))?,
            ..AppDiskUsage::default()
        };
        if let Some(current) = releases.first() {
            usage.image = disk_bytes(&self.data.image(&current.image))?;
        }
        let slugs: HashSet<_> = releases.iter().map(|release| &release.slug).collect();
        for slug in slugs {
            usage.slugs += disk_bytes(&self.data.slug(slug))?;
        }
        Ok(usage)
    }

    /// Checks that an app with `more` bytes is within its quota.
    ///
    /// # Errors
    ///
    /// [`UsageError::Quota`]; [`UsageError`].
    pub(crate) async fn check(&self, app: &AppName, more: u64) -> Result<(), UsageError> {
        let Some(quota) = self.quota() else {
            return Ok(());
        };
        let (usage, app) = (self.clone(), app.clone());
        let measured = tokio::task::spawn_blocking(move || match usage.of_app(&app) {
            // A push repairs an app whose current record is damaged.
            Err(UsageError::Store(StoreError::UnreadableRelease { .. })) => Ok(()),
            Err(error) => Err(error),
            Ok(measured) => match measured.bytes() + more {
                used if used > quota => Err(UsageError::Quota { app, used, quota }),
                _ => Ok(()),
            },
        });
        measured.await.map_err(|_| UsageError::Interrupted)?
    }
}
