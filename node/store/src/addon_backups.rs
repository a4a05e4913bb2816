//! Backups of add-ons' data, and their schedules.

use uuid::Uuid;

use crate::error::StoreError;

/// The step of its life that a backup is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupState {
    /// It is being made.
    Running,
    /// Its file is complete and on the disk.
    Completed,
    /// It was not made; its message says why.
    Failed,
}

/// The reason why a backup was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupOrigin {
    /// A user asked for it.
    Manual,
    /// The schedule did.
    Scheduled,
}

/// A backup of an add-on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddonBackupRecord {
    /// The key.
    pub id: Uuid,
    /// The add-on.
    pub addon: Uuid,
    /// The number in the backup's name: one more than the last of the app's.
    pub number: u32,
    /// The reason.
    pub origin: BackupOrigin,
    /// The step of its life.
    pub state: BackupState,
    /// Bytes of its file.
    pub size: u64,
    /// The cause of a failure.
    pub message: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; `None` while it is being made.
    pub finished_at: Option<String>,
}

/// A daily backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupScheduleRecord {
    /// The add-on.
    pub addon: Uuid,
    /// The hour of the day.
    pub hour: i8,
    /// The minute of the hour.
    pub minute: i8,
    /// The name of the time zone.
    pub timezone: String,
    /// The Unix time of the last run, or of the schedule's start.
    pub planned: i64,
}

/// Reads and writes backups of add-ons.
pub trait AddonBackupStore {
    /// Adds a backup.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn add_addon_backup(&self, backup: &AddonBackupRecord) -> Result<(), StoreError>;

    /// Replaces state, size, message and end of a backup.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn set_addon_backup(&self, backup: &AddonBackupRecord) -> Result<(), StoreError>;

    /// Removes a backup.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn remove_addon_backup(&self, id: Uuid) -> Result<(), StoreError>;

    /// Returns the backups of all add-ons, oldest first.
    ///
    /// # Errors
    ///
    /// A record is damaged; the store cannot be read.
    fn addon_backups(&self) -> Result<Vec<AddonBackupRecord>, StoreError>;

    /// Marks the backups as failed that an ended process was making, with a message.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn fail_running_addon_backups(&self, message: &str) -> Result<(), StoreError>;

    /// Sets the schedule of an add-on.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn set_backup_schedule(&self, schedule: &BackupScheduleRecord) -> Result<(), StoreError>;

    /// Removes the schedule of an add-on, and returns whether it had one.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn remove_backup_schedule(&self, addon: Uuid) -> Result<bool, StoreError>;

    /// Returns all schedules.
    ///
    /// # Errors
    ///
    /// A record is damaged; the store cannot be read.
    fn backup_schedules(&self) -> Result<Vec<BackupScheduleRecord>, StoreError>;
}
