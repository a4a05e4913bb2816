//! Autoscaling of web dynos and of workers. The API's own: v3 has no such resource.

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

/// The bounds of a process type's dynos and the queue that scales them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRule {
    /// Fewest dynos.
    pub min: u32,
    /// Most dynos.
    pub max: u32,
    /// Command line that prints the number of waiting jobs as its last line.
    pub command: String,
    /// Waiting jobs for each dyno.
    pub jobs_per_dyno: u32,
}
