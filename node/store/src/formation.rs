//! Formations: numbers and sizes of the dynos of each process type beside web.

use std::collections::BTreeMap;

use corundum_abi::dyno_size::DynoSize;
use corundum_abi::names::{AppName, ProcessType};

use crate::error::StoreError;

/// The dynos of a process type that an app asks for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ProcessScale {
    /// The number of dynos.
    pub quantity: u32,
    /// Their size.
    pub size: DynoSize,
}

/// The process types of an app that were scaled.
pub type ProcessScales = BTreeMap<ProcessType, ProcessScale>;

/// Reads and writes formations.
pub trait FormationStore {
    /// Returns the process types of an app that were scaled. Others have no dyno.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn process_scales(&self, app: &AppName) -> Result<ProcessScales, StoreError>;

    /// Scales some process types of an app in one transaction.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn set_process_scales(&self, app: &AppName, scales: &ProcessScales) -> Result<(), StoreError>;

    /// Returns the formations of all apps with dynos beside web, or with a size of web dynos, whose quantity is in the app's record.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or holds text that is not a process type or size.
    fn all_process_scales(&self) -> Result<BTreeMap<AppName, ProcessScales>, StoreError>;
}
