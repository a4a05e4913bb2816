//! Backups of add-ons' data: files in the data directory that a service's own tools write, on demand or once a day.
//!
//! The record is written before the file, and says `completed` when the file is on the disk. A process that ends in between
//! leaves a record that the next one marks as failed, and a file that it removes. [`schedule`] has the daily runs.

mod schedule;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_store::{
    AddonBackupRecord, AddonRecord, AddonState, BackupOrigin, BackupState, Fault, HasFault, Store,
    StoreError, now,
};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use uuid::Uuid;

use super::Service;
use super::addons::{AddonError, Addons};
use super::server_process::create_private;
use crate::data_dir::DataDir;

/// Backups of an add-on, those in progress and those that failed included.
const MAX_BACKUPS: usize = 25;

/// Completed backups of the schedule that are kept, as many as a week has days.
const KEPT_SCHEDULED: usize = 7;

/// Backups that are made at once: each keeps a disk and a server busy.
const RUNNING: usize = 2;

/// Bytes that a backup leaves free on the disk.
const FREE: u64 = 512 << 20;

/// The folder in the data directory.
const FOLDER: &str = "addon-backups";

/// The time after which a hand-over has succeeded or was given up.
const HAND_OVER: Duration = Duration::from_secs(60);

/// The message of backups whose process has ended.
const STOPPED: &str = "the node was stopped meanwhile: capture again";

/// A refused or failed operation on backups.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupOperationError {
    /// The service has no backups.
    #[error("{0} has no backups of this kind: its service offers none")]
    Unsupported(String),
    /// A backup of the add-on is being made.
    #[error("a backup of {0} is being made: wait for it (corundum pg:backups)")]
    Busy(String),
    /// The add-on has too many backups.
    #[error("{0} has {MAX_BACKUPS} backups: delete some first (corundum pg:backups:delete)")]
    Many(String),
    /// The disk is full.
    #[error("the node's disk has {0} MB left, too few for a backup: the operator must free space")]
    Full(u64),
    /// The backup does not exist.
    #[error("Couldn't find that backup: {0}")]
    Missing(String),
    /// The backup is not complete.
    #[error("{0} is not a complete backup: choose another one (corundum pg:backups)")]
    Incomplete(String),
    /// The backup's file is missing or has another size.
    #[error("the file of {0} is damaged or missing on the node: choose another backup")]
    Damaged(String),
    /// The backup's add-on is of another service.
    #[error("{0} is a backup of {1}, and cannot be restored to {2}")]
    OtherService(String, String, String),
    /// The time of a schedule cannot be read.
    #[error("{0}: write a time as in '02:00 UTC' or '23:30 Europe/Berlin'")]
    Time(String),
    /// The add-on has no schedule.
    #[error("{0} has no schedule")]
    NoSchedule(String),
    /// The add-on cannot be used.
    #[error(transparent)]
    Addon(#[from] AddonError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error("backups: {0}")]
    Io(#[from] std::io::Error),
}

impl HasFault for BackupOperationError {
    fn fault(&self) -> Fault {
        match self {
            Self::Missing(_) | Self::NoSchedule(_) => Fault::NotFound,
            Self::Unsupported(_) | Self::OtherService(..) | Self::Time(_) | Self::Many(_) => {
                Fault::Client
            }
            Self::Busy(_) | Self::Incomplete(_) | Self::Full(_) => Fault::Conflict,
            Self::Damaged(_) | Self::Io(_) => Fault::Node,
            Self::Addon(error) => error.fault(),
            Self::Store(error) => error.fault(),
        }
    }
}

/// Makes, keeps and restores backups of add-ons.
pub struct AddonBackups {
    store: Arc<dyn Store>,
    data: Arc<DataDir>,
    addons: Arc<Addons>,
    /// The add-ons of which a backup is being made.
    running: Mutex<HashSet<Uuid>>,
    slots: Semaphore,
}

/// Marks an add-on of which a backup is being made.
struct RunningBackup {
    backups: Arc<AddonBackups>,
    addon: Uuid,
}

impl Drop for RunningBackup {
    fn drop(&mut self) {
        let running = &self.backups.running;
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.addon);
    }
}

