//! The upgrade of a node to another version. The API's own: v3 has no such resource.

use serde::{Deserialize, Serialize};

/// The state of the process that takes over, or took over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpgradeState {
    /// No process has taken over, and none is about to.
    None,
    /// A process prepares images beside the one that serves.
    Preparing,
    /// The process takes the listeners over.
    TakingOver,
    /// The process serves.
    Finished,
    /// The process has ended before it served.
    Failed,
}

impl UpgradeState {
    /// Returns the word that listings show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Preparing => "preparing",
            Self::TakingOver => "taking over",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

/// Numbers of images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedImages {
    /// Images that are to be ready.
    pub total: u32,
    /// Images that are ready.
    pub ready: u32,
    /// Images that could not be made: their apps are served as before, or booted at their next request.
    pub failed: u32,
}

/// The last upgrade, and the images of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeResource {
    /// The state of the upgrade.
    pub state: UpgradeState,
    /// Version of the process that takes over.
    pub version: Option<String>,
    /// ID of that process.
    pub pid: Option<u32>,
    /// Time at which it began to prepare, in seconds since 1970.
    pub started: Option<u64>,
    /// Images of apps with a request in the last hour, which that process prepares before it takes over.
    pub busy: PreparedImages,
    /// Images of all apps, as the process that serves sees them. Those that are not ready are made at the first request.
    pub images: PreparedImages,
    /// The reason of a failure.
    pub message: Option<String>,
}
