//! The work of the next process before it takes over: packs, and images of the busy apps.
//!
//! The running process has the data directory. This one reads a copy of its store, and adds patches and full files, which
//! the running process does not use.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corundum_abi::names::AppName;
use corundum_build::slots::BuildUrgency;
use corundum_host::image::Image;
use corundum_host::image::cache::ImageCache;
use corundum_pack::ruby::Series;
use corundum_store::{AllAppsStore as _, ImageName, ReleaseRecord, SqliteStore, Store, StoreError};
use tokio::task::JoinSet;

use super::UpgradeProgress;
use crate::apps::usage::{busy, now};
use crate::builds::Builder;
use crate::data_dir::DataDir;
use crate::packs::cache::PackCache;
use crate::packs::upgrade::PackUpgrade;
use crate::releases::error::ReleaseError;
use crate::releases::images::ReleaseImages;

/// Images that are prepared at once.
const AT_ONCE: usize = 2;
/// Rounds over the busy apps: a later one finds those that were released during the one before.
const ROUNDS: u32 = 3;
/// Time after which the process takes over with the images that are ready. The others are made at their first request.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// An upgrade that cannot be prepared. The process can take over nevertheless.
#[derive(Debug, thiserror::Error)]
pub enum PreparationError {
    /// The store cannot be copied or read.
    #[error("upgrade: {0}")]
    Store(#[from] StoreError),
    /// The copy of the store has no place.
    #[error("upgrade: cannot write to the data directory: {0}")]
    Io(#[from] std::io::Error),
}

/// Prepares the takeover of a running node.
pub struct UpgradePreparation {
    /// The data directory, which the running process has.
    pub data: Arc<DataDir>,
    /// The packs.
    pub packs: Arc<PackCache>,
    /// The full files of images.
    pub images: Arc<ImageCache>,
    /// The builder of images, which works in a folder of its own.
    pub builder: Arc<Builder>,
    /// The move to better packs.
    pub pack_upgrade: PackUpgrade,
    /// The progress.
    pub progress: UpgradeProgress,
}

/// The result of a preparation.
pub struct PreparedUpgrade {
    /// The progress at its end.
    pub progress: UpgradeProgress,
    /// The images that are ready. While they live, their full files stay.
    pub images: Vec<Arc<Image>>,
    /// The apps of these images, the one used last first.
    pub apps: Vec<AppName>,
}

impl UpgradePreparation {
    /// Opens the packs and prepares the images of the busy apps, those used last first.
    pub async fn run(mut self) -> PreparedUpgrade {
        let mut prepared = PreparedUpgrade {
            progress: self.progress.clone(),
            images: Vec::new(),
            apps: Vec::new(),
        };
        self.progress.write(self.data.path());
        let series = self.series().unwrap_or_else(|error| {
            tracing::warn!(%error, "could not read which languages apps run");
            BTreeSet::from([Series::DEFAULT])
        });
        for series in series {
            if let Err(reason) = self.pack_upgrade.build_missing(series).await {
                tracing::warn!(
                    reason,
                    "could not build a pack from source before the takeover"
                );
            }
        }
        let started = Instant::now();
        let mut done = HashSet::new();
        for _ in 0..ROUNDS {
            match self.round(&mut done, &mut prepared, started).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "could not prepare the upgrade");
                    self.progress.message = Some(error.to_string());
                    break;
                }
            }
        }
        prepared.progress = self.progress;
        prepared
    }

    /// Returns the default series of Ruby and those of all current releases.
    fn series(&self) -> Result<BTreeSet<Series>, PreparationError> {
        let folder = tempfile::tempdir_in(self.data.work())?;
        let releases = self.copy_store(folder.path())?.current_releases()?.releases;
        let used = releases
            .into_values()
            .filter_map(|release| release.about.runtime.ruby());
        Ok(used.chain([Series::DEFAULT]).collect())
    }

    /// Opens a copy of the store in `folder`.
    fn copy_store(&self, folder: &Path) -> Result<SqliteStore, PreparationError> {
        let copy = folder.join("corundum.sqlite");
        SqliteStore::copy(&self.data.store_file(), &copy)?;
        Ok(SqliteStore::open(&copy)?)
    }

    /// Prepares the busy apps whose image is not in `done`, and returns their number.
    async fn round(
        &mut self,
        done: &mut HashSet<ImageName>,
        prepared: &mut PreparedUpgrade,
        started: Instant,
    ) -> Result<usize, PreparationError> {
        let folder = tempfile::tempdir_in(self.data.work())?;
        let store: Arc<dyn Store> = Arc::new(self.copy_store(folder.path())?);
        let images = Arc::new(ReleaseImages::new(
            store.clone(),
            self.data.clone(),
            self.packs.clone(),
            self.images.clone(),
            self.builder.clone(),
        ));
        let mut releases = store.current_releases()?.releases;
        let apps = busy(&store.app_outlines().apps, now());
        let mut wanted: Vec<(AppName, ReleaseRecord)> = Vec::new();
        for app in apps {
            if let Some(release) = releases.remove(&app)
                && done.insert(release.image)
            {
                wanted.push((app, release));
            }
        }
        self.progress.busy.total += u32::try_from(wanted.len()).unwrap_or(u32::MAX);
        let count = wanted.len();
        let mut wanted = wanted.into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < AT_ONCE
                && started.elapsed() < PATIENCE
                && let Some((app, release)) = wanted.next()
            {
                let images = images.clone();
                running.spawn(async move {
                    let image = prepare(&images, &app, &release).await;
                    (app, image)
                });
            }
            let Some(ended) = running.join_next().await else {
                break;
            };
            match ended {
                Ok((app, Ok(image))) => {
                    self.progress.busy.ready += 1;
                    prepared.images.push(image);
                    prepared.apps.push(app);
                }
                Ok((app, Err(error))) => {
                    tracing::warn!(%app, %error, "could not prepare an image");
                    self.progress.busy.failed += 1;
                }
                Err(error) => tracing::error!(%error, "preparing an image was interrupted"),
            }
            self.progress.write(self.data.path());
        }
        Ok(count)
    }
}

/// Boots a release on the pack of this version unless it has an image for it, and maps the image's full file.
async fn prepare(
    images: &ReleaseImages,
    app: &AppName,
    release: &ReleaseRecord,
) -> Result<Arc<Image>, ReleaseError> {
    if images.is_outdated(release) {
        let build = images
            .boot_again(app, release, BuildUrgency::Background)
            .await?;
        images.add_patch(&build, release)?;
    }
    match images.open(release).await {
        Ok((_, image)) => Ok(image),
        // The patch is damaged, or its base is gone.
        Err(error) => {
            tracing::debug!(%app, %error, "booting an app again");
            let build = images
                .boot_again(app, release, BuildUrgency::Background)
                .await?;
            images.add_patch(&build, release)?;
            Ok(images.open(release).await?.1)
        }
    }
}