impl AddonBackups {
    /// Creates the type.
    pub fn new(store: Arc<dyn Store>, data: Arc<DataDir>, addons: Arc<Addons>) -> Self {
        Self {
            store,
            data,
            addons,
            running: Mutex::default(),
            slots: Semaphore::new(RUNNING),
        }
    }

    /// Settles what an earlier process has left, and makes the daily backups.
    pub(crate) async fn run(self: Arc<Self>) {
        if let Err(error) = self.settle() {
            tracing::error!(%error, "could not settle the backups of add-ons");
        }
        self.follow_schedules().await;
    }

    fn settle(&self) -> Result<(), BackupOperationError> {
        self.store.fail_running_addon_backups(STOPPED)?;
        for backup in self.store.addon_backups()? {
            if backup.state == BackupState::Failed {
                self.remove_files(&backup)?;
            }
        }
        Ok(())
    }

    /// Returns the backups of the add-ons that an app owns, oldest first.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn list(
        &self,
        app: &AppName,
    ) -> Result<Vec<(AddonRecord, AddonBackupRecord)>, StoreError> {
        let (mut addons, _) = self.store.readable_addons()?;
        addons.retain(|addon| addon.app.as_ref() == Some(app));
        let backups = self.store.addon_backups()?.into_iter();
        let listed = backups.filter_map(|backup| {
            let addon = addons.iter().find(|addon| addon.id == backup.addon)?;
            Some((addon.clone(), backup))
        });
        Ok(listed.collect())
    }

    /// Finds a backup of an app by its name, as `b001`.
    ///
    /// # Errors
    ///
    /// [`BackupOperationError`].
    pub(crate) fn find(
        &self,
        app: &AppName,
        name: &str,
    ) -> Result<(AddonRecord, AddonBackupRecord), BackupOperationError> {
        let listed = self.list(app)?;
        let found = listed
            .into_iter()
            .find(|(_, backup)| backup_name(backup) == name);
        found.ok_or_else(|| BackupOperationError::Missing(name.chars().take(80).collect()))
    }

    /// Begins to make a backup, which goes on behind the response.
    ///
    /// # Errors
    ///
    /// [`BackupOperationError`].
    pub(crate) async fn capture(
        self: &Arc<Self>,
        addon: &AddonRecord,
        origin: BackupOrigin,
    ) -> Result<AddonBackupRecord, BackupOperationError> {
        let (service, running) = self.begin(addon)?;
        let dumps = service
            .dumps()
            .ok_or_else(|| BackupOperationError::Unsupported(addon.name.clone()))?;
        let size = dumps.size(addon).await.map_err(AddonError::from)?;
        self.check_room(size)?;
        let backup = self.add_record(addon, origin)?;
        let (backups, addon, made) = (self.clone(), addon.clone(), backup.clone());
        tokio::spawn(async move {
            let _running = running;
            backups.make(&addon, made).await;
        });
        Ok(backup)
    }

    /// Checks the add-on and marks it.
    fn begin(
        self: &Arc<Self>,
        addon: &AddonRecord,
    ) -> Result<(Arc<dyn Service>, RunningBackup), BackupOperationError> {
        if addon.state != AddonState::Provisioned {
            let state = addon.state.as_str();
            return Err(AddonError::NotReady(addon.name.clone(), state).into());
        }
        let service = self.addons.service(&addon.service)?.clone();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match running.insert(addon.id) {
            true => Ok((
                service,
                RunningBackup {
                    backups: self.clone(),
                    addon: addon.id,
                },
            )),
            false => Err(BackupOperationError::Busy(addon.name.clone())),
        }
    }

    fn check_room(&self, size: u64) -> Result<(), BackupOperationError> {
        let disk = rustix::fs::statvfs(self.data.path()).map_err(std::io::Error::from)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        match free > size.saturating_add(FREE) {
            true => Ok(()),
            false => Err(BackupOperationError::Full(free >> 20)),
        }
    }

    fn add_record(
        &self,
        addon: &AddonRecord,
        origin: BackupOrigin,
    ) -> Result<AddonBackupRecord, BackupOperationError> {
        let of_app = match &addon.app {
            Some(app) => self.list(app)?,
            None => Vec::new(),
        };
        let of_addon = of_app.iter().filter(|(_, one)| one.addon == addon.id);
        if of_addon.count() >= MAX_BACKUPS {
            return Err(BackupOperationError::Many(addon.name.clone()));
        }
        let last = of_app.iter().map(|(_, one)| one.number).max();
        let backup = AddonBackupRecord {
            id: Uuid::new_v4(),
            addon: addon.id,
            number: last.unwrap_or(0) + 1,
            origin,
            state: BackupState::Running,
            size: 0,
            message: String::new(),
            created_at: now(),
            finished_at: None,
        };
        self.store.add_addon_backup(&backup)?;
        Ok(backup)
    }

    /// Makes a backup and writes its end to the store, unless another process has the store.
    async fn make(&self, addon: &AddonRecord, mut backup: AddonBackupRecord) {
        let made = tokio::select! {
            made = self.write_file(addon, &backup) => made,
            () = self.data.handed_over() => {
                sleep(HAND_OVER).await;
                Err(STOPPED.to_owned())
            }
        };
        if self.data.is_handed_over() {
            return;
        }
        backup.finished_at = Some(now());
        match made {
            Ok(size) => {
                backup.state = BackupState::Completed;
                backup.size = size;
            }
            Err(message) => {
                tracing::warn!(addon = addon.name, message, "a backup of an add-on failed");
                backup.state = BackupState::Failed;
                backup.message = message;
            }
        }
        let stored = self.store.set_addon_backup(&backup).map_err(Into::into);
        let stored = stored.and_then(|()| match backup.state {
            BackupState::Failed => self.remove_files(&backup),
            _ => self.remove_old(addon, backup.origin),
        });
        if let Err(error) = stored {
            tracing::error!(addon = addon.name, %error, "could not keep a backup of an add-on");
        }
    }

    /// Writes a backup's file, and returns its size in bytes.
    async fn write_file(
        &self,
        addon: &AddonRecord,
        backup: &AddonBackupRecord,
    ) -> Result<u64, String> {
        let _slot = self
            .slots
            .acquire()
            .await
            .map_err(|error| error.to_string())?;
        let service = self.addons.service(&addon.service);
        let service = service.map_err(|error| error.to_string())?;
        let dumps = service.dumps().ok_or("the service has no backups")?;
        let path = self.path(backup, dumps.file_end());
        let new = path.with_extension("new");
        let failed = |error: std::io::Error| format!("{}: {error}", new.display());
        create_private(&self.folder(addon.id)).map_err(failed)?;
        let dumped = dumps.dump(addon, &new).await;
        dumped.map_err(|error| error.to_string())?;
        let file = tokio::fs::File::open(&new).await.map_err(failed)?;
        file.sync_all().await.map_err(failed)?;
        let size = file.metadata().await.map_err(failed)?.len();
        tokio::fs::rename(&new, &path).await.map_err(failed)?;
        let folder = tokio::fs::File::open(self.folder(addon.id)).await;
        folder.map_err(failed)?.sync_all().await.map_err(failed)?;
        Ok(size)
    }

    /// Removes the oldest backups of the schedule beyond those that are kept.
    fn remove_old(
        &self,
        addon: &AddonRecord,
        origin: BackupOrigin,
    ) -> Result<(), BackupOperationError> {
        if origin != BackupOrigin::Scheduled {
            return Ok(());
        }
        let mut scheduled = self.store.addon_backups()?;
        scheduled.retain(|one| {
            one.addon == addon.id
                && one.origin == BackupOrigin::Scheduled
                && one.state != BackupState::Running
        });
        let surplus = scheduled.len().saturating_sub(KEPT_SCHEDULED);
        for backup in &scheduled[..surplus] {
            self.remove_files(backup)?;
            self.store.remove_addon_backup(backup.id)?;
        }
        Ok(())
    }

    /// Removes a backup.
    ///
    /// # Errors
    ///
    /// [`BackupOperationError`].
    pub(crate) fn delete(&self, backup: &AddonBackupRecord) -> Result<(), BackupOperationError> {
        if backup.state == BackupState::Running {
            return Err(BackupOperationError::Busy(backup_name(backup)));
        }
        self.remove_files(backup)?;
        Ok(self.store.remove_addon_backup(backup.id)?)
    }

    /// Returns the file of a completed backup, which has the size that the record says.
    ///
    /// # Errors
    ///
    /// [`BackupOperationError`].
    pub(crate) fn file(
        &self,
        addon: &AddonRecord,
        backup: &AddonBackupRecord,
    ) -> Result<PathBuf, BackupOperationError> {
        if backup.state != BackupState::Completed {
            return Err(BackupOperationError::Incomplete(backup_name(backup)));
        }
        let service = self.addons.service(&addon.service)?;
        let dumps = service
            .dumps()
            .ok_or_else(|| BackupOperationError::Unsupported(addon.name.clone()))?;
        let path = self.path(backup, dumps.file_end());
        match std::fs::metadata(&path) {
            Ok(file) if file.len() == backup.size => Ok(path),
            _ => Err(BackupOperationError::Damaged(backup_name(backup))),
        }
    }

    /// Replaces the data of `target` by those of a backup.
    ///
    /// # Errors
    ///
    /// [`BackupOperationError`]; the data stays as it was then.
    pub(crate) async fn restore(
        self: &Arc<Self>,
        source: &AddonRecord,
        backup: &AddonBackupRecord,
        target: &AddonRecord,
    ) -> Result<(), BackupOperationError> {
        if source.service != target.service {
            return Err(BackupOperationError::OtherService(
                backup_name(backup),
                source.service.clone(),
                target.name.clone(),
            ));
        }
        let path = self.file(source, backup)?;
        let (_, running) = self.begin(target)?;
        let (backups, target) = (self.clone(), target.clone());
        let restored = tokio::spawn(async move {
            let _running = running;
            tokio::select! {
                restored = backups.addons.restore(target.id, &path) => restored,
                () = backups.data.handed_over() => Err(AddonError::Interrupted),
            }
        });
        Ok(restored.await.unwrap_or(Err(AddonError::Interrupted))?)
    }

    /// Removes the files of a backup, finished or not.
    fn remove_files(&self, backup: &AddonBackupRecord) -> Result<(), BackupOperationError> {
        let name = backup_name(backup);
        let entries = match std::fs::read_dir(self.folder(backup.addon)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.file_stem().is_some_and(|stem| *stem == *name) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn folder(&self, addon: Uuid) -> PathBuf {
        folder(self.data.path(), addon)
    }

    fn path(&self, backup: &AddonBackupRecord, end: &str) -> PathBuf {
        let name = format!("{}.{end}", backup_name(backup));
        self.folder(backup.addon).join(name)
    }
}

/// Returns the folder of an add-on's backups.
pub(crate) fn folder(data: &Path, addon: Uuid) -> PathBuf {
    data.join(FOLDER).join(addon.simple().to_string())
}

/// Returns the name of a backup, as `b001`.
pub(crate) fn backup_name(backup: &AddonBackupRecord) -> String {
    format!("b{:03}", backup.number)
}
