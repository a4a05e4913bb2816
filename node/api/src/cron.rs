//! Scheduled commands.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A command that `app.json` schedules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronResource {
    /// The times, as `app.json` has them.
    pub schedule: String,
    /// The time zone of the times.
    pub timezone: String,
    /// The command line.
    pub command: String,
    /// True if a run may start while the one before still goes on.
    pub overlap: bool,
    /// When the command runs next.
    pub next_at: Option<Timestamp>,
    /// The time for which the last run was planned; `null` before the first.
    pub last_at: Option<Timestamp>,
}
