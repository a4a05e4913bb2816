//! Dynos.

use corundum_abi::names::{DynoName, ProcessType};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::metrics::DynoWindowMetrics;
use crate::reference::{AppRef, ReleaseRef};

/// The current work of a dyno.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DynoActivity {
    /// The dyno serves a request or starts for one.
    Busy,
    /// The dyno waits for a request.
    Idle,
}

impl DynoActivity {
    /// Returns the word that `ps` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Idle => "idle",
        }
    }
}

/// A dyno that exists.
///
/// The fields from `activity` on are the node's own; clients of v3 ignore them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DynoResource {
    /// The dyno's key: a hash of the app, the release and the name. A dyno that takes the name of one that ended within
    /// the same release has the same key.
    pub id: Uuid,
    /// The app.
    pub app: AppRef,
    /// Always `null`: no dyno is attached to.
    pub attach_url: Option<String>,
    /// The command that the dyno runs, which is the Procfile's for a process type.
    pub command: String,
    /// When the dyno was started.
    pub created_at: Timestamp,
    /// The dyno's name: `web.1`.
    pub name: DynoName,
    /// The release that the dyno runs.
    pub release: ReleaseRef,
    /// The dyno's size.
    pub size: String,
    /// The state in v3's words: `starting`, `up`, `crashed` or `stopping`. Web dynos are always `up`.
    pub state: String,
    /// The process type.
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    /// When the state last changed.
    pub updated_at: Timestamp,
    /// The current work of the dyno.
    pub activity: DynoActivity,
    /// Seconds since the dyno was started.
    pub age_seconds: u64,
    /// Requests that the dyno had served when it was last idle.
    pub served: u32,
    /// Bytes that the node held for this dyno alone when it was last idle.
    pub memory_bytes: u64,
    /// Bytes of the dyno's linear memory then, most of which all dynos of a release share.
    pub linear_memory_bytes: u64,
    /// The dyno's requests in the last five minutes; `null` before its first.
    pub metrics: Option<DynoWindowMetrics>,
}
