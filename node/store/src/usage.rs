//! Usage of the node by apps, by day.

use corundum_abi::names::AppName;

use crate::error::StoreError;

/// Usage of an app in some time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct UsageFigures {
    /// Requests that the router received.
    pub requests: u64,
    /// Bytes of the responses' bodies.
    pub response_bytes: u64,
    /// Microseconds of processor time, of web dynos and commands.
    pub cpu_micros: u64,
    /// Memory that the node held for dynos, in megabytes (10^6 bytes) times seconds.
    pub megabyte_seconds: u64,
}

impl UsageFigures {
    /// Adds other figures to these.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.response_bytes = self.response_bytes.saturating_add(other.response_bytes);
        self.cpu_micros = self.cpu_micros.saturating_add(other.cpu_micros);
        self.megabyte_seconds = self.megabyte_seconds.saturating_add(other.megabyte_seconds);
    }

    /// Returns whether nothing was used.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Usage of an app on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayUsage {
    /// The app.
    pub app: AppName,
    /// The day in UTC, as days since 1970-01-01.
    pub day: i64,
    /// The usage.
    pub figures: UsageFigures,
}

/// Reads and writes the usage of apps.
pub trait UsageStore {
    /// Adds figures to those of their apps on a day, in one transaction. Apps that are gone are left out.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn add_usage(&self, day: i64, figures: &[(AppName, UsageFigures)]) -> Result<(), StoreError>;

    /// Returns the usage of all apps, or of one, since a day, sorted by app and day.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or holds text that is not an app's name.
    fn usage_since(&self, day: i64, app: Option<&AppName>) -> Result<Vec<DayUsage>, StoreError>;

    /// Forgets the days before a day.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn forget_usage_before(&self, day: i64) -> Result<(), StoreError>;
}
