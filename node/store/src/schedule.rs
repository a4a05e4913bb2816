//! The last runs of scheduled commands.

use std::collections::HashMap;

use corundum_abi::names::AppName;

use crate::error::StoreError;

/// The times of the last runs by command, in seconds since 1970. A negative number is the time at which a command that has not
/// run was first released.
pub type LastRuns = HashMap<String, i64>;

/// Reads and writes the last runs of scheduled commands.
pub trait ScheduleStore {
    /// Returns the last runs of an app's commands. A command is named by a digest of it.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn last_runs(&self, app: &AppName) -> Result<LastRuns, StoreError>;

    /// Notes the run of a command that was planned for a time, or its first release, in the form of [`LastRuns`].
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn set_last_run(&self, app: &AppName, command: &str, at: i64) -> Result<(), StoreError>;

    /// Forgets the runs of an app's commands that are not in `kept`.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn keep_last_runs(&self, app: &AppName, kept: &[String]) -> Result<(), StoreError>;
}
