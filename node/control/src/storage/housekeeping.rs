//! Background work on the data directory: collection of repositories after pushes, compression of images,
//! retention, the sweep, removal of unused parts of the cache.

use std::sync::Arc;
use std::time::Duration;

use super::live_files::{LiveFiles, SweepError};
use super::retention::Retention;
use crate::apps::locks::AppLocks;
use crate::data_dir::DataDir;
use crate::git::collection;
use crate::packs::pruning::CachePruning;
use crate::releases::compaction::ImageCompaction;

/// The time between two looks for repositories that were pushed to.
const COLLECTION: Duration = Duration::from_secs(60);
/// The time between two sweeps, in units of [`COLLECTION`].
const ROUNDS: u32 = 60;
/// The time between two looks for images to compress, in units of [`COLLECTION`].
const COMPACTION: u32 = 10;

/// The background work on a data directory.
pub struct Housekeeping {
    data: Arc<DataDir>,
    locks: Arc<AppLocks>,
    files: Arc<LiveFiles>,
    retention: Arc<Retention>,
    images: ImageCompaction,
    cache: CachePruning,
}

impl Housekeeping {
    /// Creates the type; [`run`](Self::run) does the work.
    pub fn new(
        data: Arc<DataDir>,
        locks: Arc<AppLocks>,
        files: Arc<LiveFiles>,
        retention: Arc<Retention>,
        images: ImageCompaction,
        cache: CachePruning,
    ) -> Self {
        Self {
            data,
            locks,
            files,
            retention,
            images,
            cache,
        }
    }

    /// Works until the task is aborted. The start of the node has swept already.
    pub(crate) async fn run(self: Arc<Self>) {
        self.apply_retention();
        let mut pruned = None;
        loop {
            for round in 0..ROUNDS {
                tokio::time::sleep(COLLECTION).await;
                if round % COMPACTION == 0 {
                    self.images.run().await;
                }
                for app in self.locks.take_pushed() {
                    if let Err(error) = collection::collect(&self.data, &self.locks, &app).await {
                        tracing::warn!(%app, %error, "could not collect a repository");
                    }
                }
            }
            self.apply_retention();
            pruned = self.cache.run(pruned).await;
            let files = self.files.clone();
            match tokio::task::spawn_blocking(move || files.sweep()).await {
                Ok(Ok(_)) | Err(_) | Ok(Err(SweepError::HandedOver)) => {}
                Ok(Err(error)) => tracing::error!(%error, "could not sweep the data directory"),
            }
        }
    }

    /// Removes old releases of all apps: the number may have been lowered since the last start.
    fn apply_retention(&self) {
        let exceeding = self.retention.exceeding().unwrap_or_else(|error| {
            tracing::warn!(%error, "could not find apps with old releases");
            Vec::new()
        });
        for app in exceeding {
            // An app that is being built applies it by itself.
            let Some(_building) = self.locks.begin_build(&app) else {
                continue;
            };
            if let Err(error) = self.retention.apply(&app) {
                tracing::warn!(%app, %error, "could not remove old releases");
            }
        }
    }
}
