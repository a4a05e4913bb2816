//! Upgrades: the next version of the node prepares images beside the running one, and takes over when those of the busy
//! apps are ready.
//!
//! The two processes share a file, which the new one writes and either reads for `corundum upgrade:status`.

pub mod preparation;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corundum_api::upgrade::{PreparedImages, UpgradeResource, UpgradeState};
use corundum_store::{ReleaseRecord, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::apps::usage::now;
use crate::data_dir::DataDir;
use crate::releases::images::ReleaseImages;

/// The progress of an upgrade, as its process writes it down.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UpgradeProgress {
    /// The state.
    pub state: UpgradeState,
    /// Version of the process.
    pub version: String,
    /// ID of the process.
    pub pid: u32,
    /// Time at which it began, in seconds since 1970.
    pub started: u64,
    /// Images of busy apps.
    pub busy: PreparedImages,
    /// The reason of a failure.
    pub message: Option<String>,
}

impl UpgradeProgress {
    /// Creates the progress of this process, which begins to prepare.
    pub fn begin(version: &str) -> Self {
        Self {
            state: UpgradeState::Preparing,
            version: version.to_owned(),
            pid: std::process::id(),
            started: now(),
            busy: PreparedImages::default(),
            message: None,
        }
    }

    /// Notes that the process takes the listeners over.
    #[must_use]
    pub fn taking_over(self) -> Self {
        let state = UpgradeState::TakingOver;
        Self { state, ..self }
    }

    /// Notes that the process serves.
    #[must_use]
    pub fn finished(self) -> Self {
        let state = UpgradeState::Finished;
        Self { state, ..self }
    }

    fn path(data: &Path) -> PathBuf {
        data.join("upgrade.json")
    }

    /// Reads the progress of the last upgrade. A process that has ended without serving has failed.
    fn read(data: &Path) -> Option<Self> {
        let mut progress: Self = serde_json::from_slice(&fs::read(Self::path(data)).ok()?).ok()?;
        let is_under_way = matches!(
            progress.state,
            UpgradeState::Preparing | UpgradeState::TakingOver
        );
        if is_under_way && !Path::new(&format!("/proc/{}", progress.pid)).exists() {
            progress.state = UpgradeState::Failed;
            progress.message.get_or_insert_with(|| {
                "the process has ended before it served: see its log".to_owned()
            });
        }
        Some(progress)
    }

    /// Writes the progress. A failure costs only the display.
    pub fn write(&self, data: &Path) {
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(data)?;
            serde_json::to_writer(&mut file, self)?;
            file.flush()?;
            file.persist(Self::path(data))
                .map_err(|error| error.error)?;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::warn!(%error, "could not write the progress of the upgrade");
        }
    }
}

/// Shows the last upgrade and the images of the node.
pub struct UpgradeOverview {
    data: Arc<DataDir>,
    store: Arc<dyn Store>,
    images: Arc<ReleaseImages>,
}

impl UpgradeOverview {
    /// Creates an overview of the upgrade of `data` and of `images`.
    pub fn new(data: Arc<DataDir>, store: Arc<dyn Store>, images: Arc<ReleaseImages>) -> Self {
        Self {
            data,
            store,
            images,
        }
    }

    /// Returns the state of the last upgrade. It looks for each app's image on disk, on a thread that does not serve.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) async fn resource(&self) -> Result<UpgradeResource, StoreError> {
        let releases = self.store.current_releases()?.releases;
        let images = self.images.clone();
        let counted = tokio::task::spawn_blocking(move || {
            let releases: Vec<ReleaseRecord> = releases.into_values().collect();
            PreparedImages {
                total: u32::try_from(releases.len()).unwrap_or(u32::MAX),
                ready: u32::try_from(images.count_current(&releases)).unwrap_or(u32::MAX),
                failed: 0,
            }
        });
        let images = counted.await.unwrap_or_default();
        let progress = UpgradeProgress::read(self.data.path());
        Ok(match progress {
            Some(progress) => UpgradeResource {
                state: progress.state,
                version: Some(progress.version),
                pid: Some(progress.pid),
                started: Some(progress.started),
                busy: progress.busy,
                images,
                message: progress.message,
            },
            None => UpgradeResource {
                state: UpgradeState::None,
                version: None,
                pid: None,
                started: None,
                busy: PreparedImages::default(),
                images,
                message: None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_that_has_ended_before_it_served_has_failed() {
        let directory = tempfile::tempdir().unwrap();
        assert!(UpgradeProgress::read(directory.path()).is_none());
        let mut progress = UpgradeProgress::begin("1");
        progress.busy.total = 3;
        progress.write(directory.path());
        let read = UpgradeProgress::read(directory.path()).unwrap();
        assert_eq!(
            (read.state, read.busy),
            (UpgradeState::Preparing, progress.busy)
        );
        // No process has this number: it is above the kernel's maximum.
        progress.pid = 1 << 30;
        progress.write(directory.path());
        let read = UpgradeProgress::read(directory.path()).unwrap();
        assert!(read.state == UpgradeState::Failed && read.message.is_some());
        progress = progress.finished();
        progress.write(directory.path());
        let read = UpgradeProgress::read(directory.path()).unwrap();
        assert_eq!(read.state, UpgradeState::Finished);
        fs::write(UpgradeProgress::path(directory.path()), "{").unwrap();
        assert!(UpgradeProgress::read(directory.path()).is_none());
    }
}
