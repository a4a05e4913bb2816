//! Volumes: the persistent directories that apps ask for with the setting `volume`.
//!
//! A volume is the directory `volumes/APP` of the data directory. It is made when the setting is first turned on, stays when it is
//! turned off, and goes to the trash with its app. `corundum_host::volume` serves it to dynos.

pub(crate) mod copies;
pub(crate) mod snapshots;

use std::collections::{HashMap, HashSet};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_host::grid::DynoGrid;
use corundum_host::volume::{Volume, VolumeQuota, VolumeSlot, VolumeUsage};
use corundum_store::{Fault, HasFault, Store, StoreError};

use crate::apps::settings::catalog;
use crate::data_dir::{DataDir, FileKind};
use crate::storage::live_files::LiveFiles;

/// Bytes of a quota for each file, directory or link that it allows: small files are about as large.
const BYTES_PER_NODE: u64 = 16 << 10;
/// Fewest files, directories and links of a volume.
const FEWEST_NODES: u64 = 10_000;
/// Time after which a newly opened volume is counted again. A process that this one takes over from may write for half as long.
const RECOUNT: Duration = Duration::from_secs(30);

/// A volume that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// The disk has too little room for the quota.
    #[error(
        "the disk has {free} MB left for a volume of {wanted} MB: choose a smaller one or free space"
    )]
    Full {
        /// Megabytes that are free.
        free: u64,
        /// Megabytes of the quota that are not in use yet.
        wanted: u64,
    },
    /// The directory cannot be made, opened or read.
    #[error("volume of {app}: {cause}: check the directory volumes/{app} of the data directory")]
    Io {
        /// The app.
        app: AppName,
        /// The cause.
        cause: io::Error,
    },
    /// The app has no volume.
    #[error("{0} has no volume: corundum settings:set volume=1GB")]
    None(AppName),
    /// The snapshot does not exist.
    #[error("Couldn't find that snapshot: {0}")]
    NoSnapshot(String),
    /// The app has too many snapshots.
    #[error("the app has {0} snapshots: delete some first (corundum volume:snapshots:delete)")]
    Many(usize),
    /// Another operation on the app's snapshots is in progress.
    #[error("another operation on the snapshots of {0} is in progress: wait for it")]
    Busy(AppName),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HasFault for VolumeError {
    fn fault(&self) -> Fault {
        match self {
            Self::Full { .. } | Self::None(_) | Self::Many(_) => Fault::Client,
            Self::NoSnapshot(_) => Fault::NotFound,
            Self::Busy(_) => Fault::Conflict,
            Self::Io { .. } => Fault::Node,
            Self::Store(error) => error.fault(),
        }
    }
}

/// Opens apps' volumes and keeps them open.
pub struct Volumes {
    store: Arc<dyn Store>,
    data: Arc<DataDir>,
    grid: DynoGrid,
    files: Arc<LiveFiles>,
    slots: Mutex<HashMap<AppName, Arc<VolumeSlot>>>,
    /// The apps whose snapshots change.
    snapshot_work: Mutex<HashSet<AppName>>,
}

impl Volumes {
    /// Creates the type.
    pub fn new(
        store: Arc<dyn Store>,
        data: Arc<DataDir>,
        grid: DynoGrid,
        files: Arc<LiveFiles>,
    ) -> Self {
        Self {
            store,
            data,
            grid,
            files,
            slots: Mutex::default(),
            snapshot_work: Mutex::default(),
        }
    }

    fn snapshot_work(&self) -> MutexGuard<'_, HashSet<AppName>> {
        let work = self.snapshot_work.lock();
        work.unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the files and the snapshots of an app's volume, which no dyno uses any more, to the trash.
    pub(crate) fn discard(&self, app: &AppName) {
        self.files.discard(FileKind::Volume, &self.data.volume(app));
        let snapshots = self.data.volume_snapshots(app);
        self.files.discard(FileKind::VolumeSnapshots, &snapshots);
    }

