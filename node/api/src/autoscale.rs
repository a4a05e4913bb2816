//! Autoscaling of web dynos. The API's own: v3 has no such resource.

use serde::{Deserialize, Serialize};

/// The bounds of an app's web dynos and the queue time that scales them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoscaleRule {
    /// Fewest web dynos that the app may have.
    pub min: u32,
    /// Most web dynos that the app may have.
    pub max: u32,
    /// Target for the 95th percentile of queue time, in milliseconds.
    #[serde(default = "default_queue_time")]
    pub p95_queue_ms: u32,
}

fn default_queue_time() -> u32 {
    100
}
