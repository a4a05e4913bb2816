//! Backups of add-ons' data, and their schedules. Additions to v3.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::reference::NamedRef;

/// The protocol of a connection to an add-on's server, for a user's own client program.
pub const TUNNEL_PROTOCOL: &str = "corundum-tunnel";

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddonBackupResource {
    /// The key.
    pub id: Uuid,
    /// The add-on.
    pub addon: NamedRef,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was finished; `null` while it is being made.
    pub finished_at: Option<Timestamp>,
    /// The cause of a failure; `null` if there is none.
    pub message: Option<String>,
    /// The name, as `b001`.
    pub name: String,
    /// `manual` or `scheduled`.
    pub origin: String,
    /// Bytes of its file.
    pub size_bytes: u64,
    /// `running`, `completed` or `failed`.
    pub state: String,
}

/// A request for a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddonBackupCreate {
    /// The name of the add-on, of an attachment or of a config var.
    pub addon: String,
}

/// A request to replace the data of an add-on by those of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddonBackupRestore {
    /// The add-on whose data is replaced.
    pub addon: String,
    /// The name of the app that owns it.
    #[serde(default)]
    pub confirm: Option<String>,
}

/// A daily backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupScheduleResource {
    /// The add-on.
    pub addon: NamedRef,
    /// The time, as `02:00 UTC`.
    pub at: String,
}

/// A request for daily backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupScheduleCreate {
    /// The add-on.
    pub addon: String,
    /// The time, as `02:00 UTC`.
    pub at: String,
}
