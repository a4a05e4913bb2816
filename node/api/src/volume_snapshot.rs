//! Snapshots of an app's volume. Additions to v3.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSnapshotResource {
    /// The name, as `s001`.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Bytes on the node's disk.
    pub size_bytes: u64,
}