    fn slot(&self, app: &AppName) -> Arc<VolumeSlot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(app.clone()).or_default().clone()
    }

    /// Returns the slot of an app, with its volume open if the app has one. Blocks while a volume is counted.
    ///
    /// # Errors
    ///
    /// [`VolumeError`]: no dyno starts without the volume that the app has.
    pub(crate) fn open(&self, app: &AppName) -> Result<Arc<VolumeSlot>, VolumeError> {
        let slot = self.slot(app);
        let settings = self.store.settings(app)?;
        let Some(bytes) = catalog::volume_bytes(&settings) else {
            slot.set(None);
            return Ok(slot);
        };
        let quota = quota(bytes);
        if let Some(volume) = slot.get() {
            volume.set_quota(quota);
            return Ok(slot);
        }
        let failed = |cause| VolumeError::Io {
            app: app.clone(),
            cause,
        };
        let path = self.data.volume(app);
        make(&path).map_err(failed)?;
        let volume = Volume::open(&path, quota).map_err(failed)?;
        slot.set(Some(volume.clone()));
        recount_later(app, &volume);
        Ok(slot)
    }

    /// Opens the volume of an app whose directory was exchanged, for the dynos that start from now on. Blocks.
    fn reopen(&self, app: &AppName, slot: &VolumeSlot) -> Result<(), VolumeError> {
        let settings = self.store.settings(app)?;
        let Some(bytes) = catalog::volume_bytes(&settings) else {
            slot.set(None);
            return Ok(());
        };
        let opened = Volume::open(&self.data.volume(app), quota(bytes));
        let volume = opened.map_err(|cause| VolumeError::Io {
            app: app.clone(),
            cause,
        })?;
        slot.set(Some(volume.clone()));
        recount_later(app, &volume);
        Ok(())
    }

    /// Applies a change of the setting: dynos with the old volume are replaced.
    ///
    /// # Errors
    ///
    /// [`VolumeError`].
    pub(crate) fn refresh(&self, app: &AppName) -> Result<(), VolumeError> {
        let had = self.slot(app).get().is_some();
        let has = self.open(app)?.get().is_some();
        if had != has {
            self.grid.restart(app);
        }
        Ok(())
    }

    /// Checks that the disk has room for a volume of `bytes`.
    ///
    /// # Errors
    ///
    /// [`VolumeError::Full`].
    pub(crate) fn check_room(&self, app: &AppName, bytes: u64) -> Result<(), VolumeError> {
        let disk = rustix::fs::statvfs(self.data.path());
        let disk = disk.map_err(|errno| VolumeError::Io {
            app: app.clone(),
            cause: errno.into(),
        })?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let wanted = bytes.saturating_sub(self.usage(app).map_or(0, |usage| usage.bytes));
        if wanted > free {
            let (free, wanted) = (free >> 20, wanted >> 20);
            return Err(VolumeError::Full { free, wanted });
        }
        Ok(())
    }

    /// Returns what an app's open volume has in use.
    pub(crate) fn usage(&self, app: &AppName) -> Option<VolumeUsage> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(app)?.get().map(|volume| volume.usage())
    }

    /// Closes the volume of an app that has been destroyed.
    pub(crate) fn forget(&self, app: &AppName) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.remove(app);
    }
}

fn quota(bytes: u64) -> VolumeQuota {
    VolumeQuota {
        bytes,
        nodes: (bytes / BYTES_PER_NODE).max(FEWEST_NODES),
    }
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Counts a volume again after a while, as another process may still have written to it when it was opened.
fn recount_later(app: &AppName, volume: &Arc<Volume>) {
    let (app, volume) = (app.clone(), Arc::downgrade(volume));
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    runtime.clone().spawn(async move {
        tokio::time::sleep(RECOUNT).await;
        let counted = runtime.spawn_blocking(move || match volume.upgrade() {
            Some(volume) => volume.recount(),
            None => Ok(()),
        });
        if let Ok(Err(error)) = counted.await {
            tracing::warn!(%app, %error, "could not count the files of a volume");
        }
    });
}
