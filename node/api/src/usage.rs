//! Usage of the node by apps, by day. The API's own: v3 has usage of teams in dyno units only.

use corundum_abi::names::AppName;
use serde::{Deserialize, Serialize};

/// Usage of an app on a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsageResource {
    /// The app.
    pub app: AppName,
    /// The day in UTC, as `2026-01-31`.
    pub date: jiff::civil::Date,
    /// Requests that the router received.
    pub requests: u64,
    /// Bytes of the responses' bodies.
    pub bytes: u64,
    /// Processor time of web dynos and commands, in seconds.
    pub cpu_seconds: f64,
    /// Memory that the node held for dynos, in gigabytes (10^9 bytes) times hours.
    pub gigabyte_hours: f64,
}
